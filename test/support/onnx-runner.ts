/**
 * Runs an ONNX graph operator by operator, as far as ours use them, in plain doubles: what each operator does is written
 * here from the ONNX specification (operator set 17) and knows nothing of the layers that the graph came from.
 */
import type { OnnxAttribute, OnnxGraph, OnnxNode } from "../../models/onnx/model-file.ts";

/** Row-major. */
export interface Value {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** @returns the graph's first output */
export function runOnnx(graph: OnnxGraph, inputs: ReadonlyMap<string, Value>): Value {
  const values = new Map(inputs);
  for (const { name, shape, data } of graph.initializers) {
    values.set(name, { shape, data: Float64Array.from(data, Number) });
  }
  for (const node of graph.nodes) {
    const made = apply(
      node,
      node.inputs.map((name) => get(values, name)),
    );
    node.outputs.forEach((name, i) => values.set(name, made[i] as Value));
  }
  return get(values, graph.outputs[0]?.name ?? "");
}

function get(values: ReadonlyMap<string, Value>, name: string): Value {
  const value = values.get(name);
  if (value === undefined) throw new Error(`nothing has made ${name} yet`);
  return value;
}

function apply({ operator, attributes, outputs }: OnnxNode, inputs: readonly Value[]): Value[] {
  const [a, b, c] = inputs as [Value, Value, Value];
  switch (operator) {
    case "Identity":
    case "Cast": // to float, from bytes
      return [a];
    case "Relu":
      return [map(a, (x) => Math.max(x, 0))];
    case "Erf":
      return [map(a, erf)];
    case "Add":
      return [broadcast(a, b, (x, y) => x + y)];
    case "Mul":
      return [broadcast(a, b, (x, y) => x * y)];
    case "Div":
      return [broadcast(a, b, (x, y) => x / y)];
    case "Reshape":
      return [reshape(a, [...b.data])];
    case "Transpose":
      return [transpose(a, attributes["perm"] as number[])];
    case "MatMul":
      return [matMul(a, b)];
    case "Gather":
      return [gather(a, b)];
    case "Split":
      return split(a, outputs.length, attributes["axis"] as number);
    case "Softmax":
      return [overLastAxis(a, softmax)];
    case "LayerNormalization":
      return [layerNormalization(a, b, c, attributes["epsilon"])];
    case "ReduceMean":
      return [meanOverMiddle(a)];
    default:
      throw new Error(`no operator ${operator} here`);
  }
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
const at = (values: Float64Array, i: number): number => values[i] ?? Number.NaN;

function map({ shape, data }: Value, f: (x: number) => number): Value {
  return { shape, data: data.map(f) };
}

/** `b` has the last axes of `a`, or none. */
function broadcast(a: Value, b: Value, f: (x: number, y: number) => number): Value {
  const tail = a.shape.slice(a.shape.length - b.shape.length);
  if (b.shape.some((n, i) => n !== tail[i]))
    throw new Error(`[${a.shape.join()}] with [${b.shape.join()}]`);
  return { shape: a.shape, data: a.data.map((x, i) => f(x, at(b.data, i % b.data.length))) };
}

function reshape({ shape, data }: Value, wanted: readonly number[]): Value {
  const known = sizeOf(wanted.filter((n) => n !== -1));
  const to = wanted.map((n) => (n === -1 ? data.length / known : n));
  if (sizeOf(to) !== sizeOf(shape) || !to.every(Number.isInteger)) {
    throw new Error(`[${shape.join()}] does not become [${wanted.join()}]`);
  }
  return { shape: to, data };
}

function transpose({ shape, data }: Value, order: readonly number[]): Value {
  const to = order.map((axis) => shape[axis] ?? 0);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const out = Float64Array.from(data, (_, i) => {
    let [rest, from] = [i, 0];
    for (let axis = order.length - 1; axis >= 0; axis--) {
      const size = to[axis] ?? 1;
      from += (rest % size) * (strides[order[axis] ?? 0] ?? 0);
      rest = Math.floor(rest / size);
    }
    return at(data, from);
  });
  return { shape: to, data: out };
}

/** Leading axes of either are those of the other, or none. */
function matMul(a: Value, b: Value): Value {
  const [N, K, M] = [a.shape.at(-2) ?? 0, a.shape.at(-1) ?? 0, b.shape.at(-1) ?? 0];
  if (b.shape.at(-2) !== K) throw new Error(`[${a.shape.join()}] times [${b.shape.join()}]`);
  const leading = (a.shape.length >= b.shape.length ? a : b).shape.slice(0, -2);
  const data = Float64Array.from({ length: sizeOf(leading) * N * M }, (_, i) => {
    const [matrix, n, m] = [Math.floor(i / (N * M)), Math.floor(i / M) % N, i % M];
    const [fromA, fromB] = [(matrix * N * K) % a.data.length, (matrix * K * M) % b.data.length];
    let sum = 0;
    for (let k = 0; k < K; k++)
      sum += at(a.data, fromA + n * K + k) * at(b.data, fromB + k * M + m);
    return sum;
  });
  return { shape: [...leading, N, M], data };
}

/** By its Taylor series, good to 1e-10 up to |x| = 4, beyond which erf is ±1 to 1e-7. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; n < 100; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

function gather(table: Value, ids: Value): Value {
  const width = sizeOf(table.shape.slice(1));
  const shape = [...ids.shape, ...table.shape.slice(1)];
  const data = Float64Array.from({ length: sizeOf(shape) }, (_, i) =>
    at(table.data, at(ids.data, Math.floor(i / width)) * width + (i % width)),
  );
  return { shape, data };
}

/** Along the last axis of a matrix. */
function split({ shape, data }: Value, count: number, axis: number): Value[] {
  if (shape.length !== 2 || axis !== 1) throw new Error("only columns of a matrix");
  const [R, C] = shape as [number, number];
  const width = C / count;
  return Array.from({ length: count }, (_, part) => ({
    shape: [R, width],
    data: Float64Array.from({ length: R * width }, (_, i) =>
      at(data, Math.floor(i / width) * C + part * width + (i % width)),
    ),
  }));
}

function overLastAxis({ shape, data }: Value, f: (row: Float64Array) => Float64Array): Value {
  const width = shape.at(-1) ?? 1;
  const out = new Float64Array(data.length);
  for (let i = 0; i < data.length; i += width) out.set(f(data.subarray(i, i + width)), i);
  return { shape, data: out };
}

function softmax(row: Float64Array): Float64Array {
  const largest = Math.max(...row);
  const powers = row.map((x) => Math.exp(x - largest));
  const sum = powers.reduce((total, x) => total + x, 0);
  return powers.map((x) => x / sum);
}

function layerNormalization(
  x: Value,
  scale: Value,
  shift: Value,
  epsilon: OnnxAttribute | undefined,
): Value {
  const { float } = epsilon as { float: number };
  const mean = (row: Float64Array): number => row.reduce((sum, y) => sum + y, 0) / row.length;
  const normal = overLastAxis(x, (row) => {
    const middle = mean(row);
    const deviation = Math.sqrt(mean(row.map((y) => (y - middle) ** 2)) + float);
    return row.map((y) => (y - middle) / deviation);
  });
  return broadcast(
    broadcast(normal, scale, (y, s) => y * s),
    shift,
    (y, s) => y + s,
  );
}

/** [B, N, D] → [B, D]: axes = [1], keepdims = 0. */
function meanOverMiddle({ shape, data }: Value): Value {
  const [B, N, D] = shape as [number, number, number];
  const sums = new Float64Array(B * D);
  for (let i = 0; i < data.length; i++) {
    const to = Math.floor(i / (N * D)) * D + (i % D);
    sums[to] = at(sums, to) + at(data, i) / N;
  }
  return { shape: [B, D], data: sums };
}
