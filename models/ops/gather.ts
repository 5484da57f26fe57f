/** Rows of a table by number; the gradient adds up over rows taken more than once. */
import { callKernel, isFused, tf, type Tensor, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { first } from "./outputs.ts";

/**
 * Rows of a table, e.g. token embeddings.
 * @param table [V, D]  @param ids int32, any shape, each 0 … V − 1  @returns [...ids.shape, D], owned by the caller
 */
export function gatherRows(table: Tensor2D, ids: Tensor): Tensor {
  const rowCount = table.shape[0];
  if (isFused()) {
    return differentiable([table], () => ({
      value: first(callKernel("SomaGather", [table, ids], 1)),
      saved: [ids],
      gradient: (dy, [kept]) =>
        callKernel("SomaScatterAdd", [dy, kept as Tensor], 1, {
          integers: { row_count: rowCount },
        }),
    }));
  }
  // wasm has no kernel for the sum over equal ids that tfjs's gradient needs.
  return tf.getBackend() === "wasm" ? gatherByHand(table, ids) : gatherRowsComposed(table, ids);
}

export function gatherRowsComposed(table: Tensor2D, ids: Tensor): Tensor {
  return tf.gather(table, ids);
}

function gatherByHand(table: Tensor2D, ids: Tensor): Tensor {
  const rowCount = table.shape[0];
  return tf.tidy(() =>
    differentiable([table], () => ({
      value: tf.gather(table, ids),
      saved: [ids],
      gradient: (dy, saved) => [sumRowsById(dy, saved[0] ?? ids, rowCount)],
    })),
  );
}

/** Sum of the rows of `values` [..., D] that share an id: [rowCount, D]. */
function sumRowsById(values: Tensor, ids: Tensor, rowCount: number): Tensor {
  const D = values.shape.at(-1) ?? 0; // width
  const from = values.dataSync();
  const idValues = ids.dataSync();
  const sums = new Float32Array(rowCount * D);
  for (let i = 0; i < idValues.length; i++) {
    const start = (idValues[i] ?? 0) * D;
    for (let j = 0; j < D; j++) sums[start + j] = (sums[start + j] ?? 0) + (from[i * D + j] ?? 0);
  }
  return tf.tensor2d(sums, [rowCount, D]);
}
