import fc from "fast-check";
import { expect, test } from "vitest";
import { InvariantError } from "../../../base/errors.ts";
import { PATCH_BYTES, patchify, unpatchify } from "../../../tokenizers/image/patches.ts";
import { unitCount, type Image } from "../../../tokenizers/tokenizer.ts";

const image = (): fc.Arbitrary<Image> =>
  fc
    .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.integer())
    .map(([columns, rows, salt]) => ({
      width: 16 * columns,
      height: 16 * rows,
      // Knuth's multiplicative hash: any two places differ in general, which is all that is needed.
      pixels: Uint8Array.from(
        { length: 768 * columns * rows },
        (_, i) => Math.imul(i + salt, 0x9e3779b1) >>> 24,
      ),
    }));

test("the byte of pixel (x, y) lies in patch (x div 16, y div 16), at its own place", () => {
  fc.assert(
    fc.property(image(), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 2 }), (picture, a, b, c) => {
      const { width, height, pixels } = picture;
      const [x, y] = [a % width, b % height];
      const { patches, grid, patchBytes } = patchify(picture);
      const patch = Math.floor(y / 16) * grid.columns + Math.floor(x / 16);
      const inside = 3 * (16 * (y % 16) + (x % 16)) + c;
      expect(patches[patch * patchBytes + inside]).toBe(pixels[3 * (y * width + x) + c]);
    }),
  );
});

test("patches put together again are the picture", () => {
  fc.assert(
    fc.property(image(), (picture) => {
      const tokens = patchify(picture);
      const { width, height, pixels } = unpatchify(tokens);
      expect([width, height]).toEqual([picture.width, picture.height]);
      // Bytes are compared as bytes: vitest's equality walks them one by one, a hundred times slower.
      expect(Buffer.compare(pixels, picture.pixels)).toBe(0);
      expect(unitCount(tokens) * PATCH_BYTES).toBe(picture.pixels.length);
    }),
  );
});

test("patches are a copy: changing them leaves the picture alone", () => {
  const picture: Image = { width: 16, height: 16, pixels: new Uint8Array(768) };
  patchify(picture).patches.fill(9);
  expect(picture.pixels.every((value) => value === 0)).toBe(true);
});

test.each([
  ["a width off the grid", { width: 17, height: 16, pixels: new Uint8Array(17 * 16 * 3) }],
  ["a height off the grid", { width: 16, height: 8, pixels: new Uint8Array(16 * 8 * 3) }],
  ["missing pixels", { width: 16, height: 16, pixels: new Uint8Array(767) }],
])("%s is a broken invariant", (_name, picture) => {
  expect(() => patchify(picture)).toThrow(InvariantError);
});
