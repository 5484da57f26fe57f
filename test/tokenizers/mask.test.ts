import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvariantError, SomaError } from "../../base/errors.ts";
import {
  drawMask,
  drawMasks,
  invert,
  maskedViews,
  maskSize,
  type MaskRequest,
} from "../../tokenizers/mask.ts";
import { MODALITIES, type Modality } from "../../tokenizers/modality.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { IdTokens } from "../../tokenizers/tokenizer.ts";

const modality = (): fc.Arbitrary<Modality> =>
  fc.constantFrom(...(Object.keys(MODALITIES) as Modality[]));
const length = (): fc.Arbitrary<number> => fc.integer({ min: 2, max: 512 });
const hash = (): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 32, maxLength: 32 });
const request = (): fc.Arbitrary<MaskRequest> =>
  fc.record({
    modality: modality(),
    // Small lengths are where distinct masks run out.
    units: fc.oneof(fc.integer({ min: 2, max: 12 }), length()),
    digest: hash(),
    dataHash: hash(),
    itemIndex: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    count: fc.integer({ min: 1, max: 16 }),
  });

describe("one mask", () => {
  test("lists each drawn position once, ascending, inside the sequence", () => {
    fc.assert(
      fc.property(fc.integer(), length(), modality(), (seed, n, kind) => {
        const { hidden } = drawMask(n, MODALITIES[kind].maskRatio, seededRng(seed, "mask"));
        expect(hidden.every((position, i) => i === 0 || position > (hidden[i - 1] ?? 0))).toBe(
          true,
        );
        expect(hidden.every((position) => position < n)).toBe(true);
      }),
    );
  });

  test("draws the ratio rounded half up, but never nothing and never all", () => {
    fc.assert(
      fc.property(length(), modality(), (n, kind) => {
        const ratio = MODALITIES[kind].maskRatio;
        const size = maskSize(n, ratio);
        const exact = (n * ratio.numerator) / ratio.denominator;
        expect(size).toBe(Math.min(n - 1, Math.max(1, Math.floor(exact + 0.5))));
      }),
    );
    expect(maskSize(10, { numerator: 15, denominator: 100 })).toBe(2); // 1.5 goes up
  });

  test("with its inverse covers every position exactly once", () => {
    fc.assert(
      fc.property(fc.integer(), length(), modality(), (seed, n, kind) => {
        const mask = drawMask(n, MODALITIES[kind].maskRatio, seededRng(seed, "mask"));
        const both = [...mask.hidden, ...invert(mask).hidden].sort((a, b) => a - b);
        expect(both).toEqual(Array.from({ length: n }, (_, i) => i));
        expect(invert(invert(mask))).toEqual(mask);
      }),
    );
  });

  test("of a single unit is a broken invariant: nothing would be left to see", () => {
    expect(() => drawMask(1, MODALITIES.text.maskRatio, seededRng(1, "mask"))).toThrow(
      InvariantError,
    );
  });
});

describe("the masks of a datum", () => {
  test("differ as sets, and are as many as asked or as exist", () => {
    fc.assert(
      fc.property(request(), (asked) => {
        const masks = drawMasks(asked);
        const size = maskSize(asked.units, MODALITIES[asked.modality].maskRatio);
        expect(new Set(masks.map(({ hidden }) => hidden.join())).size).toBe(masks.length);
        expect(BigInt(masks.length)).toBe(least(BigInt(asked.count), binomial(asked.units, size)));
      }),
    );
  });

  test("come in an order that does not depend on how many are asked", () => {
    fc.assert(
      fc.property(request(), (asked) => {
        const all = drawMasks({ ...asked, count: 16 });
        expect(drawMasks(asked)).toEqual(all.slice(0, asked.count));
      }),
    );
  });

  test("change with each of the things they are bound to", () => {
    const base: MaskRequest = {
      modality: "image",
      units: 196,
      digest: new Uint8Array(32),
      dataHash: new Uint8Array(32),
      itemIndex: 0,
      count: 1,
    };
    const others: readonly Partial<MaskRequest>[] = [
      { digest: new Uint8Array(32).fill(1) },
      { dataHash: new Uint8Array(32).fill(1) },
      { itemIndex: 1 },
    ];
    for (const other of others) {
      expect(drawMasks({ ...base, ...other })).not.toEqual(drawMasks(base));
    }
  });

  test.each([0, 17, 1.5, Number.NaN])("cannot be %s in number", (count) => {
    const ask = (): unknown =>
      drawMasks({
        modality: "text",
        units: 20,
        digest: new Uint8Array(32),
        dataHash: new Uint8Array(32),
        itemIndex: 0,
        count,
      });
    expect(ask).toThrow(SomaError);
    expect(ask).toThrow(expect.objectContaining({ code: "BAD_MASK_COUNT", kind: "usage" }));
  });

  test.each([
    ["a digest of 31 bytes", { digest: new Uint8Array(31) }],
    ["a data hash of 33 bytes", { dataHash: new Uint8Array(33) }],
    ["an item index of 2^32, which would alias 0", { itemIndex: 2 ** 32 }],
    ["a negative item index", { itemIndex: -1 }],
  ])("are not drawn from %s", (_name, wrong) => {
    expect(() =>
      drawMasks({
        modality: "text",
        units: 20,
        digest: new Uint8Array(32),
        dataHash: new Uint8Array(32),
        itemIndex: 0,
        count: 4,
        ...wrong,
      }),
    ).toThrow(InvariantError);
  });
});

test("an encoder runs one full view and two for each mask, which split the units between them", () => {
  fc.assert(
    fc.property(request(), (asked) => {
      const tokens: IdTokens = { kind: "ids", modality: "text", ids: new Int32Array(asked.units) };
      const masks = drawMasks(asked);
      const { full, pairs } = maskedViews(tokens, masks);
      expect(full.visible).toBeUndefined();
      expect(pairs).toHaveLength(masks.length);
      pairs.forEach(({ mask, inverse }, j) => {
        expect(mask.visible).toEqual(masks[j]?.hidden);
        const seen = new Set([...(mask.visible ?? []), ...(inverse.visible ?? [])]);
        expect(seen.size).toBe(asked.units);
        expect((mask.visible?.length ?? 0) + (inverse.visible?.length ?? 0)).toBe(asked.units);
        expect(mask.tokens).toBe(tokens);
      });
    }),
  );
});

/** n choose k by the plain formula. */
function binomial(n: number, k: number): bigint {
  let result = 1n;
  for (let i = 0; i < k; i++) result = (result * BigInt(n - i)) / BigInt(i + 1);
  return result;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
