/**
 * A picture moved, turned, stretched and tinted a little, and cut into patches, in one pass: the second view
 * that contrastive training compares the first with. What moves in is white, the ground that alpha is laid over.
 */
import { z } from "../base/schema.ts";
import { CELL, DARKNESS, PATCH_BYTES, RUN_PLACES } from "../models/stems/ink.ts";
import type { Image } from "../tokenizers/tokenizer.ts";
import type { Rng } from "../tokenizers/random.ts";
import { PATCH_SIDE } from "../tokenizers/units.ts";

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

/** Fractions of a pixel are counted in 1/256, places in 1/65536: integers, equal on every machine, and fast. */
const PLACE_ONE = 1 << 16;
const HALF = PLACE_ONE / 2;

/**
 * Draw the view of `image` [16·rows × 16·columns] as ink (models/stems/ink.ts), by bilinear resampling. The hot loop of
 * the input side.
 * @param positions  of the patches to draw  @param ink [units × 768], all but those patches left as they are
 */
export function renderView(
  image: Image,
  view: View,
  positions: Iterable<number>,
  ink: Float32Array,
): void {
  const { width, height, pixels } = image;
  const { matrix, gains, lift } = view;
  const inkR = inkTable(gains[0], lift);
  const inkG = inkTable(gains[1], lift);
  const inkB = inkTable(gains[2], lift);
  const columns = width / PATCH_SIDE;
  const rowBytes = width * 3;
  // "| 0" keeps the engine from carrying these as floats.
  const stepX = Math.round(matrix.xx * PLACE_ONE) | 0;
  const stepY = Math.round(matrix.yx * PLACE_ONE) | 0;
  // From here on a place has no pixel to its right, or none below.
  const endX = (width - 1) * PLACE_ONE;
  const endY = (height - 1) * PLACE_ONE;
  for (const position of positions) {
    const x0 = (position % columns) * PATCH_SIDE;
    const y0 = Math.floor(position / columns) * PATCH_SIDE;
    for (let row = 0; row < PATCH_SIDE; row++) {
      const y = y0 + row;
      let placeX = (Math.round((matrix.xy * y + matrix.x1) * PLACE_ONE) + x0 * stepX) | 0;
      let placeY = (Math.round((matrix.yy * y + matrix.y1) * PLACE_ONE) + x0 * stepY) | 0;
      for (let run = 0; run < RUNS; run++) {
        let to = position * PATCH_BYTES + (RUN_PLACES[row * RUNS + run] ?? 0);
        const lastX = placeX + (CELL - 1) * stepX;
        const lastY = placeY + (CELL - 1) * stepY;
        // On a straight line, what lies between two inner places is inside too.
        const isInside =
          placeX >= 0 &&
          placeX < endX &&
          placeY >= 0 &&
          placeY < endY &&
          lastX >= 0 &&
          lastX < endX &&
          lastY >= 0 &&
          lastY < endY;
        for (let i = 0; i < CELL; i++) {
          const left = placeX >> 16;
          const top = placeY >> 16;
          const fx = (placeX >> 8) & 255;
          const fy = (placeY >> 8) & 255;
          if (isInside) {
            const at = top * rowBytes + left * 3;
            const under = at + rowBytes;
            /* prettier-ignore */
            {
              ink[to] = inkR[mix(pixels[at] ?? 0, pixels[at + 3] ?? 0, pixels[under] ?? 0, pixels[under + 3] ?? 0, fx, fy)] ?? 0;
              ink[to + 1] = inkG[mix(pixels[at + 1] ?? 0, pixels[at + 4] ?? 0, pixels[under + 1] ?? 0, pixels[under + 4] ?? 0, fx, fy)] ?? 0;
              ink[to + 2] = inkB[mix(pixels[at + 2] ?? 0, pixels[at + 5] ?? 0, pixels[under + 2] ?? 0, pixels[under + 5] ?? 0, fx, fy)] ?? 0;
            }
          } else {
            ink[to] = inkR[mixAtBorder(image, left, top, 0, fx, fy)] ?? 0;
            ink[to + 1] = inkG[mixAtBorder(image, left, top, 1, fx, fy)] ?? 0;
            ink[to + 2] = inkB[mixAtBorder(image, left, top, 2, fx, fy)] ?? 0;
          }
          to += 3;
          placeX = (placeX + stepX) | 0;
          placeY = (placeY + stepY) | 0;
        }
      }
    }
  }
}

/** Runs of `CELL` pixels in a row of a patch. */
const RUNS = PATCH_SIDE / CELL;

/** How dark each value of a channel becomes. Float32Array [256] */
function inkTable(gain: number, lift: number): Float32Array {
  const tinted = new Uint8ClampedArray(256);
  const ink = new Float32Array(256);
  for (let value = 0; value < 256; value++) {
    tinted[value] = value * gain + lift;
    ink[value] = DARKNESS[tinted[value] ?? 0] ?? 0;
  }
  return ink;
}

/**
 * Four neighbouring values (left and right, of the upper and of the lower line) weighed by nearness: 0 … 255.
 * @param fx, fy how far right and down, of 256
 */
function mix(a: number, b: number, c: number, d: number, fx: number, fy: number): number {
  const upper = (a << 8) + Math.imul(b - a, fx);
  const lower = (c << 8) + Math.imul(d - c, fx);
  return ((upper << 8) + Math.imul(lower - upper, fy) + HALF) >> 16;
}

/** `mix` where some of the four may lie outside, on white. */
function mixAtBorder(
  image: Image,
  left: number,
  top: number,
  channel: number,
  fx: number,
  fy: number,
): number {
  const { width, height, pixels } = image;
  if (left < -1 || top < -1 || left >= width || top >= height) return 255;
  const at = (top * width + left) * 3 + channel;
  const under = at + width * 3;
  const [hasLeft, hasRight] = [left >= 0, left < width - 1];
  const [hasTop, hasBottom] = [top >= 0, top < height - 1];
  return mix(
    hasTop && hasLeft ? (pixels[at] ?? 0) : 255,
    hasTop && hasRight ? (pixels[at + 3] ?? 0) : 255,
    hasBottom && hasLeft ? (pixels[under] ?? 0) : 255,
    hasBottom && hasRight ? (pixels[under + 3] ?? 0) : 255,
    fx,
    fy,
  );
}

/** Positions that stay visible when each unit is hidden with probability `hide`; never none. Reads a word a unit. */
export function drawVisible(units: number, hide: number, rng: Rng): Uint32Array {
  const kept = new Uint32Array(units);
  let count = 0;
  for (let n = 0; n < units; n++) if (rng.unit() >= hide) kept[count++] = n;
  if (count === 0) return Uint32Array.of(rng.uniform(units));
  return kept.slice(0, count);
}
