/**
 * Patches as the stem of pictures reads them: darkness, in the order of the stem's layers. No tensors here, so that a
 * thread which makes batches (training/input/) can make this too, and loads in a moment.
 */
import { assert } from "../../base/errors.ts";

const SIDE = 16; // of a patch, in pixels
/** Side of the first convolution, in pixels. */
export const CELL = 4;
/** Side of the second, in pixels. */
const QUAD = 8;
/** Numbers in a cell: 4×4 pixels, RGB. */
export const CELL_NUMBERS = CELL * CELL * 3;
/** Bytes of a patch, and numbers in what the stem reads of one. */
export const PATCH_BYTES = SIDE * SIDE * 3;

/**
 * Where in a patch's bytes each number of its ink comes from. Cells stand in the order that the second layer reads
 * them, quad by quad, so that no tensor is ever transposed.
 */
const SOURCE = Uint16Array.from({ length: PATCH_BYTES }, (_, at) => {
  const cell = Math.floor(at / CELL_NUMBERS);
  const quad = Math.floor(cell / 4);
  const pixel = Math.floor((at % CELL_NUMBERS) / 3);
  const x = (quad % 2) * QUAD + (cell % 2) * CELL + (pixel % CELL);
  const y =
    Math.floor(quad / 2) * QUAD + (Math.floor(cell / 2) % 2) * CELL + Math.floor(pixel / CELL);
  return (y * SIDE + x) * 3 + (at % 3);
});

/**
 * Where in a patch's ink the runs of four neighbouring pixels begin, that is the rows of its cells, in the order of its
 * bytes: run r holds the bytes 12·r … 12·r + 11. Uint16Array [64]
 */
export const RUN_PLACES = Uint16Array.from({ length: PATCH_BYTES / (CELL * 3) }, (_, run) =>
  SOURCE.indexOf(run * CELL * 3),
);

/** How dark a byte is: white, the ground that alpha is laid over, is 0 and black is 1. Float32Array [256] */
export const DARKNESS = Float32Array.from({ length: 256 }, (_, byte) => 1 - byte / 255);

/** @param bytes  Uint8Array [patches × 768]  @returns Float32Array of the same length */
export function inkOf(bytes: Uint8Array): Float32Array {
  assert(bytes.length % PATCH_BYTES === 0, `${bytes.length} bytes are not whole patches`);
  const ink = new Float32Array(bytes.length);
  for (let patch = 0; patch < bytes.length; patch += PATCH_BYTES)
    for (let i = 0; i < PATCH_BYTES; i++)
      ink[patch + i] = DARKNESS[bytes[patch + (SOURCE[i] ?? 0)] ?? 0] ?? 0;
  return ink;
}
