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

/** What `renderView` works in, overwritten each time: made once and used again. */
export interface ViewScratch {
  /** The picture inside a border of white, a pixel a number. Int32Array [(width + 2) × (height + 2)] or longer */
  readonly words: Int32Array;
  /** How dark each value becomes, of red, green and blue. Float32Array [3 × 256] */
  readonly inks: Float32Array;
}

/** Scratch for pictures of that size or less. */
export function viewScratch({ width, height }: Pick<Image, "width" | "height">): ViewScratch {
  return {
    words: new Int32Array((width + 2) * (height + 2)),
    inks: new Float32Array(3 * 256),
  };
}

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
  { words, inks }: ViewScratch,
): void {
  const { width, height } = image;
  const { matrix, gains, lift } = view;
  layOut(image, words);
  gains.forEach((gain, channel) => {
    fillInks(inks.subarray(channel * 256, (channel + 1) * 256), gain, lift);
  });
  const columns = width / PATCH_SIDE;
  const rowLength = width + 2;
  // Places in the picture with its border, which moves everything by one pixel. "| 0" keeps the engine from carrying
  // integers as floats.
  const stepX = Math.round(matrix.xx * PLACE_ONE) | 0;
  const stepY = Math.round(matrix.yx * PLACE_ONE) | 0;
  const endX = (width + 1) * PLACE_ONE;
  const endY = (height + 1) * PLACE_ONE;
  for (const position of positions) {
    const x0 = (position % columns) * PATCH_SIDE;
    const y0 = Math.floor(position / columns) * PATCH_SIDE;
    for (let row = 0; row < PATCH_SIDE; row++) {
      const y = y0 + row;
      let placeX =
        (Math.round((matrix.xy * y + matrix.x1) * PLACE_ONE) + x0 * stepX + PLACE_ONE) | 0;
      let placeY =
        (Math.round((matrix.yy * y + matrix.y1) * PLACE_ONE) + x0 * stepY + PLACE_ONE) | 0;
      for (let run = 0; run < RUNS; run++) {
        let to = position * PATCH_BYTES + (RUN_PLACES[row * RUNS + run] ?? 0);
        for (let i = 0; i < CELL; i++) {
          let r = WHITE;
          let g = WHITE;
          let b = WHITE;
          if (placeX >= 0 && placeX < endX && placeY >= 0 && placeY < endY) {
            const fx = (placeX >> 8) & 255;
            const fy = (placeY >> 8) & 255;
            const at = (placeY >> 16) * rowLength + (placeX >> 16);
            const under = at + rowLength;
            const nw = words[at] ?? 0;
            const ne = words[at + 1] ?? 0;
            const sw = words[under] ?? 0;
            const se = words[under + 1] ?? 0;
            const upper = mixAcross(nw & RED_BLUE, ne & RED_BLUE, fx);
            const lower = mixAcross(sw & RED_BLUE, se & RED_BLUE, fx);
            r = mixDown(upper & 0xffff, lower & 0xffff, fy);
            b = mixDown(upper >>> 16, lower >>> 16, fy);
            const upperG = mixAcross((nw >> 8) & 255, (ne >> 8) & 255, fx);
            const lowerG = mixAcross((sw >> 8) & 255, (se >> 8) & 255, fx);
            g = mixDown(upperG, lowerG, fy);
          }
          ink[to] = inks[r] ?? 0;
          ink[to + 1] = inks[256 + g] ?? 0;
          ink[to + 2] = inks[512 + b] ?? 0;
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
const WHITE = 255;
/** Red and blue of a pixel in one number, with room above each for 256 times as much: both are mixed at once. */
const RED_BLUE = 0xff00ff;

/** A pixel a number, red lowest, inside a border of white one pixel wide: then four neighbours are always there. */
function layOut({ width, height, pixels }: Image, words: Int32Array): void {
  const rowLength = width + 2;
  words.fill(0xffffff, 0, rowLength);
  words.fill(0xffffff, (height + 1) * rowLength, (height + 2) * rowLength);
  let from = 0;
  for (let y = 1; y <= height; y++) {
    let to = y * rowLength;
    words[to++] = 0xffffff;
    for (let x = 0; x < width; x++) {
      words[to++] =
        (pixels[from] ?? 0) | ((pixels[from + 1] ?? 0) << 8) | ((pixels[from + 2] ?? 0) << 16);
      from += 3;
    }
    words[to] = 0xffffff;
  }
}

/** (256 − part) · a + part · b: of one channel, or of red and blue in one number (modulo 2³², which is no loss). */
function mixAcross(a: number, b: number, part: number): number {
  return ((a << 8) + Math.imul(b - a, part)) | 0;
}

/** The same of two such sums, rounded: 0 … 255. */
function mixDown(upper: number, lower: number, part: number): number {
  return ((upper << 8) + Math.imul(lower - upper, part) + HALF) >> 16;
}

/** How dark each value of a channel becomes under a tint. */
function fillInks(inks: Float32Array, gain: number, lift: number): void {
  for (let value = 0; value < 256; value++) {
    const tinted = Math.min(255, Math.max(0, Math.round(value * gain + lift)));
    inks[value] = DARKNESS[tinted] ?? 0;
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
