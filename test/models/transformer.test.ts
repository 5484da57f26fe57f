/** What an encoder may see, and what its embedding must not depend on. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { startBackend, tf } from "../../models/backend.ts";
import { packTokens } from "../../models/batch.ts";
import { parseEncoderConfig } from "../../models/config.ts";
import { anchorWeights } from "../../models/readouts/anchors.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { drawMask, invert } from "../../tokenizers/mask.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { IdTokens, MaskedTokens } from "../../tokenizers/tokenizer.ts";
import { PATCH_BYTES, randomPatches } from "../support/patch-tokens.ts";

const RATIO = { numerator: 1, denominator: 2 };

function encoderOf(over: { layers: number; head: number }): TransformerEncoder {
  const config = parseEncoderConfig({
    architecture: "transformer",
    dimension: 24,
    matryoshka: [8, 24],
    image: { channels: [8, 12], width: 16, heads: 2, anchors: 4, maxPatches: 16, ...over },
    text: { vocabularySize: 50, width: 16, heads: 2, maxTokens: 12, ...over },
  });
  return new TransformerEncoder(config, seededRng(3, "test"));
}

function embed(encoder: TransformerEncoder, inputs: readonly MaskedTokens[]): number[][] {
  return tf.tidy(() => encoder.forward(packTokens(inputs)).arraySync());
}

function close(a: readonly number[] | undefined, b: readonly number[] | undefined): void {
  expect(a).toHaveLength(b?.length ?? -1);
  a?.forEach((value, i) => {
    expect(value).toBeCloseTo(b?.[i] ?? Number.NaN, 4);
  });
}

const text = (ids: readonly number[]): IdTokens => ({
  kind: "ids",
  modality: "text",
  ids: Int32Array.from(ids),
});

const grid = fc.record({
  columns: fc.integer({ min: 1, max: 14 }),
  rows: fc.integer({ min: 1, max: 14 }),
});

beforeAll(async () => {
  await startBackend();
});

describe.each([
  { layers: 0, head: 0 },
  { layers: 0, head: 20 },
  { layers: 2, head: 20 },
])("an encoder with $layers layers and a head of $head", (over) => {
  let encoder: TransformerEncoder;
  beforeAll(() => {
    encoder = encoderOf(over);
    // Residual branches start silent: wake them, or a leak through attention would go unseen.
    for (const [name, variable] of encoder.parameters())
      if (name.includes("attention.out.weight") || name.includes("down.weight"))
        variable.assign(tf.randomNormal(variable.shape, 0, 0.3, "float32", 5));
  });

  test("a hidden patch has no influence, whatever it holds", () => {
    fc.assert(
      fc.property(grid, fc.nat(1000), ({ columns, rows }, seed) => {
        fc.pre(columns * rows >= 2);
        const tokens = randomPatches(columns, rows, seed);
        const mask = drawMask(columns * rows, RATIO, seededRng(seed, "mask"));
        const changed = { ...tokens, patches: tokens.patches.slice() };
        for (const n of mask.hidden)
          changed.patches.fill(255, n * PATCH_BYTES, (n + 1) * PATCH_BYTES);
        const visible = invert(mask).hidden;
        const [a, b] = embed(encoder, [
          { tokens, visible },
          { tokens: changed, visible },
        ]);
        close(a, b);
      }),
      { numRuns: 15 },
    );
  });

  test("a visible patch has influence", () => {
    const tokens = randomPatches(4, 4, 1);
    const changed = { ...tokens, patches: tokens.patches.slice() };
    changed.patches.fill(255, 5 * PATCH_BYTES, 6 * PATCH_BYTES);
    const [a, b] = embed(encoder, [{ tokens }, { tokens: changed }]);
    expect(a).not.toEqual(b);
  });

  test("an embedding does not depend on what else is in the batch, nor on padding", () => {
    const small = { tokens: randomPatches(3, 2, 1) };
    const large = { tokens: randomPatches(14, 14, 2) };
    const both = embed(encoder, [small, large]);
    close(both[0], embed(encoder, [small])[0]);
    close(both[1], embed(encoder, [large])[0]);
    const short = { tokens: text([4, 7]) };
    const long = { tokens: text([9, 8, 7, 6, 5, 4, 3, 2]) };
    const texts = embed(encoder, [short, long]);
    close(texts[0], embed(encoder, [short])[0]);
    close(texts[1], embed(encoder, [long])[0]);
  });

  test("the place of a patch matters", () => {
    const tokens = randomPatches(4, 4, 9);
    const swapped = { ...tokens, patches: tokens.patches.slice() };
    swapped.patches.copyWithin(0, 15 * PATCH_BYTES, 16 * PATCH_BYTES);
    swapped.patches.set(tokens.patches.subarray(0, PATCH_BYTES), 15 * PATCH_BYTES);
    const [a, b] = embed(encoder, [{ tokens }, { tokens: swapped }]);
    expect(a).not.toEqual(b);
  });

  test("an empty text has an embedding", () => {
    const [a] = embed(encoder, [{ tokens: text([]) }]);
    expect(a?.every(Number.isFinite)).toBe(true);
  });
});

test("without attention and head, a mask and its inverse add up to the whole", () => {
  const encoder = encoderOf({ layers: 0, head: 0 });
  fc.assert(
    fc.property(grid, fc.nat(1000), ({ columns, rows }, seed) => {
      fc.pre(columns * rows >= 2);
      const tokens = randomPatches(columns, rows, seed);
      const mask = drawMask(columns * rows, RATIO, seededRng(seed, "mask"));
      const [full, masked, inverse] = embed(encoder, [
        { tokens },
        { tokens, visible: mask.hidden },
        { tokens, visible: invert(mask).hidden },
      ]);
      close(
        full,
        masked?.map((value, i) => value + (inverse?.[i] ?? Number.NaN)),
      );
    }),
    { numRuns: 15 },
  );
});

test("the weights of each anchor sum to 1 on any grid", () => {
  fc.assert(
    fc.property(
      grid,
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 3 }),
      ({ columns, rows }, anchors, times) => {
        const weights = anchorWeights({ columns, rows, times }, anchors);
        const A = anchors * anchors;
        expect(weights).toHaveLength(columns * rows * times * A);
        for (let a = 0; a < A; a++) {
          let sum = 0;
          for (let n = 0; n < columns * rows * times; n++) sum += weights[n * A + a] ?? Number.NaN;
          expect(sum).toBeCloseTo(1, 5);
        }
      },
    ),
  );
});

test("on the anchors' own grid each token is its own anchor", () => {
  const weights = anchorWeights({ columns: 4, rows: 4, times: 1 }, 4);
  for (let n = 0; n < 16; n++)
    for (let a = 0; a < 16; a++) expect(weights[n * 16 + a]).toBe(n === a ? 1 : 0);
});

test("a mirrored grid has mirrored weights", () => {
  const weights = anchorWeights({ columns: 7, rows: 3, times: 1 }, 4);
  for (let row = 0; row < 3; row++)
    for (let column = 0; column < 7; column++)
      for (let a = 0; a < 16; a++) {
        const mirrored = (row * 7 + (6 - column)) * 16 + (a - (a % 4) + (3 - (a % 4)));
        expect(weights[(row * 7 + column) * 16 + a]).toBeCloseTo(
          weights[mirrored] ?? Number.NaN,
          6,
        );
      }
});
