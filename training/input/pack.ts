/**
 * Drawn rows as token batches: here pixels are moved, tinted and cut into patches, straight into the batch, as the stem
 * reads them (models/stems/ink.ts).
 */
import { assert } from "../../base/errors.ts";
import type { IdBatch, PatchBatch, TokenBatch } from "../../models/batch.ts";
import type { Grid, Image } from "../../tokenizers/tokenizer.ts";
import { PATCH_SIDE } from "../../tokenizers/units.ts";
import { CELL, DARKNESS, PATCH_BYTES, RUN_PLACES } from "../../models/stems/ink.ts";
import { renderView, viewScratch } from "../augment.ts";
import type { PictureRow, Row, Rows, TextRow } from "../sampler.ts";
import type { BatchMemory } from "./memory.ts";

/**
 * A batch of rows of one kind, as `packTokens` (models/batch.ts) makes it: padded to the longest row, hidden and missing
 * units zero. @param memory  owns the arrays
 */
export function packRows(rows: Rows, memory: BatchMemory): TokenBatch {
  assert(rows.length > 0, "a batch has at least one row");
  return rows[0]?.kind === "text"
    ? packTexts(rows.map(asText), memory)
    : packPictures(rows.map(asPicture), memory);
}

/** The batch of no rows that a process has which has no part in `rows`: of their kind. */
export function packNoneOf(rows: Rows): TokenBatch {
  const none = {
    size: 0,
    units: 1,
    visible: new Float32Array(0),
    lengths: new Float32Array(0),
  } as const;
  return rows[0]?.kind === "text"
    ? { ...none, kind: "ids", ids: new Int32Array(0) }
    : {
        ...none,
        kind: "patches",
        patches: new Uint8Array(0),
        patchBytes: PATCH_BYTES,
        grids: [],
      };
}

function packTexts(rows: readonly TextRow[], memory: BatchMemory): IdBatch {
  const size = rows.length;
  const units = Math.max(1, ...rows.map(({ ids }) => ids.length));
  const ids = memory.ints(size * units).fill(0);
  const visible = memory.floats(size * units).fill(0);
  const lengths = memory.floats(size);
  rows.forEach((row, b) => {
    lengths[b] = row.ids.length;
    for (const n of row.visible ?? row.ids.keys()) {
      ids[b * units + n] = row.ids[n] ?? 0;
      visible[b * units + n] = 1;
    }
  });
  return { kind: "ids", size, units, ids, visible, lengths };
}

function packPictures(rows: readonly PictureRow[], memory: BatchMemory): PatchBatch {
  const size = rows.length;
  const grids = rows.map(({ image }) => gridOf(image));
  const units = Math.max(...grids.map(unitsOf));
  const patches = memory.floats(size * units * PATCH_BYTES);
  const visible = memory.floats(size * units).fill(0);
  const lengths = memory.floats(size);
  const sides = { width: 0, height: 0 };
  for (const { image } of rows) {
    sides.width = Math.max(sides.width, image.width);
    sides.height = Math.max(sides.height, image.height);
  }
  const scratch = viewScratch(sides);
  rows.forEach(({ image, view, visible: seen }, b) => {
    const count = unitsOf(gridOf(image));
    lengths[b] = count;
    const positions = seen ?? Uint32Array.from({ length: count }, (_, n) => n);
    for (const n of positions) visible[b * units + n] = 1;
    for (let n = b * units; n < (b + 1) * units; n++)
      if (visible[n] === 0) patches.fill(0, n * PATCH_BYTES, (n + 1) * PATCH_BYTES);
    const start = b * units * PATCH_BYTES;
    const ink = patches.subarray(start, start + count * PATCH_BYTES);
    if (view === undefined) cutPatches(image, positions, ink);
    else renderView(image, view, positions, ink, scratch);
  });
  return {
    kind: "patches",
    size,
    units,
    patches,
    patchBytes: PATCH_BYTES,
    grids,
    visible,
    lengths,
  };
}

/** The patches at `positions` as they are. @param ink [units × 768] */
function cutPatches(image: Image, positions: Iterable<number>, ink: Float32Array): void {
  const { width, pixels } = image;
  const columns = width / PATCH_SIDE;
  const runs = PATCH_SIDE / CELL; // runs of pixels in a row of a patch
  for (const position of positions) {
    const left = (position % columns) * PATCH_SIDE;
    const top = Math.floor(position / columns) * PATCH_SIDE;
    RUN_PLACES.forEach((place, run) => {
      const y = top + Math.floor(run / runs);
      const from = (y * width + left + (run % runs) * CELL) * 3;
      const to = position * PATCH_BYTES + place;
      for (let i = 0; i < CELL * 3; i++) ink[to + i] = DARKNESS[pixels[from + i] ?? 0] ?? 0;
    });
  }
}

function gridOf({ width, height, pixels }: Image): Grid {
  assert(width % PATCH_SIDE === 0, `width ${width} is not a multiple of ${PATCH_SIDE}`);
  assert(height % PATCH_SIDE === 0, `height ${height} is not a multiple of ${PATCH_SIDE}`);
  assert(pixels.length === width * height * 3, "pixels fill the picture");
  return { columns: width / PATCH_SIDE, rows: height / PATCH_SIDE, times: 1 };
}

function unitsOf({ columns, rows }: Grid): number {
  return columns * rows;
}

function asText(row: Row): TextRow {
  assert(row.kind === "text", "a batch holds rows of one kind");
  return row;
}

function asPicture(row: Row): PictureRow {
  assert(row.kind === "picture", "a batch holds rows of one kind");
  return row;
}
