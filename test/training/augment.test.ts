/** Augmented views of a picture. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PATCH_BYTES, patchify } from "../../tokenizers/image/patches.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { Rng } from "../../tokenizers/random.ts";
import type { Image } from "../../tokenizers/tokenizer.ts";
import {
  augmentSettings,
  drawView,
  drawVisible,
  renderView,
  type AugmentSettings,
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

/** The patches of a random view, all of them. */
function augment(image: Image, settings: AugmentSettings, rng: Rng): Uint8Array {
  const patches = new Uint8Array(image.pixels.length);
  const positions = new Uint32Array(patches.length / PATCH_BYTES).keys();
  renderView(image, drawView(image, settings, rng), positions, patches);
  return patches;
}

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
      expect(view).toEqual(patchify(image).patches);
    }),
    { numRuns: 20 },
  );
});

test("a mirror image of a mirror image is the picture", () => {
  const image = picture(2, 3, 4);
  const settings = { ...STILL, mirror: 1 };
  const once = augment(image, settings, seededRng(1, "view"));
  expect(once).not.toEqual(patchify(image).patches);
  const mirrored = { ...image, pixels: new Uint8Array(image.pixels.length) };
  const { width, height } = image;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++)
        mirrored.pixels[(y * width + x) * 3 + c] =
          image.pixels[(y * width + (width - 1 - x)) * 3 + c] ?? 0;
  expect(once).toEqual(patchify(mirrored).patches);
});

test("what moves in from outside is white", () => {
  const black: Image = { width: 32, height: 32, pixels: new Uint8Array(32 * 32 * 3) };
  const view = augment(black, { ...STILL, shift: 1 }, seededRng(2, "view"));
  const values = new Set(view);
  expect(values.has(255)).toBe(true);
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
