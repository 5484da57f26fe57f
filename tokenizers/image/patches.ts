/**
 * Pictures as sequences of 16×16 RGB patches, row-major, each flattened row by row with RGB interleaved.
 * Source: seed "Modality-Specific Tokenization and Masking Ratios"; protocol part 2.
 */
import { assert } from "../../base/errors.ts";
import type { Image, PatchTokens, Tokenizer } from "../tokenizer.ts";
import { PATCH_SIDE } from "../units.ts";
import { decodeImage } from "./decode.ts";

const PIXEL_BYTES = 3;
const ROW_BYTES = PATCH_SIDE * PIXEL_BYTES; // one pixel row of one patch
/** Bytes of one patch: 16 × 16 × 3. */
export const PATCH_BYTES = PATCH_SIDE * ROW_BYTES;

/**
 * Cut a picture into patches. Any grid will do; fewer than 8 are refused by `assertUnits`, the network's rule.
 * @param image  both sides multiples of 16 (`decodeImage` sees to it); not kept
 */
export function patchify(image: Image): PatchTokens {
  const { width, height, pixels } = image;
  assert(width % PATCH_SIDE === 0, `width ${width} is not a multiple of ${PATCH_SIDE}`);
  assert(height % PATCH_SIDE === 0, `height ${height} is not a multiple of ${PATCH_SIDE}`);
  assert(pixels.length === width * height * PIXEL_BYTES, "pixels fill the picture");
  const patches = new Uint8Array(pixels.length);
  forEachPatchRow(width, height, (inPatches, inPixels) => {
    patches.set(pixels.subarray(inPixels, inPixels + ROW_BYTES), inPatches);
  });
  return {
    kind: "patches",
    modality: "image",
    patches,
    patchBytes: PATCH_BYTES,
    grid: { columns: width / PATCH_SIDE, rows: height / PATCH_SIDE, times: 1 },
  };
}

/** The picture that `tokens` was cut from: `unpatchify(patchify(image))` equals `image`. Stills only. */
export function unpatchify(tokens: PatchTokens): Image {
  const { patches, grid, patchBytes } = tokens;
  assert(patchBytes === PATCH_BYTES, `a patch has ${PATCH_BYTES} bytes, not ${patchBytes}`);
  assert(grid.times === 1, "a still picture has one frame");
  assert(patches.length === grid.columns * grid.rows * PATCH_BYTES, "patches fill the grid");
  const width = grid.columns * PATCH_SIDE;
  const height = grid.rows * PATCH_SIDE;
  const pixels = new Uint8Array(patches.length);
  forEachPatchRow(width, height, (inPatches, inPixels) => {
    pixels.set(patches.subarray(inPatches, inPatches + ROW_BYTES), inPixels);
  });
  return { width, height, pixels };
}

/** The network's tokenizer of stills: "patches-16" version 1. */
export const imageTokenizer: Tokenizer<Image> = {
  modality: "image",
  decode: (bytes) => decodeImage(bytes),
  tokenize: patchify,
};

/** Visit each 16-pixel row of each patch, with its byte offset among the patches and in the picture. */
function forEachPatchRow(
  width: number,
  height: number,
  visit: (inPatches: number, inPixels: number) => void,
): void {
  let inPatches = 0;
  for (let top = 0; top < height; top += PATCH_SIDE) {
    for (let left = 0; left < width; left += PATCH_SIDE) {
      for (let y = top; y < top + PATCH_SIDE; y++) {
        visit(inPatches, (y * width + left) * PIXEL_BYTES);
        inPatches += ROW_BYTES;
      }
    }
  }
}
