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
    patches: warp(image, matrix, { gains, lift }),
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

interface Tint {
  readonly gains: readonly [number, number, number];
  readonly lift: number;
}

/** Bilinear resampling straight into patch order. The hot loop of the input side: 60 µs for 64×64 pixels. */
function warp(image: Image, matrix: Matrix, tint: Tint): Uint8Array {
  const { width, height, pixels } = image;
  const columns = width / SIDE;
  const patches = new Uint8ClampedArray(width * height * 3);
  const [gainR, gainG, gainB] = tint.gains;
  const { lift } = tint;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sourceX = matrix.xx * x + matrix.xy * y + matrix.x1;
      const sourceY = matrix.yx * x + matrix.yy * y + matrix.y1;
      const left = Math.floor(sourceX);
      const top = Math.floor(sourceY);
      const fx = sourceX - left;
      const fy = sourceY - top;
      let r = 0;
      let g = 0;
      let b = 0;
      for (let corner = 0; corner < 4; corner++) {
        const px = left + (corner & 1);
        const py = top + (corner >> 1);
        const weight = ((corner & 1) === 1 ? fx : 1 - fx) * (corner >> 1 === 1 ? fy : 1 - fy);
        if (px >= 0 && px < width && py >= 0 && py < height) {
          const at = (py * width + px) * 3;
          r += weight * (pixels[at] ?? 0);
          g += weight * (pixels[at + 1] ?? 0);
          b += weight * (pixels[at + 2] ?? 0);
        } else {
          r += weight * 255;
          g += weight * 255;
          b += weight * 255;
        }
      }
      const to = ((y >> 4) * columns + (x >> 4)) * PATCH_BYTES + ((y & 15) * SIDE + (x & 15)) * 3;
      patches[to] = r * gainR + lift;
      patches[to + 1] = g * gainG + lift;
      patches[to + 2] = b * gainB + lift;
    }
  }
  return new Uint8Array(patches.buffer);
}
