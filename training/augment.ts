/**
 * A picture moved, turned, stretched and tinted a little, and cut into patches, in one pass: the second view
 * that contrastive training compares the first with. What moves in is white, the ground that alpha is laid over.
 */
import { z } from "../base/schema.ts";
import type { Image } from "../tokenizers/tokenizer.ts";
import type { Rng } from "../tokenizers/random.ts";
import { PATCH_SIDE } from "../tokenizers/units.ts";

/** Of a 16×16 RGB patch, as tokenizers/image/patches.ts cuts it. That file reaches the decoder, which is slow to load. */
export const PATCH_BYTES = PATCH_SIDE * PATCH_SIDE * 3;

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

/** A random change of a picture, drawn before any pixel is touched. */
export interface View {
  readonly matrix: Matrix;
  /** Of red, green and blue. */
  readonly gains: readonly [number, number, number];
  /** Added to every channel, in levels of 0 … 255. */
  readonly lift: number;
}

/** Where the pixel (x, y) of a view comes from: source = matrix · (x, y, 1). */
interface Matrix {
  readonly xx: number;
  readonly xy: number;
  readonly x1: number;
  readonly yx: number;
  readonly yy: number;
  readonly y1: number;
}

/** Draw a view of a picture of that size. Reads 10 words of `rng`. */
export function drawView(
  { width, height }: Pick<Image, "width" | "height">,
  settings: AugmentSettings,
  rng: Rng,
): View {
  const draw = (bound: number): number => (rng.unit() * 2 - 1) * bound;
  const angle = draw(settings.rotation);
  const zoom = Math.exp(draw(settings.zoom));
  const stretch = Math.exp(draw(settings.stretch));
  const shiftX = draw(settings.shift) * width;
  const shiftY = draw(settings.shift) * height;
  const mirror = rng.unit() < settings.mirror ? -1 : 1;
  const gains = [
    1 + draw(settings.tint),
    1 + draw(settings.tint),
    1 + draw(settings.tint),
  ] as const;
  const lift = draw(settings.brightness) * 255;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const xx = cos * zoom * stretch * mirror;
  const xy = -sin * zoom;
  const yx = sin * zoom * stretch * mirror;
  const yy = cos * zoom;
  const centreX = (width - 1) / 2;
  const centreY = (height - 1) / 2;
  const matrix = {
    xx,
    xy,
    x1: centreX + shiftX - xx * centreX - xy * centreY,
    yx,
    yy,
    y1: centreY + shiftY - yx * centreX - yy * centreY,
  };
  return { matrix, gains, lift };
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

/**
 * Draw the view of `image` [16·rows × 16·columns] straight into patch order, by bilinear resampling. The hot loop of
 * the input side.
 * @param positions  of the patches to draw  @param patches [units × 768], all but those left as they are
 */
export function renderView(
  image: Image,
  view: View,
  positions: Iterable<number>,
  patches: Uint8Array,
): void {
  const { width, height, pixels } = image;
  const { matrix, gains, lift } = view;
  const tintR = tintTable(gains[0], lift);
  const tintG = tintTable(gains[1], lift);
  const tintB = tintTable(gains[2], lift);
  const columns = width / PATCH_SIDE;
  const stepX = Math.round(matrix.xx * PLACE_ONE);
  const stepY = Math.round(matrix.yx * PLACE_ONE);
  for (const position of positions) {
    const x0 = (position % columns) * PATCH_SIDE;
    const y0 = Math.floor(position / columns) * PATCH_SIDE;
    let to = position * PATCH_BYTES;
    for (let y = y0; y < y0 + PATCH_SIDE; y++) {
      let placeX = Math.round((matrix.xy * y + matrix.x1) * PLACE_ONE) + x0 * stepX;
      let placeY = Math.round((matrix.yy * y + matrix.y1) * PLACE_ONE) + x0 * stepY;
      for (let i = 0; i < PATCH_SIDE; i++) {
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
        patches[to++] = tintR[r >> 16] ?? 0;
        patches[to++] = tintG[g >> 16] ?? 0;
        patches[to++] = tintB[b >> 16] ?? 0;
        placeX += stepX;
        placeY += stepY;
      }
    }
  }
}

/** Positions that stay visible when each unit is hidden with probability `hide`; never none. Reads a word a unit. */
export function drawVisible(units: number, hide: number, rng: Rng): Uint32Array {
  const kept = new Uint32Array(units);
  let count = 0;
  for (let n = 0; n < units; n++) if (rng.unit() >= hide) kept[count++] = n;
  if (count === 0) return Uint32Array.of(rng.uniform(units));
  return kept.slice(0, count);
}
