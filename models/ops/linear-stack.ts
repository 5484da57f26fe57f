/**
 * Linear layers one after another. Each reads the numbers before it as rows of its own width, so that four neighbouring
 * rows may become one: what a convolution is whose stride is its side. While no gradient is wanted all of them are one
 * call, which keeps rows in the cache from the first layer to the last; else they are called one by one.
 */
import { assert, present } from "../../base/errors.ts";
import { callKernel, isFused, isRecording, tf, type Tensor, type Tensor2D } from "../backend.ts";
import { ACTIVATION_CODES, linear, type Activation } from "./linear.ts";
import { first } from "./outputs.ts";

export interface StackLayer {
  /** [I, O] */
  readonly weight: Tensor2D;
  /** [O] */
  readonly bias?: Tensor | undefined;
  readonly activation?: Activation;
  /** Add to what comes out what the layer before this one read. Not for the first. */
  readonly addsSkipped?: boolean;
}

/** As many as the kernel takes in one call (native/stack.cc). */
const LAYERS_MAX = 15;
const BIAS = 4;
const SKIP = 8;
const BITS_EACH = 4;

/** @param x  numbers that the first layer reads, of any shape  @returns [rows, O] of the last layer */
export function linearStack(x: Tensor, layers: readonly StackLayer[], isData = false): Tensor2D {
  assert(layers.length > 0, "a stack has at least one layer");
  if (!runsAsOne(layers)) return linearStackComposed(x, layers, isData);
  return callStack("SomaLinearStack", [x], layers);
}

/**
 * The same from bytes of patches, as the kernel of ink reads them; only where `runsAsOne`.
 * @param bytes int32 [patches, 192], four bytes in a number
 */
export function inkStack(bytes: Tensor2D, layers: readonly StackLayer[]): Tensor2D {
  return callStack("SomaInkStack", [bytes], layers);
}

/**
 * The same from the weighted sum of each sequence's rows in a table; only where `runsAsOne`.
 * @param table [V, D]  @param ids int32 [B, N], each 0 … V − 1  @param weights [B, N]
 */
export function bagStack(
  table: Tensor2D,
  ids: Tensor2D,
  weights: Tensor2D,
  layers: readonly StackLayer[],
): Tensor2D {
  return callStack("SomaBagStack", [table, ids, weights], layers);
}

/** Are these layers one call now? */
export function runsAsOne(layers: readonly StackLayer[]): boolean {
  return isFused() && !isRecording() && layers.length <= LAYERS_MAX;
}

function callStack(name: string, read: readonly Tensor[], layers: readonly StackLayer[]): Tensor2D {
  const others: Tensor[] = [];
  let codes = 0;
  for (const [l, { weight, bias, activation = "none", addsSkipped = false }] of layers.entries()) {
    others.push(weight);
    if (bias !== undefined) others.push(bias);
    const bits =
      ACTIVATION_CODES[activation] + (bias === undefined ? 0 : BIAS) + (addsSkipped ? SKIP : 0);
    codes += bits * 2 ** (BITS_EACH * l);
  }
  const integers = { layers: codes, count: layers.length, N: others.length };
  return first(callKernel(name, [...read, ...others], 1, { integers })) as Tensor2D;
}

/** @param isData  x is data: its gradient is not asked for */
export function linearStackComposed(
  x: Tensor,
  layers: readonly StackLayer[],
  isData = false,
): Tensor2D {
  let skipped: Tensor | undefined;
  let read: Tensor = x;
  for (const [l, { weight, bias, activation = "none", addsSkipped = false }] of layers.entries()) {
    const rows = asRows(read, weight.shape[0]);
    const residual = addsSkipped
      ? asRows(present(skipped, "the first layer of a stack skips none"), weight.shape[1])
      : undefined;
    skipped = rows;
    read = linear(rows, weight, { bias, activation, residual, isData: isData && l === 0 });
  }
  return read as Tensor2D;
}

function asRows(x: Tensor, width: number): Tensor2D {
  assert(x.size % width === 0, `[${x.shape.join(", ")}] is not whole rows of ${width}`);
  if (x.rank === 2 && x.shape[1] === width) return x as Tensor2D;
  return tf.reshape(x, [x.size / width, width]);
}
