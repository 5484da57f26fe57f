import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { Dataset, Example } from "../../datasets/dataset.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import { startBackend, tf } from "../../models/backend.ts";
import { parseEncoderConfig } from "../../models/config.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { Image, MaskedTokens } from "../../tokenizers/tokenizer.ts";
import {
  makeValidationSet,
  neighborAgreement,
  ranksAcross,
  validate,
} from "../../training/evaluate.ts";
import { embedInputs, type Sources } from "../../training/inputs.ts";
import { TINY_CONFIG, TINY_IMAGE_CONFIG } from "../support/tiny-encoder.ts";

let synthetic: Dataset;
beforeAll(async () => {
  await startBackend();
  synthetic = await makeSynthetic();
});

const TINY_TEXT_CONFIG = parseEncoderConfig(
  Object.fromEntries(Object.entries(TINY_CONFIG).filter(([key]) => key !== "image")),
);

/** Reads pictures of pixels as they are, and a character as a token. */
function sourcesOf(dataset: Dataset): Sources {
  const pictures = new Map<string, Image>();
  for (const { id, image } of dataset.examples) {
    if (image?.kind === "pixels") pictures.set(id, image);
  }
  const images = {
    has: (id: string) => pictures.has(id),
    get: (id: string) => ({ ...grey(), sourceWidth: 64, sourceHeight: 64, ...pictures.get(id) }),
  };
  const tokenizer = {
    tokenize: (text: string) => ({
      kind: "ids" as const,
      modality: "text" as const,
      ids: Int32Array.from(text, (character) => character.charCodeAt(0)),
    }),
  };
  return { images, tokenizer };
}

function grey(): Image {
  return { width: 64, height: 64, pixels: new Uint8Array(64 * 64 * 3).fill(128) };
}

const datasetOf = (examples: readonly Example[]): Dataset => ({ ...synthetic, examples });

const vector = (d: number): fc.Arbitrary<Float32Array> =>
  fc
    .array(fc.integer({ min: -9, max: 9 }), { minLength: d, maxLength: d })
    .filter((values) => values.some((value) => value !== 0))
    .map((values) => {
      const norm = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
      return Float32Array.from(values, (x) => x / norm);
    });
const side = (): fc.Arbitrary<Map<number, Float32Array>> =>
  fc
    .uniqueArray(fc.nat({ max: 12 }), { minLength: 1 })
    .chain((groups) =>
      fc
        .array(vector(3), { minLength: groups.length, maxLength: groups.length })
        .map((rows) => new Map(groups.map((group, i) => [group, rows[i] ?? new Float32Array()]))),
    );

const dot = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);

describe("ranks", () => {
  test("agree with sorting the candidates, one query at a time", () => {
    fc.assert(
      fc.property(side(), side(), (queries, candidates) => {
        const ranks = ranksAcross(queries, candidates);
        const asked = [...queries].filter(([group]) => candidates.has(group));
        expect(ranks.length).toBe(asked.length);
        asked.forEach(([group, query], i) => {
          const own = dot(query, candidates.get(group) ?? query);
          const others = [...candidates]
            .filter(([other]) => other !== group)
            .map(([, row]) => dot(query, row));
          // Float sums differ in the last bits: near ties may fall on either side.
          const above = others.filter((value) => value > own + 1e-5).length;
          const notBelow = others.filter((value) => value >= own - 1e-5).length;
          expect(ranks[i]).toBeGreaterThanOrEqual(1 + above);
          expect(ranks[i]).toBeLessThanOrEqual(1 + notBelow);
        });
      }),
    );
  });

  test("of an encoder that maps everything to one point, or to no number, are the last", () => {
    for (const value of [0.5, 0, Number.NaN]) {
      const point = new Map(
        Array.from({ length: 20 }, (_, i) => [i, new Float32Array(4).fill(value)]),
      );
      expect(new Set(ranksAcross(point, point))).toEqual(new Set([20]));
    }
  });
});

test("neighbours agree where labels are clusters, and never where each label is alone", () => {
  const rows = [0, 0.1, 3, 3.1].map((angle) => Float32Array.of(Math.cos(angle), Math.sin(angle)));
  expect(neighborAgreement(rows, ["a", "a", "b", "b"])).toBe(1);
  expect(neighborAgreement(rows, ["a", "b", "c", "d"])).toBe(0);
  expect(neighborAgreement(rows, ["a", "a", "b", "c"])).toBe(0.5);
});

describe("the validation set", () => {
  test("of pictures compares drawings with each other, of texts texts, of both pictures with the first text", () => {
    const pairsOf = (config: typeof TINY_CONFIG, sources: Sources): string[] => {
      const set = makeValidationSet(synthetic, sources, config, 20);
      if (set?.kind !== "views") throw new Error("no views");
      return set.pairs.map(([i, j]) => `${set.views[i]?.name ?? ""} → ${set.views[j]?.name ?? ""}`);
    };
    const sources = sourcesOf(synthetic);
    const imagesOnly = pairsOf(TINY_IMAGE_CONFIG, { ...sources, tokenizer: undefined });
    expect(imagesOnly.length).toBe(6);
    expect(imagesOnly).toContain("image/small → image/outline");
    const textsOnly = pairsOf(TINY_TEXT_CONFIG, { ...sources, images: undefined });
    expect(textsOnly.sort()).toEqual(["text/caption → text/short", "text/short → text/caption"]);
    const both = pairsOf(TINY_CONFIG, sources);
    expect(both.length).toBe(6);
    for (const pair of both) expect(pair).toMatch(/image.*text\/caption|text\/caption.*image/);
  });

  test("is the same whenever it is made, of validation groups only, and at most as many as asked for", () => {
    const sources = sourcesOf(synthetic);
    const [a, b] = [1, 2].map(() => makeValidationSet(synthetic, sources, TINY_IMAGE_CONFIG, 5));
    expect(a).toEqual(b);
    expect(a?.groupCount).toBe(5);
    const train = datasetOf(synthetic.examples.filter(({ split }) => split !== "validation"));
    expect(makeValidationSet(train, sources, TINY_IMAGE_CONFIG, 5)).toBeUndefined();
  });

  test("falls back to labels where no concept has two views, and to nothing without labels", () => {
    const single = synthetic.examples.filter(({ variant }) => variant === "large");
    const sources = sourcesOf(synthetic);
    const set = makeValidationSet(datasetOf(single), sources, TINY_IMAGE_CONFIG, 100);
    expect(set).toMatchObject({ kind: "labels" });
    const bare = single.map(({ id, group, split, image }): Example => ({
      id,
      group,
      split,
      ...(image === undefined ? {} : { image }),
    }));
    expect(makeValidationSet(datasetOf(bare), sources, TINY_IMAGE_CONFIG, 100)).toBeUndefined();
  });

  test("counts unnamed rows of a group as its first, second, … view", () => {
    const unnamed = synthetic.examples.map((example): Example => {
      const copy: { -readonly [Key in keyof Example]: Example[Key] } = { ...example };
      delete copy.variant;
      return copy;
    });
    const set = makeValidationSet(datasetOf(unnamed), sourcesOf(synthetic), TINY_IMAGE_CONFIG, 9);
    if (set?.kind !== "views") throw new Error("no views");
    expect(set.views.map(({ name }) => name)).toEqual(["image/#1", "image/#2", "image/#3"]);
  });

  test("scores an encoder between nothing and everything, and leaves no tensors", () => {
    const encoder = new TransformerEncoder(TINY_IMAGE_CONFIG, seededRng(1, "test"));
    const sources = { ...sourcesOf(synthetic), tokenizer: undefined };
    const views = makeValidationSet(synthetic, sources, TINY_IMAGE_CONFIG, 16);
    const single = synthetic.examples.filter(({ variant }) => variant === "large");
    const labels = makeValidationSet(datasetOf(single), sources, TINY_IMAGE_CONFIG, 16);
    for (const set of [views, labels]) {
      if (set === undefined) throw new Error("nothing to validate on");
      validate(encoder, set); // builds what stays
      const before = tf.memory().numTensors;
      const { score, metrics } = validate(encoder, set);
      expect(tf.memory().numTensors).toBe(before);
      expect(Object.values(metrics)).toContain(score);
      for (const value of Object.values(metrics)) {
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThanOrEqual(100);
      }
    }
    encoder.dispose();
  });
});

test("an input's embedding does not depend on what it is embedded with", () => {
  const encoder = new TransformerEncoder(TINY_CONFIG, seededRng(2, "test"));
  const text = (length: number): MaskedTokens => ({
    tokens: {
      kind: "ids",
      modality: "text",
      ids: Int32Array.from({ length }, (_, i) => 7 + 3 * i),
    },
  });
  const inputs = [
    text(3),
    { tokens: patchify(grey()) },
    text(40),
    text(1),
    { tokens: patchify(grey()) },
  ];
  const together = embedInputs(encoder, inputs);
  inputs.forEach((input, i) => {
    const [alone] = embedInputs(encoder, [input]);
    alone?.forEach((value, d) => {
      expect(together[i]?.[d]).toBeCloseTo(value, 4);
    });
  });
  expect(embedInputs(encoder, [])).toEqual([]);
  encoder.dispose();
});
