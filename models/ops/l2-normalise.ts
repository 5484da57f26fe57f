/** Rows, or the first numbers of rows, scaled to unit length. */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { first } from "./outputs.ts";

const EPSILON = 1e-12;

/** x·rsqrt(Σx² + ε) row by row. [R, D] → [R, D] */
export function l2Normalise(x: Tensor2D, epsilon = EPSILON): Tensor2D {
  return unitPrefix(x, x.shape[1], epsilon);
}

/** The first `cut` numbers of each row, scaled to unit length. [R, D] → [R, cut] */
export function unitPrefix(x: Tensor2D, cut: number, epsilon = EPSILON): Tensor2D {
  assert(cut >= 1 && cut <= x.shape[1], `unitPrefix to ${cut} of [${x.shape.join(", ")}]`);
  if (!isFused()) return unitPrefixComposed(x, cut, epsilon);
  return differentiable([x], () => ({
    value: first(
      callKernel("SomaUnitRows", [x], 1, { integers: { width: cut }, floats: { epsilon } }),
    ),
    saved: [x],
    gradient: (dy, [kept]) =>
      callKernel("SomaUnitRowsGradient", [kept as Tensor, dy], 1, { floats: { epsilon } }),
  })) as Tensor2D;
}

export function unitPrefixComposed(x: Tensor2D, cut: number, epsilon = EPSILON): Tensor2D {
  const [R, D] = x.shape;
  const prefix = cut === D ? x : tf.slice(x, [0, 0], [R, cut]);
  const square = tf.sum(tf.square(prefix), 1, true);
  return tf.mul(prefix, tf.rsqrt(tf.add(square, epsilon)));
}

/** [R, D] → [R, D] */
export function l2NormaliseComposed(x: Tensor2D, epsilon = EPSILON): Tensor2D {
  return unitPrefixComposed(x, x.shape[1], epsilon);
}
