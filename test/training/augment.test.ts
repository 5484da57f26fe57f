/** Augmented views of a picture. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { inkOf, PATCH_BYTES } from "../../models/stems/ink.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { Rng } from "../../tokenizers/random.ts";
import type { Image } from "../../tokenizers/tokenizer.ts";
import {
  augmentSettings,
  drawView,
  drawVisible,
  renderView,
  viewScratch,
  type AugmentSettings,
  type View,
} from "../../training/augment.ts";

const STILL = augmentSettings.parse({
  rotation: 0,
  zoom: 0,
  stretch: 0,
  shift: 0,
  mirror: 0,
  tint: 0,
  brightness: 0,
  hide: 0,
});

/** The ink of a random view, all patches of it. */
function augment(image: Image, settings: AugmentSettings, rng: Rng): Float32Array {
  const ink = new Float32Array(image.pixels.length);
  const positions = new Uint32Array(ink.length / PATCH_BYTES).keys();
  renderView(image, drawView(image, settings, rng), positions, ink, viewScratch(image));
  return ink;
}

/** The picture as it is, as the stem of an encoder reads it. */
const inkOfImage = (image: Image): Float32Array => inkOf(patchify(image).patches);

function picture(columns: number, rows: number, seed: number): Image {
  const rng = seededRng(seed, "picture");
  const [width, height] = [columns * 16, rows * 16];
  return {
    width,
    height,
    pixels: Uint8Array.from({ length: width * height * 3 }, () => rng.uniform(256)),
  };
}

const grid = fc.record({
  columns: fc.integer({ min: 1, max: 4 }),
  rows: fc.integer({ min: 1, max: 4 }),
});

test("with nothing to change, a view is the picture cut into patches", () => {
  fc.assert(
    fc.property(grid, fc.nat(99), ({ columns, rows }, seed) => {
      const image = picture(columns, rows, seed);
      const view = augment(image, STILL, seededRng(seed, "view"));
      expect(view).toEqual(inkOfImage(image));
    }),
    { numRuns: 20 },
  );
});

/** One number of a view: four pixels weighed in doubles, white outside, then tinted. */
function naiveNumber(image: Image, view: View, x: number, y: number, channel: number): number {
  const { matrix, gains, lift } = view;
  const sourceX = matrix.xx * x + matrix.xy * y + matrix.x1;
  const sourceY = matrix.yx * x + matrix.yy * y + matrix.y1;
  const [left, top] = [Math.floor(sourceX), Math.floor(sourceY)];
  const at = (px: number, py: number): number =>
    px < 0 || py < 0 || px >= image.width || py >= image.height
      ? 255
      : (image.pixels[(py * image.width + px) * 3 + channel] ?? Number.NaN);
  const [fx, fy] = [sourceX - left, sourceY - top];
  const value =
    (at(left, top) * (1 - fx) + at(left + 1, top) * fx) * (1 - fy) +
    (at(left, top + 1) * (1 - fx) + at(left + 1, top + 1) * fx) * fy;
  const tinted = value * (gains[channel] ?? Number.NaN) + lift;
  return 1 - Math.min(255, Math.max(0, tinted)) / 255;
}

test("a view is what its formula says, in and outside of the picture, to about a level of 255", () => {
  const strong = { ...augmentSettings.parse({}), rotation: 3, shift: 0.4, zoom: 0.5, mirror: 0.5 };
  fc.assert(
    fc.property(grid, fc.nat(99), ({ columns, rows }, seed) => {
      // Smooth, so that a place off by 1/256 of a pixel is a value off by little.
      const [width, height] = [columns * 16, rows * 16];
      const pixels = Uint8Array.from(
        { length: width * height * 3 },
        (_, at) =>
          40 + 2 * (Math.floor(at / 3) % width) + Math.floor(at / 3 / width) + 5 * (at % 3),
      );
      const image = { width, height, pixels };
      const view = drawView(image, strong, seededRng(seed, "view"));
      const expected = new Float32Array(pixels.length);
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let c = 0; c < 3; c++)
            expected[(y * width + x) * 3 + c] = naiveNumber(image, view, x, y, c);
      const ink = augment(image, strong, seededRng(seed, "view"));
      const inOrder = inkFloats(expected, columns, rows);
      const worst = ink.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (inOrder[i] ?? Number.NaN))),
        0,
      );
      // Half a level each of rounding the value and the tint; at the border a 256th of 255 for the place.
      expect(worst).toBeLessThan(3.5 / 255);
    }),
    { numRuns: 30 },
  );
});

/** Numbers of a picture [rows of pixels] in the order that ink has: found by asking `inkOf` where each byte goes. */
function inkFloats(numbers: Float32Array, columns: number, rows: number): Float32Array {
  const out = new Float32Array(numbers.length);
  const { width, height } = { width: columns * 16, height: rows * 16 };
  // Each byte's place is told by marking the high and the low part of its index.
  const part = (of: (index: number) => number): Float32Array =>
    inkOf(patchify({ width, height, pixels: Uint8Array.from(numbers, (_, i) => of(i)) }).patches);
  const byteOf = (ink: number | undefined): number => Math.round(255 * (1 - (ink ?? 0)));
  const high = part((i) => i >> 8);
  const low = part((i) => i & 255);
  out.forEach((_, to) => {
    out[to] = numbers[byteOf(high[to]) * 256 + byteOf(low[to])] ?? Number.NaN;
  });
  return out;
}

test("a mirror image of a mirror image is the picture", () => {
  const image = picture(2, 3, 4);
  const settings = { ...STILL, mirror: 1 };
  const once = augment(image, settings, seededRng(1, "view"));
  expect(once).not.toEqual(inkOfImage(image));
  const mirrored = { ...image, pixels: new Uint8Array(image.pixels.length) };
  const { width, height } = image;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++)
        mirrored.pixels[(y * width + x) * 3 + c] =
          image.pixels[(y * width + (width - 1 - x)) * 3 + c] ?? 0;
  expect(once).toEqual(inkOfImage(mirrored));
});

test("what moves in from outside is white", () => {
  const black: Image = { width: 32, height: 32, pixels: new Uint8Array(32 * 32 * 3) };
  const view = augment(black, { ...STILL, shift: 1 }, seededRng(2, "view"));
  const values = new Set(view);
  expect(values.has(0)).toBe(true); // no ink
  expect(values.has(1)).toBe(true);
});

test("the same generator gives the same view, another one another", () => {
  const image = picture(4, 4, 1);
  const settings = augmentSettings.parse({});
  const view = (seed: number) => augment(image, settings, seededRng(seed, "view"));
  expect(view(1)).toEqual(view(1));
  expect(view(1)).not.toEqual(view(2));
});

test("units are hidden at the rate asked for, never all of them, and listed in order", () => {
  const rng = seededRng(1, "hide");
  let visible = 0;
  for (let i = 0; i < 500; i++) {
    const kept = drawVisible(16, 0.25, rng);
    expect([...kept]).toEqual([...new Set(kept)].sort((a, b) => a - b));
    visible += kept.length;
  }
  expect(visible / (500 * 16)).toBeCloseTo(0.75, 1);
  for (let i = 0; i < 50; i++) expect(drawVisible(2, 0.9, rng).length).toBeGreaterThan(0);
});
