/**
 * A picture moved, turned, stretched and tinted a little, and cut into patches, in one pass: the second view
 * that contrastive training compares the first with. What moves in is white, the ground that alpha is laid over.
 */
import { z } from "../base/schema.ts";
import type { Image, PatchTokens } from "../tokenizers/tokenizer.ts";
import type { Rng } from "../tokenizers/random.ts";

const share = z.number().min(0).max(1);

/** Largest change of each sort; every change is drawn uniformly between minus and plus that. */
export const augmentSettings = z.strictObject({
  /** Radians. */
  rotation: z.number().min(0).max(Math.PI).default(0.2),
  /** Logarithm of the zoom. */
  zoom: share.default(0.15),
  /** Logarithm of width over height. */
  stretch: share.default(0.1),
  /** Share of the picture's side. */
  shift: share.default(0.06),
  /** Probability of a mirror image. */
  mirror: share.default(0),
  /** Gain of each colour channel, around 1. */
  tint: share.default(0.15),
  /** Added to all channels, as a share of white. */
  brightness: share.default(0.05),
  /** Probability that a patch is hidden: the rest must say the same. */
  hide: z.number().min(0).max(0.9).default(0),
});

export type AugmentSettings = z.output<typeof augmentSettings>;

const SIDE = 16;
const PATCH_BYTES = SIDE * SIDE * 3;

/** One random view of `image` [16·rows × 16·columns], as the patches of its grid. Reads 10 words of `rng`. */
export function augment(image: Image, settings: AugmentSettings, rng: Rng): PatchTokens {
  const draw = (bound: number): number => (rng.unit() * 2 - 1) * bound;
  const angle = draw(settings.rotation);
  const zoom = Math.exp(draw(settings.zoom));
  const stretch = Math.exp(draw(settings.stretch));
  const shiftX = draw(settings.shift) * image.width;
  const shiftY = draw(settings.shift) * image.height;
  const mirror = rng.unit() < settings.mirror ? -1 : 1;
  const gains = [
    1 + draw(settings.tint),
    1 + draw(settings.tint),
    1 + draw(settings.tint),
  ] as const;
  const lift = draw(settings.brightness) * 255;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  // Where the pixel (x, y) of the view comes from: source = matrix · (x, y, 1).
  const xx = cos * zoom * stretch * mirror;
  const xy = -sin * zoom;
  const yx = sin * zoom * stretch * mirror;
  const yy = cos * zoom;
  const centreX = (image.width - 1) / 2;
  const centreY = (image.height - 1) / 2;
  const matrix = {
    xx,
    xy,
    x1: centreX + shiftX - xx * centreX - xy * centreY,
    yx,
    yy,
    y1: centreY + shiftY - yx * centreX - yy * centreY,
  };
  return {
    kind: "patches",
    modality: "image",
    patches: warp(
      image,
      matrix,
      gains.map((gain) => tintTable(gain, lift)),
    ),
    patchBytes: PATCH_BYTES,
    grid: { columns: image.width / SIDE, rows: image.height / SIDE, times: 1 },
  };
}

interface Matrix {
  readonly xx: number;
  readonly xy: number;
  readonly x1: number;
  readonly yx: number;
  readonly yy: number;
  readonly y1: number;
}

/** What each value of a channel becomes. Uint8Array [256] */
function tintTable(gain: number, lift: number): Uint8Array {
  const table = new Uint8ClampedArray(256);
  for (let value = 0; value < 256; value++) table[value] = value * gain + lift;
  return new Uint8Array(table.buffer);
}

/** Fractions of a pixel are counted in 1/256, places in 1/65536: integers, equal on every machine, and fast. */
const PLACE_ONE = 1 << 16;
const HALF = PLACE_ONE / 2;

/** Bilinear resampling straight into patch order. The hot loop of the input side: 50 µs for 64×64 pixels. */
function warp(image: Image, matrix: Matrix, tints: readonly Uint8Array[]): Uint8Array {
  const { width, height, pixels } = image;
  const [tintR, tintG, tintB] = tints as [Uint8Array, Uint8Array, Uint8Array];
  const columns = width / SIDE;
  const patches = new Uint8Array(width * height * 3);
  const stepX = Math.round(matrix.xx * PLACE_ONE);
  const stepY = Math.round(matrix.yx * PLACE_ONE);
  for (let y = 0; y < height; y++) {
    let placeX = Math.round((matrix.xy * y + matrix.x1) * PLACE_ONE);
    let placeY = Math.round((matrix.yy * y + matrix.y1) * PLACE_ONE);
    const line = (y >> 4) * columns * PATCH_BYTES + (y & 15) * SIDE * 3;
    for (let x = 0; x < width; x++) {
      const left = placeX >> 16;
      const top = placeY >> 16;
      const fx = (placeX >> 8) & 255;
      const fy = (placeY >> 8) & 255;
      // Weights of the four pixels around, of 65536 in all.
      const w11 = fx * fy;
      const w10 = (fx << 8) - w11;
      const w01 = (fy << 8) - w11;
      const w00 = PLACE_ONE - w11 - w10 - w01;
      let r = PLACE_ONE * 255 + HALF;
      let g = r;
      let b = r;
      if (left >= 0 && top >= 0 && left < width - 1 && top < height - 1) {
        const at = (top * width + left) * 3;
        const under = at + width * 3;
        /* prettier-ignore */
        {
          r = w00 * (pixels[at] ?? 0) + w10 * (pixels[at + 3] ?? 0) + w01 * (pixels[under] ?? 0) + w11 * (pixels[under + 3] ?? 0) + HALF;
          g = w00 * (pixels[at + 1] ?? 0) + w10 * (pixels[at + 4] ?? 0) + w01 * (pixels[under + 1] ?? 0) + w11 * (pixels[under + 4] ?? 0) + HALF;
          b = w00 * (pixels[at + 2] ?? 0) + w10 * (pixels[at + 5] ?? 0) + w01 * (pixels[under + 2] ?? 0) + w11 * (pixels[under + 5] ?? 0) + HALF;
        }
      } else if (left >= -1 && top >= -1 && left < width && top < height) {
        // At the border: white, less what is darker inside.
        for (let corner = 0; corner < 4; corner++) {
          const px = left + (corner & 1);
          const py = top + (corner >> 1);
          if (px < 0 || px >= width || py < 0 || py >= height) continue;
          const weight = [w00, w10, w01, w11][corner] ?? 0;
          const at = (py * width + px) * 3;
          r -= weight * (255 - (pixels[at] ?? 0));
          g -= weight * (255 - (pixels[at + 1] ?? 0));
          b -= weight * (255 - (pixels[at + 2] ?? 0));
        }
      }
      const to = line + (x >> 4) * PATCH_BYTES + (x & 15) * 3;
      patches[to] = tintR[r >> 16] ?? 0;
      patches[to + 1] = tintG[g >> 16] ?? 0;
      patches[to + 2] = tintB[b >> 16] ?? 0;
      placeX += stepX;
      placeY += stepY;
    }
  }
  return patches;
}

/** Positions that stay visible when each unit is hidden with probability `hide`; never none. Reads a word a unit. */
export function drawVisible(units: number, hide: number, rng: Rng): Uint32Array {
  const kept = new Uint32Array(units);
  let count = 0;
  for (let n = 0; n < units; n++) if (rng.unit() >= hide) kept[count++] = n;
  if (count === 0) return Uint32Array.of(rng.uniform(units));
  return kept.slice(0, count);
}
