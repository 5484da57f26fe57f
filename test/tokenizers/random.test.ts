import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { InvariantError } from "../../base/errors.ts";
import { fromHex, sha256, toHex, u32 } from "../../tokenizers/hash.ts";
import { Rng, seededRng } from "../../tokenizers/random.ts";

const seed = (): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 32, maxLength: 32 });

test("SHA-256 is Node's, byte for byte", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(toHex(sha256(bytes))).toBe(createHash("sha256").update(bytes).digest("hex"));
    }),
  );
});

test("hex is read back as written, in either case, and nothing else is hex", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(fromHex(toHex(bytes))).toEqual(bytes);
      expect(fromHex(toHex(bytes).toUpperCase())).toEqual(bytes);
    }),
  );
  for (const bad of ["0", "0x00", "zz", "00 0", "é0"]) expect(fromHex(bad)).toBeUndefined();
});

test("a u32 is four little-endian bytes, and what would wrap is a broken invariant", () => {
  expect(toHex(u32(0x01020304))).toBe("04030201");
  expect(toHex(u32(2 ** 32 - 1))).toBe("ffffffff");
  for (const bad of [-1, 2 ** 32, 0.5, Number.NaN]) {
    expect(() => u32(bad)).toThrow(InvariantError);
  }
});

test("a generator goes on from a saved number of words as if it had never stopped", () => {
  fc.assert(
    fc.property(seed(), fc.integer({ min: 0, max: 40 }), (start, skipped) => {
      const whole = new Rng(start);
      for (let i = 0; i < skipped; i++) whole.word();
      const resumed = new Rng(start, skipped);
      expect(resumed.wordsRead).toBe(whole.wordsRead);
      expect(Array.from({ length: 20 }, () => resumed.word())).toEqual(
        Array.from({ length: 20 }, () => whole.word()),
      );
    }),
  );
});

test("the block counter has 64 bits: past 2^32 blocks the stream goes on, and does not repeat", () => {
  const start = new Uint8Array(32).fill(7);
  const words = (block: number): readonly number[] => {
    const rng = new Rng(start, 8 * block);
    return Array.from({ length: 8 }, () => rng.word());
  };
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setBigUint64(0, 2n ** 32n + 5n, true);
  const digest = createHash("sha256").update(start).update(counter).digest();
  expect(words(2 ** 32 + 5)).toEqual(
    Array.from({ length: 8 }, (_, i) => digest.readUInt32LE(4 * i)),
  );
  expect(words(2 ** 32 + 5)).not.toEqual(words(5));
});

test("a bound of 1 reads a word as any other does", () => {
  const rng = new Rng(new Uint8Array(32));
  expect(rng.uniform(1)).toBe(0);
  expect(rng.wordsRead).toBe(1);
});

test("a sample holds distinct positions, and of all n is a permutation", () => {
  const sizes = fc
    .integer({ min: 0, max: 300 })
    .chain((n) => fc.tuple(fc.constant(n), fc.integer({ min: 0, max: n })));
  fc.assert(
    fc.property(seed(), sizes, (start, [n, k]) => {
      const sample = new Rng(start).sample(n, k);
      expect(new Set(sample).size).toBe(k);
      expect(sample.every((position) => position < n)).toBe(true);
    }),
  );
});

test("draws are uniform: each of 6 faces within 5 standard deviations in 60,000 throws", () => {
  const rng = seededRng(1, "dice");
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 60_000; i++) {
    const face = rng.uniform(6);
    counts[face] = (counts[face] ?? 0) + 1;
  }
  const deviation = Math.sqrt(60_000 * (1 / 6) * (5 / 6));
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(5 * deviation);
});

test("purposes have streams of their own, and a seed gives the same one again", () => {
  const first = (number: number, purpose: string): number => seededRng(number, purpose).word();
  expect(first(1, "weights")).toBe(first(1, "weights"));
  expect(first(1, "weights")).not.toBe(first(1, "batches"));
  expect(first(1, "weights")).not.toBe(first(2, "weights"));
});

test.each([0, -1, 1.5, 2 ** 32 + 1])("a bound of %s is a broken invariant", (bound) => {
  expect(() => new Rng(new Uint8Array(32)).uniform(bound)).toThrow(InvariantError);
});

test.each([31, 33])("a seed of %s bytes is a broken invariant", (bytes) => {
  expect(() => new Rng(new Uint8Array(bytes))).toThrow(InvariantError);
});
