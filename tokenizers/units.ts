/**
 * How many units a decoded input has, and on what grid: pure integer functions of its size, so that every
 * encoder derives the same masks although decoders may differ in the last bit of a pixel.
 * Source: protocol part 2. Pure: no clock, disk or library. Fewer than UNITS_MIN units is not refused here:
 * data sets may use smaller pictures; `assertUnits` is the network's rule.
 */
import { assert, SomaError } from "../base/errors.ts";
import { MODALITIES, UNITS_MIN, type Modality } from "./modality.ts";
import type { Grid } from "./tokenizer.ts";

/** Side of a patch in pixels (and in spectrogram bins and frames). */
export const PATCH_SIDE = 16;
/** Patches of a still picture at most. */
export const IMAGE_PATCHES_MAX = 196;
/** Patches of one video frame at most. */
export const VIDEO_PATCHES_MAX = 64;
/** Frames of a clip at most; longer ones are sampled evenly. */
export const VIDEO_FRAMES_MAX = 16;
/** Frames that one tubelet spans. */
export const TUBELET_FRAMES = 2;

const AUDIO_RATE = 16_000; // samples a second after resampling
const AUDIO_SAMPLES_MAX = 10 * AUDIO_RATE;
const AUDIO_HOP = 160; // samples: 10 ms
const AUDIO_BIN_ROWS = 128 / PATCH_SIDE; // patches of one spectrogram column

/** A stored size beyond this is refused long before; it keeps K·W below 2^53 for every K ≤ 2^20. */
const SIZE_MAX = 2 ** 32;

/** floor(sqrt(n)), exact for every integer 0 ≤ n < 2^53: bit by bit, since the standard leaves Math.sqrt approximate. */
export function integerSqrt(n: number): number {
  assert(Number.isSafeInteger(n) && n >= 0, `no integer square root of ${n}`);
  let root = 0;
  for (let bit = 2 ** 26; bit >= 1; bit /= 2) {
    const candidate = root + bit; // below 2^27; a square above 2^53 may be rounded, but never down to n
    if (candidate * candidate <= n) root = candidate;
  }
  return root;
}

/**
 * The patch grid of a picture W × H: the nearest whole number of patches, or, above the cap K, the largest
 * grid of about the same shape. The picture is scaled to 16 columns × 16 rows pixels.
 * @param width, height  stored size in pixels, ≥ 1 (EXIF rotation ignored)
 * @param patchesMax     cap K ≥ 1: 196 for stills, 64 for a video frame
 */
export function imageGrid(width: number, height: number, patchesMax = IMAGE_PATCHES_MAX): Grid {
  assertSize(width, "width");
  assertSize(height, "height");
  assert(Number.isInteger(patchesMax), "the cap is an integer");
  assert(patchesMax >= 1 && patchesMax <= 2 ** 20, `cap ${patchesMax} is outside 1 … 2^20`);
  const columns = Math.max(1, Math.floor((width + PATCH_SIDE / 2) / PATCH_SIDE));
  const rows = Math.max(1, Math.floor((height + PATCH_SIDE / 2) / PATCH_SIDE));
  if (columns * rows <= patchesMax) return { columns, rows, times: 1 };
  const capped = (along: number, across: number): number =>
    clamp(integerSqrt(Math.floor((patchesMax * along) / across)), 1, patchesMax);
  return { columns: capped(width, height), rows: capped(height, width), times: 1 };
}

/** The positions of the decoded frames that a clip keeps, ascending, an even number of them. @param frameCount ≥ 1 */
export function videoFrames(frameCount: number): readonly number[] {
  assertSize(frameCount, "frame count");
  const kept =
    frameCount <= VIDEO_FRAMES_MAX
      ? Array.from({ length: frameCount }, (_, i) => i)
      : Array.from({ length: VIDEO_FRAMES_MAX }, (_, i) =>
          Math.floor((i * frameCount) / VIDEO_FRAMES_MAX),
        );
  // A tubelet needs two frames: an odd clip shows its last one again.
  if (kept.length % TUBELET_FRAMES === 1) kept.push(kept.at(-1) ?? 0);
  return kept;
}

/** The tubelet grid of a clip of `frameCount` decoded frames of W × H. */
export function videoGrid(frameCount: number, width: number, height: number): Grid {
  const { columns, rows } = imageGrid(width, height, VIDEO_PATCHES_MAX);
  return { columns, rows, times: videoFrames(frameCount).length / TUBELET_FRAMES };
}

/**
 * Units of a recording: columns of 16 spectrogram frames × 8 bin rows; the rest is dropped.
 * @param sampleCount samples of one channel  @param rate samples a second, as stored
 */
export function audioUnits(sampleCount: number, rate: number): number {
  assert(Number.isSafeInteger(sampleCount) && sampleCount >= 0, "a sample count is an integer ≥ 0");
  assertSize(rate, "rate");
  // samples · 16,000 may pass 2^53 for a stranger's header: exact in bigint.
  const resampled = (BigInt(sampleCount) * BigInt(AUDIO_RATE)) / BigInt(rate);
  const samples = resampled > BigInt(AUDIO_SAMPLES_MAX) ? AUDIO_SAMPLES_MAX : Number(resampled);
  const frames = Math.floor(samples / AUDIO_HOP);
  return AUDIO_BIN_ROWS * Math.floor(frames / PATCH_SIDE);
}

/**
 * The network's rule for what may be masked. Data sets for training may use smaller pictures.
 * @throws SomaError TOO_FEW_UNITS (refused) or TOO_MANY_UNITS (refused)
 */
export function assertUnits(modality: Modality, units: number): void {
  if (units < UNITS_MIN) {
    throw new SomaError({
      code: "TOO_FEW_UNITS",
      kind: "refused",
      what: `this ${modality} has ${units} units, the network needs at least ${UNITS_MIN}`,
      next: `give a ${modality === "image" ? "larger" : "longer"} ${modality}`,
    });
  }
  const { unitsMax } = MODALITIES[modality];
  if (units > unitsMax) {
    throw new SomaError({
      code: "TOO_MANY_UNITS",
      kind: "refused",
      what: `this ${modality} has ${units} units, the network takes at most ${unitsMax}`,
      next: `cut the ${modality} to the bound`,
    });
  }
}

function assertSize(value: number, name: string): void {
  assert(
    Number.isInteger(value) && value >= 1 && value <= SIZE_MAX,
    `${name} ${value} is outside 1 … 2^32`,
  );
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
