import { describe, expect, test } from "vitest";
import { differentialLoss, embedViews } from "../../../bench/quality/differential.ts";
import { denseMatrix, innerProducts, normaliseRows } from "../../../bench/quality/matrix.ts";
import { retrievalScore } from "../../../bench/quality/retrieval.ts";
import type { Encoder } from "../../../models/encoder.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { unitCount, type MaskedTokens, type PatchTokens } from "../../../tokenizers/tokenizer.ts";

const PATCH_BYTES = 12;
const UNITS = 16;
const DIMENSION = 48;

/** A concept is a pattern; its second drawing is the negative of the first, as a light icon on dark ground is. */
function drawings(count: number): { readonly dark: PatchTokens[]; readonly light: PatchTokens[] } {
  const rng = seededRng(3, "drawings");
  const tokens = (patches: Uint8Array): PatchTokens => ({
    kind: "patches",
    modality: "image",
    patches,
    patchBytes: PATCH_BYTES,
    grid: { columns: 4, rows: 4, times: 1 },
  });
  const dark: PatchTokens[] = [];
  const light: PatchTokens[] = [];
  for (let i = 0; i < count; i++) {
    const patches = Uint8Array.from({ length: UNITS * PATCH_BYTES }, () => rng.uniform(256));
    dark.push(tokens(patches));
    light.push(tokens(patches.map((value) => 255 - value)));
  }
  return { dark, light };
}

const weights = Float64Array.from(
  { length: DIMENSION * UNITS * PATCH_BYTES },
  (
    (rng) => () =>
      rng.unit() - 0.5
  )(seededRng(4, "weights")),
);

/** Σ over visible units of W x: bias-free and linear, hidden units count as zero. */
function project({ tokens, visible }: MaskedTokens, feature: (value: number) => number) {
  const out = new Float32Array(DIMENSION);
  if (tokens.kind !== "patches") return out;
  for (const unit of visible ?? Uint32Array.from({ length: unitCount(tokens) }, (_, i) => i)) {
    for (let b = 0; b < PATCH_BYTES; b++) {
      const at = unit * PATCH_BYTES + b;
      const value = feature((tokens.patches[at] ?? 0) / 127.5 - 1);
      for (let d = 0; d < DIMENSION; d++) {
        out[d] = (out[d] ?? 0) + value * (weights[d * UNITS * PATCH_BYTES + at] ?? 0);
      }
    }
  }
  return out;
}

/** Adds up what single units say, whatever they mean: made to win the differential loss. */
const cheat: Encoder = {
  dimension: DIMENSION,
  embed: async (inputs) => inputs.map((input) => project(input, (value) => value)),
};

/** Knows that a negative shows the same thing; of length 1, so it cannot be additive. */
const honest: Encoder = {
  dimension: DIMENSION,
  async embed(inputs) {
    return inputs.map((input) => {
      const raw = project(input, (value) => value * value - 1 / 3);
      const norm = Math.hypot(...raw);
      return raw.map((value) => value / norm);
    });
  },
};

async function recallAt1(encoder: Encoder): Promise<number> {
  const { dark, light } = drawings(40);
  const embed = async (tokens: readonly PatchTokens[]) =>
    normaliseRows(
      denseMatrix(await encoder.embed(tokens.map((one) => ({ tokens: one }))), DIMENSION),
    );
  const groups = dark.map((_, i) => String(i));
  const score = retrievalScore(
    innerProducts(await embed(dark), await embed(light)),
    groups,
    groups,
  );
  return score?.r1 ?? Number.NaN;
}

async function lossOf(encoder: Encoder) {
  return differentialLoss(await embedViews(encoder, drawings(24).dark), DIMENSION);
}

describe("a linear encoder made to cheat", () => {
  test("wins the differential loss with 0, raw and centred", async () => {
    const loss = await lossOf(cheat);
    expect(loss?.raw).toBeLessThan(1e-10);
    expect(loss?.centred).toBeLessThan(1e-10);
    expect((await lossOf(honest))?.raw).toBeGreaterThan(0.2);
  });

  test("is caught by retrieval, where an encoder that loses the differential loss is perfect", async () => {
    expect(await recallAt1(cheat)).toBeLessThan(0.05);
    expect(await recallAt1(honest)).toBe(1);
  });
});

test("a constant part of the embedding costs raw loss and no centred loss", async () => {
  const offset: Encoder = {
    dimension: DIMENSION,
    embed: async (inputs) =>
      (await cheat.embed(inputs)).map((row) => row.map((value) => value + 100)),
  };
  const loss = await lossOf(offset);
  // ‖f − a − b‖² is the offset's own square, and f is hardly more than it.
  expect(loss?.raw).toBeCloseTo(1, 1);
  expect(loss?.centred).toBeLessThan(1e-6);
});

test("the loss of hand-made views is the formula's", () => {
  const one = (...rows: number[][]) => denseMatrix(rows, 2);
  const views = {
    full: one([3, 4], [0, 5]),
    masked: one([1, 0], [0, 1]),
    inverse: one([0, 4], [0, 4]),
  };
  // Residuals [2, 0] and [0, 0]: 4 / (25 + 25).
  expect(differentialLoss(views, 2)?.raw).toBeCloseTo(4 / 50, 12);
  // The first dimension alone: residual 2, f 3 and 0.
  expect(differentialLoss(views, 1)?.raw).toBeCloseTo(4 / 9, 12);
  // Centred, first dimension: f ±1.5, a ±0.5, b 0, so residuals ±1.
  expect(differentialLoss(views, 1)?.centred).toBeCloseTo(2 / 4.5, 12);
});

test("every mask shows its units to one side only, and views are the same at every call", async () => {
  const seen: MaskedTokens[] = [];
  const spy: Encoder = {
    dimension: DIMENSION,
    async embed(inputs) {
      seen.push(...inputs);
      return cheat.embed(inputs);
    },
  };
  const { dark } = drawings(2);
  const first = await embedViews(spy, dark);
  expect(first.full.count).toBe(2 * 4);
  const [full, ...rest] = seen.slice(0, 9);
  expect(full?.visible).toBeUndefined();
  for (let pair = 0; pair < 4; pair++) {
    const together = [
      ...(rest[2 * pair]?.visible ?? []),
      ...(rest[2 * pair + 1]?.visible ?? []),
    ].sort((a, b) => a - b);
    expect(together).toEqual(Array.from({ length: UNITS }, (_, i) => i));
    expect(rest[2 * pair]?.visible?.length).toBe(14); // 85 % of 16, rounded half up
  }
  expect(await embedViews(spy, dark)).toEqual(first);
});

test("where everything embeds to zero there is no loss to speak of", () => {
  const zero = denseMatrix([[0, 0]], 2);
  expect(differentialLoss({ full: zero, masked: zero, inverse: zero }, 2)).toBeUndefined();
});
