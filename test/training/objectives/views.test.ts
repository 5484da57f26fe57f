/** What an objective draws for a step. */
import { beforeAll, expect, test } from "vitest";
import { seededRng } from "../../../tokenizers/random.ts";
import { loadTextTokenizer, type TextTokenizer } from "../../../tokenizers/text/sentencepiece.ts";
import { augmentSettings } from "../../../training/augment.ts";
import { drawRows, Groups, Views } from "../../../training/objectives/views.ts";
import type { SamplerContext } from "../../../training/sampler.ts";
import { madeUpDataset } from "../../support/made-up-dataset.ts";
import { TINY_CONFIG } from "../../support/tiny-encoder.ts";

let tokenizer: TextTokenizer;
beforeAll(async () => {
  tokenizer = await loadTextTokenizer();
});

async function contextOf(groupCount: number, variants: readonly string[]): Promise<SamplerContext> {
  const dataset = await madeUpDataset({ groupCount, variants, textVariants: ["en", "de"] });
  return {
    dataset,
    images: undefined,
    tokenizer,
    encoder: TINY_CONFIG,
    seed: 1,
    batchSize: 4,
    settings: {},
  };
}

test("a pass gives every training group once and no other", async () => {
  const context = await contextOf(20, ["a", "b"]);
  const groups = new Groups(context, { image: 2 });
  const pass = [0, 1, 2, 3].flatMap((step) => groups.at(step));
  const names = pass.map((rows) => rows[0]?.group);
  expect(new Set(names).size).toBe(16);
  expect(pass.flat().every(({ split }) => split === "train")).toBe(true);
  expect(groups.at(2).map((rows) => rows[0]?.group)).toEqual(names.slice(8, 12));
});

test("groups with too few rows of a modality are refused with what is missing", async () => {
  const context = await contextOf(20, ["a"]);
  expect(() => new Groups(context, { image: 2 })).toThrow(/0 training groups with 2 image rows/);
});

test("rows are drawn without repeating one before all were drawn", async () => {
  const { dataset } = await contextOf(2, ["a", "b", "c"]);
  const rows = dataset.examples.slice(0, 3);
  for (let seed = 0; seed < 20; seed++) {
    expect(new Set(drawRows(rows, 3, seededRng(seed, "rows"))).size).toBe(3);
    const five = drawRows(rows, 5, seededRng(seed, "rows"));
    expect(five).toHaveLength(5);
    expect(new Set(five).size).toBe(3);
  }
});

test("a row goes by its own words, or by its class's", async () => {
  const context = await contextOf(4, []);
  const row = context.dataset.examples.find(({ text }) => text !== undefined);
  const views = new Views(context, augmentSettings.parse({}));
  expect(row).toBeDefined();
  if (row === undefined) return;
  expect([...views.text(row).ids]).toEqual([...tokenizer.encode(row.text ?? "")]);
  expect([...views.text(row, true).ids]).toEqual([...tokenizer.encode(row.label ?? "")]);
  expect([...views.text(row).ids]).not.toEqual([...views.text(row, true).ids]);
});
