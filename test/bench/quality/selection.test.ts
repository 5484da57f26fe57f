import fc from "fast-check";
import { expect, test } from "vitest";
import { selectRows } from "../../../bench/quality/selection.ts";
import type { Dataset } from "../../../datasets/dataset.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { madeUpDataset } from "../../support/made-up-dataset.ts";

const BOTH = { split: "test", modalities: ["image", "text"] } as const;

test("test rows and training rows share no concept", async () => {
  const { rows } = selectRows(await madeUpDataset({ groupCount: 40, textVariants: ["en"] }), BOTH);
  for (const part of [rows.image, rows.text]) {
    const fit = new Set(part?.fit.map(({ example }) => example.group));
    expect(fit.size).toBeGreaterThan(0);
    expect(part?.test.some(({ example }) => fit.has(example.group))).toBe(false);
  }
});

test("the order of the dataset's groups does not change which rows are judged, nor their order", async () => {
  const dataset = await madeUpDataset({ groupCount: 30, textVariants: ["en"] });
  const ids = (one: Dataset) =>
    selectRows(one, { ...BOTH, limit: 4 }).rows.image?.test.map(({ example }) => example.id);
  const groups = [...new Set(dataset.examples.map(({ group }) => group))];
  fc.assert(
    fc.property(fc.nat(1000), (seed) => {
      const order = seededRng(seed, "order").sample(groups.length, groups.length);
      const examples = Array.from(order).flatMap((at) =>
        dataset.examples.filter(({ group }) => group === groups[at]),
      );
      expect(ids({ ...dataset, examples })).toEqual(ids(dataset));
    }),
    { numRuns: 20 },
  );
});

test("rows without a variant are told apart by their place in the group", async () => {
  const dataset = await madeUpDataset({
    groupCount: 10,
    variants: [undefined, undefined, undefined],
  });
  const { rows } = selectRows(dataset, BOTH);
  expect(rows.image?.variants).toEqual(["1", "2", "3"]);
  expect(rows.text).toBeUndefined();
});

test("English is judged unless other texts are asked for, and an unknown one is refused with the nearest name", async () => {
  const dataset = await madeUpDataset({ groupCount: 10, textVariants: ["de", "en", "fr"] });
  expect(selectRows(dataset, BOTH).rows.text?.variants).toEqual(["en"]);
  const asked = selectRows(dataset, { ...BOTH, textVariants: ["fr", "de"] });
  expect(asked.rows.text?.variants).toEqual(["fr", "de"]);
  expect(new Set(asked.rows.text?.fit.map(({ variant }) => variant))).toEqual(new Set(["fr"]));
  expect(() => selectRows(dataset, { ...BOTH, textVariants: ["dee"] })).toThrow(/"dee"/);
});

test("a limit keeps whole concepts, and says nothing of it being the full set", async () => {
  const dataset = await madeUpDataset({ groupCount: 50 });
  const limited = selectRows(dataset, { ...BOTH, limit: 3 });
  expect(limited.rows.image?.test.length).toBe(9);
  expect(new Set(limited.rows.image?.fit.map(({ example }) => example.group)).size).toBe(3);
  expect(limited.key).not.toBe(selectRows(dataset, BOTH).key);
});

test("a split without rows, or without the encoder's modality, is refused", async () => {
  const dataset = await madeUpDataset({ groupCount: 5, splitOf: () => "train" });
  expect(() => selectRows(dataset, BOTH)).toThrow(/no test examples/);
  const pictures = await madeUpDataset({ groupCount: 5 });
  expect(() => selectRows(pictures, { split: "test", modalities: ["text"] })).toThrow(
    /no text example/,
  );
});
