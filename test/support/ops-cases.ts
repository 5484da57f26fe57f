/**
 * Cases of the ops of models/ops: what goes in, and the value and gradients that come out. Those of PyTorch are read
 * from test/vectors/ops.json (made by make-ops.py there); others are made up by ops-random.ts.
 */
import { readFileSync } from "node:fs";
import { present } from "../../base/errors.ts";
import { tf, type Tensor } from "../../models/backend.ts";

export interface Packed {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
  /** float32 if absent. */
  readonly dtype?: "int32";
}

type PackedByName = Readonly<Record<string, Packed>>;

/** What an op is called with. */
export interface OpInput {
  readonly op: string;
  readonly name: string;
  readonly options?: Readonly<Record<string, number | string>>;
  /** Differentiated. */
  readonly inputs: PackedByName;
  /** Not differentiated: labels, ids, what is visible. */
  readonly fixed?: PackedByName;
  /** Gradients are those of Σ upstream · output. */
  readonly upstream: Packed;
  /** How large the terms are that cancel in the answer: gaps are measured against at least this. */
  readonly cancels?: { readonly output?: number; readonly gradients?: number };
}

/** Row-major values of the output, and of the gradient of each input by its name. */
export interface OpResult {
  readonly output: ArrayLike<number>;
  readonly gradients: Readonly<Record<string, ArrayLike<number>>>;
}

interface StoredCase extends OpInput {
  readonly output: Packed;
  readonly gradients: PackedByName;
}

export interface StoredAdamW {
  readonly name: string;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly start: PackedByName;
  readonly steps: readonly {
    readonly learningRate: number;
    readonly gradientScale: number;
    readonly gradients: PackedByName;
  }[];
  readonly weights: PackedByName;
  readonly moments: PackedByName;
  readonly squares: PackedByName;
}

export interface StoredAverage {
  readonly name: string;
  readonly decay: number;
  readonly start: PackedByName;
  readonly weights: readonly PackedByName[];
  readonly averages: PackedByName;
}

interface OpVectors {
  readonly cases: readonly StoredCase[];
  readonly adamW: readonly StoredAdamW[];
  readonly average: readonly StoredAverage[];
}

/** By default the file of the repository; a copy of the program elsewhere gives its path. */
export function readOpVectors(
  path: string | URL = new URL("../vectors/ops.json", import.meta.url),
): OpVectors {
  return JSON.parse(readFileSync(path, "utf8")) as OpVectors;
}

export function expectedOf(stored: StoredCase): OpResult {
  return {
    output: Float32Array.from(stored.output.values),
    gradients: mapValues(stored.gradients, ({ values }) => Float32Array.from(values)),
  };
}

/** Inputs and fixed tensors by name → output. */
export type OpCall = (
  tensors: Readonly<Record<string, Tensor>>,
  options: Readonly<Record<string, number | string>>,
) => Tensor;

export function tensorOf({ shape, values, dtype }: Packed): Tensor {
  return dtype === undefined
    ? tf.tensor(Float32Array.from(values), [...shape], "float32")
    : tf.tensor(Int32Array.from(values), [...shape], dtype);
}

/** Run an op and its gradient on the backend in force. @throws Error if the shapes are wrong or a tensor is left behind */
export function evaluate(call: OpCall, given: OpInput): OpResult {
  const before = tf.memory().numTensors;
  const names = Object.keys(given.inputs);
  const tensors = tf.tidy(() => {
    const fixed = mapValues(given.fixed ?? {}, tensorOf);
    const upstream = tensorOf(given.upstream);
    const kept: Tensor[] = [];
    const loss = (...inputs: Tensor[]): Tensor => {
      const byName = Object.fromEntries(names.map((name, i) => [name, present(inputs[i], name)]));
      const output = call({ ...byName, ...fixed }, given.options ?? {});
      if (output.shape.join() !== given.upstream.shape.join())
        throw new Error(`${given.op} gives [${output.shape.join()}]`);
      kept.push(tf.keep(output.clone()));
      return tf.sum(tf.mul(output, upstream));
    };
    const inputs = names.map((name) => tensorOf(present(given.inputs[name], name)));
    return { gradients: tf.grads(loss)(inputs), kept };
  });
  const { gradients, kept } = tensors;
  const shapes = names.map((name) => present(given.inputs[name], name).shape.join());
  const wrong = gradients.findIndex(({ shape }, i) => shape.join() !== shapes[i]);
  const result = {
    output: present(kept[0], "the output").dataSync(),
    gradients: Object.fromEntries(names.map((name, i) => [name, readGradient(gradients, i)])),
  };
  tf.dispose([...kept, ...gradients]);
  if (wrong >= 0)
    throw new Error(`${given.op}: the gradient of ${names[wrong] ?? ""} has another shape`);
  const left = tf.memory().numTensors - before;
  if (left !== 0) throw new Error(`${given.op} leaves ${left} tensors behind`);
  return result;
}

function readGradient(gradients: readonly Tensor[], index: number): ArrayLike<number> {
  return present(gradients[index], "a gradient").dataSync();
}

function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  map: (value: A) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

/**
 * The largest gap between two arrays, as a share of the largest expected number, or of `floor` if that is larger.
 * Infinite if the lengths differ or anything is not finite.
 */
export function distance(
  actual: ArrayLike<number> | undefined,
  expected: ArrayLike<number>,
  floor: number,
): number {
  if (actual?.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [gap, scale] = [0, floor];
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
    gap = Math.max(gap, Math.abs(a - b));
    scale = Math.max(scale, Math.abs(b));
  }
  return gap / scale;
}

/** Numbers this small are sums in which others cancelled: their own size says nothing about the rounding. */
const FLOOR = 0.1;

/** The worst distance, over output and gradients, and where it is. */
export function worst(
  given: OpInput,
  actual: OpResult,
  expected: OpResult,
): { gap: number; where: string } {
  const { output = FLOOR, gradients = FLOOR } = given.cancels ?? {};
  let found = { gap: distance(actual.output, expected.output, output), where: "the output" };
  for (const [name, values] of Object.entries(expected.gradients)) {
    const gap = distance(actual.gradients[name], values, gradients);
    if (gap > found.gap) found = { gap, where: `the gradient of ${name}` };
  }
  return found;
}
