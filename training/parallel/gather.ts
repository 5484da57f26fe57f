/** The embeddings of whole batches, from ranks that each have embedded their rows. */
import { present } from "../../base/errors.ts";
import type { Tensor2D } from "../../models/backend.ts";
import type { Group } from "./group.ts";

/** One batch, on every rank alike. */
export interface GatheredBatch {
  /** Float32Array [total, D], rows in rank order. */
  readonly embeddings: Float32Array;
  readonly total: number;
  /** Where this rank's rows begin. */
  readonly begin: number;
  /** How many rows this rank has. */
  readonly size: number;
}

/**
 * @param sizes  this rank's rows of each batch, 0 for none
 * @param own  its embeddings of those batches that it has rows of, [size, D]; they stay the caller's
 */
export async function gatherBatches(
  sizes: readonly number[],
  own: readonly Tensor2D[],
  group: Group,
): Promise<readonly GatheredBatch[]> {
  // How many rows of each batch, then the rows: counts are small enough to be exact as floats.
  const message = concat([
    Float32Array.from(sizes),
    ...own.map((rows) => rows.dataSync<"float32">()),
  ]);
  const messages = await group.gather(message);
  const width = widthOf(messages, sizes.length);
  const ends = messages.map(() => sizes.length);
  return sizes.map((size, b) => {
    const pieces = messages.map((values, rank) => {
      const start = present(ends[rank], "an end for each rank");
      const end = start + width * present(values[b], "a count for each batch");
      ends[rank] = end;
      return values.subarray(start, end);
    });
    const embeddings = concat(pieces);
    const before = pieces.slice(0, group.rank).reduce((sum, { length }) => sum + length, 0);
    return { embeddings, total: embeddings.length / width, begin: before / width, size };
  });
}

/** Numbers in an embedding, which a rank without rows cannot tell from its own. */
function widthOf(messages: readonly Float32Array[], batchCount: number): number {
  for (const message of messages) {
    const rows = message.subarray(0, batchCount).reduce((sum, count) => sum + count, 0);
    if (rows > 0) return (message.length - batchCount) / rows;
  }
  return 1;
}

function concat(arrays: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}
