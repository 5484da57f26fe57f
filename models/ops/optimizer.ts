/**
 * What an optimiser does to many arrays at once, as one call each and in place: the arithmetic of
 * training/optimizer.ts, bit for bit. Only where our kernels are in force.
 */
import { callKernel, tf, type Tensor } from "../backend.ts";
import { first } from "./outputs.ts";

/** One update of AdamW; see training/optimizer.ts for what the numbers mean. */
export interface AdamNumbers {
  readonly keep1: number;
  readonly add1: number;
  readonly keep2: number;
  readonly add2: number;
  readonly step: number;
  readonly epsilon: number;
  /** What is left of a weight before the step: of parameters of rank ≥ 2. */
  readonly keepMatrix: number;
  /** Of all others. */
  readonly keepOther: number;
}

/** Tensors of the same P parameters, in one order. */
export interface AdamTensors {
  /** Overwritten, as the next two. A variable's memory is changed under it: no reshaped view of it may be alive. */
  readonly weights: readonly Tensor[];
  readonly moments: readonly Tensor[];
  readonly squares: readonly Tensor[];
  readonly gradients: readonly Tensor[];
}

export function updateAdamW(tensors: AdamTensors, numbers: AdamNumbers): void {
  const { weights, gradients, moments, squares } = tensors;
  const { keep1, add1, keep2, add2, step, epsilon, keepMatrix, keepOther } = numbers;
  const bits = doubles([keep1, add1, keep2, add2, step, epsilon, keepMatrix, keepOther]);
  const arrays = [...weights, ...gradients, ...moments, ...squares];
  callKernel("SomaAdamW", [bits, ...arrays], 0, { integers: { N: arrays.length } });
  bits.dispose();
}

/** average += share · (weight − average), for each. @param averages overwritten */
export function updateAverages(
  averages: readonly Tensor[],
  weights: readonly Tensor[],
  share: number,
): void {
  const bits = doubles([share]);
  const arrays = [...averages, ...weights];
  callKernel("SomaAverage", [bits, ...arrays], 0, { integers: { N: arrays.length } });
  bits.dispose();
}

/** √ of the sum of squares of all numbers; not finite if any is not. */
export function normOf(gradients: readonly Tensor[]): number {
  const integers = { N: gradients.length };
  const norm = first(callKernel("SomaGlobalNorm", gradients, 1, { integers }));
  const value = norm.dataSync()[0] ?? Number.NaN;
  norm.dispose();
  return value;
}

/** Doubles as the kernels take them: their bits in pairs of int32, as tfjs has no doubles. */
function doubles(values: readonly number[]): Tensor {
  return tf.tensor1d(new Int32Array(Float64Array.from(values).buffer), "int32");
}
