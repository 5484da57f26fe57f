import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SPLITS, type Dataset } from "../../datasets/dataset.ts";
import {
  joinedKeys,
  parseSplit,
  requireClasses,
  requireSplit,
  requireSplitName,
  splitOf,
} from "../../datasets/split.ts";

test("splits are 20 % test, 5 % validation and 75 % train of the hash space", () => {
  const counts = { train: 0, validation: 0, test: 0 };
  const total = 20_000;
  for (let i = 0; i < total; i++) counts[splitOf("any", `group ${i}`)]++;
  // Four standard deviations of a binomial share.
  const allowed = (share: number): number => 4 * Math.sqrt((share * (1 - share)) / total);
  expect(Math.abs(counts.test / total - 0.2)).toBeLessThan(allowed(0.2));
  expect(Math.abs(counts.validation / total - 0.05)).toBeLessThan(allowed(0.05));
});

test("a group's split never changes: these are pinned", () => {
  const groups = ["1F600", "1F44B", "2764-FE0F", "n00001740", "", "ca01", "日本"];
  expect(groups.map((group) => splitOf("emoji", group))).toMatchInlineSnapshot(`
    [
      "train",
      "test",
      "train",
      "train",
      "train",
      "train",
      "test",
    ]
  `);
});

test("two datasets draw the same name independently", () => {
  let equal = 0;
  for (let i = 0; i < 1000; i++) if (splitOf("a", `${i}`) === splitOf("b", `${i}`)) equal++;
  expect(equal).toBeGreaterThan(500); // 0.75² + 0.05² + 0.2² = 60.5 %
  expect(equal).toBeLessThan(700);
});

test("a salt cannot be read as part of a group", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => {
      fc.pre(b !== "");
      // Not equal hashes: equal splits are likely anyway, so look at many groups at once.
      const suffixes = Array.from({ length: 64 }, (_, i) => `${c}${i}`);
      const one = suffixes.map((suffix) => splitOf(a + b, suffix)).join();
      const other = suffixes.map((suffix) => splitOf(a, b + suffix)).join();
      expect(one).not.toBe(other);
    }),
    { numRuns: 30 },
  );
});

test("keys that share a thing, even along a chain, are joined, and no others", () => {
  const link = fc.record({
    key: fc.integer({ min: 0, max: 12 }).map(String),
    shared: fc.integer({ min: 0, max: 12 }).map(String),
  });
  fc.assert(
    fc.property(fc.array(link, { maxLength: 20 }), (links) => {
      // The dumb twin: repeat "take the smallest key of any neighbour" until nothing changes.
      const expected = new Map(links.map(({ key }) => [key, key]));
      for (let round = 0; round < 40; round++) {
        for (const a of links) {
          for (const b of links) {
            if (a.shared !== b.shared && a.key !== b.key) continue;
            const [ka, kb] = [expected.get(a.key) ?? "", expected.get(b.key) ?? ""];
            const least = ka < kb ? ka : kb;
            expected.set(a.key, least).set(b.key, least);
          }
        }
      }
      expect(joinedKeys(links)).toEqual(expected);
    }),
  );
});

describe("a split is named", () => {
  test("by its own name or a usual other one, in any case", () => {
    expect(["train", "Training", "val", "dev", "TEST"].map(parseSplit)).toEqual([
      "train",
      "train",
      "validation",
      "validation",
      "test",
    ]);
  });

  test("or the nearest one is proposed", () => {
    expect(() => requireSplitName("tset")).toThrow(
      expect.objectContaining({ code: "SPLIT_UNKNOWN", next: "did you mean test?" }),
    );
  });
});

describe("what training and probing need is asked for by name", () => {
  const dataset: Dataset = {
    name: "mine",
    description: "",
    licence: "",
    examples: [{ id: "a", group: "a", split: "train", text: "x", label: "only" }],
    labels: ["only"],
    digest: "",
    trusted: false,
  };

  test("an empty split is refused and the filled ones are named", () => {
    expect(requireSplit(dataset, "train")).toHaveLength(1);
    for (const split of SPLITS.filter((name) => name !== "train")) {
      expect(() => requireSplit(dataset, split)).toThrow(
        expect.objectContaining({ code: "SPLIT_EMPTY", kind: "usage" }),
      );
      expect(() => requireSplit(dataset, split)).toThrow(/it has train/);
    }
  });

  test("a single class is refused and named", () => {
    expect(() => requireClasses(dataset)).toThrow(/one class only \("only"\)/);
    expect(() => requireClasses({ ...dataset, labels: [] })).toThrow(/no labels/);
    expect(requireClasses({ ...dataset, labels: ["a", "b"] })).toEqual(["a", "b"]);
  });
});
