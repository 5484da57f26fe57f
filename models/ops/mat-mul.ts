/** Products of matrices whose gradients are fast on the backend in force. */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { first } from "./outputs.ts";

/**
 * Product over the last two axes.
 * @param a [..., N, K], or [..., K, N] if transposeA
 * @param b [..., K, M], or [..., M, K] if transposeB; the same leading axes as `a`, or none: one matrix for all
 * @returns [..., N, M], owned by the caller
 */
export function matMul<T extends Tensor>(
  a: T,
  b: Tensor,
  transposeA = false,
  transposeB = false,
): T {
  if (b.rank === 2 && a.rank > 2 && !transposeA) {
    // One matrix for all rows: [B, N, K] is [B·N, K], and a two-dimensional product is the fastest there is.
    const leading = a.shape.slice(0, -1);
    const width = a.shape.at(-1) ?? 0;
    return tf.tidy(() => {
      const rows: Tensor = a.reshape([-1, width]);
      const product = matMul(rows, b, false, transposeB);
      return product.reshape([...leading, product.shape[1] ?? 0]);
    });
  }
  assert(a.rank === b.rank, `matMul of ranks ${a.rank} and ${b.rank}`);
  if (isFused() && a.rank === 2) return matMulFused(a, b, transposeA, transposeB);
  return tf.getBackend() === "wasm"
    ? matMulTransposed(a, b, transposeA, transposeB)
    : tf.matMul<T>(a, b, transposeA, transposeB);
}

/** tfjs's own, the oracle of the faster ones. */
export function matMulComposed<T extends Tensor>(
  a: T,
  b: Tensor,
  transposeA = false,
  transposeB = false,
): T {
  return tf.matMul<T>(a, b, transposeA, transposeB);
}

function multiply(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  const integers = { transpose_a: Number(transposeA), transpose_b: Number(transposeB) };
  return first(callKernel("SomaMatMul", [a, b], 1, { integers }));
}

function matMulFused<T extends Tensor>(
  a: T,
  b: Tensor,
  transposeA: boolean,
  transposeB: boolean,
): T {
  return differentiable([a, b], () => ({
    value: multiply(a, b, transposeA, transposeB),
    saved: [a, b],
    gradient: (dy, saved) => {
      const [left, right] = saved as [Tensor, Tensor];
      // With A and B as multiplied: dA = dy·Bᵀ and dB = Aᵀ·dy; transposed once more for an input that came so.
      return [
        transposeA
          ? multiply(right, dy, transposeB, true)
          : multiply(dy, right, false, !transposeB),
        transposeB ? multiply(dy, left, true, transposeA) : multiply(left, dy, !transposeA, false),
      ];
    },
  })) as T;
}

/** The transpose flags of wasm's product are 5–6 times slower than a transpose and a plain product: never set them. */
function matMulTransposed<T extends Tensor>(
  a: T,
  b: Tensor,
  transposeA: boolean,
  transposeB: boolean,
): T {
  const oriented = (x: Tensor, transposed: boolean): Tensor => (transposed ? swapLastAxes(x) : x);
  const product = () =>
    differentiable([a, b], () => ({
      value: tf.matMul(oriented(a, transposeA), oriented(b, transposeB)),
      saved: [a, b],
      gradient: (dy, saved) => {
        const [left, right] = saved as [Tensor, Tensor];
        return [
          transposeA
            ? tf.matMul(oriented(right, transposeB), swapLastAxes(dy))
            : tf.matMul(dy, oriented(right, !transposeB)),
          transposeB
            ? tf.matMul(swapLastAxes(dy), oriented(left, transposeA))
            : tf.matMul(oriented(left, !transposeA), dy),
        ];
      },
    }));
  return tf.tidy(() => product() as T);
}

function swapLastAxes(x: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return tf.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}
