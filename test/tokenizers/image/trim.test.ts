/** White margins are cut, and nothing but margins. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeImage } from "../../../tokenizers/image/decode.ts";
import { trimToSquare } from "../../../tokenizers/image/trim.ts";
import type { Image } from "../../../tokenizers/tokenizer.ts";
import { bytesOf, plain } from "../../support/pictures.ts";

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A black box on a white picture. */
function boxOn(width: number, height: number, box: Box): Image {
  const pixels = new Uint8Array(width * height * 3).fill(255);
  for (let y = box.top; y < box.top + box.height; y++)
    pixels.fill(0, (y * width + box.left) * 3, (y * width + box.left + box.width) * 3);
  return { width, height, pixels };
}

const box = fc.record({
  left: fc.integer({ min: 0, max: 20 }),
  top: fc.integer({ min: 0, max: 20 }),
  width: fc.integer({ min: 1, max: 20 }),
  height: fc.integer({ min: 1, max: 20 }),
});

const inkOf = (image: Image): number => image.pixels.filter((value) => value === 0).length / 3;

test("what is left is a square with the longer side of the ink, and all of the ink", () => {
  fc.assert(
    fc.property(box, (b) => {
      const trimmed = trimToSquare(boxOn(40, 40, b));
      expect(trimmed.width).toBe(Math.max(b.width, b.height));
      expect(trimmed.height).toBe(trimmed.width);
      expect(inkOf(trimmed)).toBe(b.width * b.height);
    }),
  );
});

test("where the ink stands in the picture does not matter, and trimming twice changes nothing", () => {
  fc.assert(
    fc.property(box, (b) => {
      const trimmed = trimToSquare(boxOn(40, 40, b));
      expect(trimmed).toEqual(trimToSquare(boxOn(64, 48, { ...b, left: 0, top: 0 })));
      expect(trimToSquare(trimmed)).toEqual(trimmed);
    }),
  );
});

test("a blank picture stays as it is", () => {
  const blank = boxOn(8, 6, { left: 0, top: 0, width: 0, height: 0 });
  expect(trimToSquare(blank)).toBe(blank);
});

test("a trimmed picture keeps the grid of the whole one, without its margins", async () => {
  const framed = await bytesOf(
    plain(32, 32, { r: 0, g: 0, b: 0 })
      .extend({ top: 16, bottom: 16, left: 16, right: 16, background: "#ffffff" })
      .png(),
  );
  const whole = await decodeImage(framed);
  const trimmed = await decodeImage(framed, { trim: true });
  expect([trimmed.width, trimmed.height]).toEqual([whole.width, whole.height]);
  expect(whole.pixels[0]).toBe(255);
  expect(Math.max(...trimmed.pixels)).toBeLessThan(10);
});
