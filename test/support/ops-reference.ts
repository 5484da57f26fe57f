/**
 * The ops of models/ops once more, in plain TypeScript and float64, one number at a time and as their papers write
 * them; gradients by central differences. Slow, and as unlike the kernels as can be: that is the point.
 */
import { present } from "../../base/errors.ts";
import type { OpInput, OpResult } from "./ops-cases.ts";

/** Values by name (float64, row-major), and how to look up shapes and options. */
interface Given {
  readonly values: Readonly<Record<string, ArrayLike<number>>>;
  readonly shape: (name: string) => readonly number[];
  readonly option: (name: string) => number;
  readonly word: (name: string) => string;
}

type Reference = (given: Given) => number[];

/** @returns value and gradients of an op in float64; the gradients, if wanted, are good to about 1e-8 */
export function reference(given: OpInput, wantsGradients = true): OpResult {
  const compute = present(REFERENCES[given.op], `a reference of ${given.op}`);
  const all = { ...given.inputs, ...given.fixed };
  const values = Object.fromEntries(
    Object.entries(all).map(([name, packed]) => [name, Float64Array.from(packed.values)]),
  );
  const view: Given = {
    values,
    shape: (name) => present(all[name], name).shape,
    option: (name) => Number(present(given.options?.[name], name)),
    word: (name) => String(present(given.options?.[name], name)),
  };
  const output = compute(view);
  const total = (): number => dot(compute(view), Float32Array.from(given.upstream.values));
  const names = wantsGradients ? Object.keys(given.inputs) : [];
  const gradients = names.map((name) => {
    const input = present(values[name], name);
    return [name, centralDifferences(input, total)] as const;
  });
  return { output, gradients: Object.fromEntries(gradients) };
}

/** (f(x + h) − f(x − h)) / 2h for each number of `x`, which is put back. */
function centralDifferences(x: Float64Array, f: () => number): number[] {
  return Array.from(x, (value, i) => {
    // Half the digits: the rounding of f over h, and h² of what is left out, are then about 1e-9 each.
    const h = 1e-5 * Math.max(1, Math.abs(value));
    x[i] = value + h;
    const above = f();
    x[i] = value - h;
    const below = f();
    x[i] = value;
    return (above - below) / (2 * h);
  });
}

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  sum(Array.from(a, (value, i) => value * at(b, i)));
const at = (values: ArrayLike<number>, index: number): number =>
  present(values[index], "an index in range");
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** The rows of a matrix. */
function rowsOf({ values, shape }: Given, name: string): number[][] {
  const width = at(shape(name), 1);
  const all = Array.from(present(values[name], name));
  return range(at(shape(name), 0)).map((r) => all.slice(r * width, (r + 1) * width));
}
const vectorOf = ({ values }: Given, name: string): number[] =>
  Array.from(present(values[name], name));

/** Softmax over those that are visible; zeros if none is. */
function softmax(scores: readonly number[], visible: readonly number[] | undefined): number[] {
  const seen = (i: number): boolean => visible === undefined || at(visible, i) > 0;
  const most = Math.max(...scores.filter((_, i) => seen(i)));
  const shares = scores.map((score, i) => (seen(i) ? Math.exp(score - most) : 0));
  const total = sum(shares);
  return shares.map((share) => (total === 0 ? 0 : share / total));
}

function logSumExp(values: readonly number[]): number {
  const most = Math.max(...values);
  return most + Math.log(sum(values.map((value) => Math.exp(value - most))));
}

/**
 * x·Φ(x), with Φ from the integral of the density: its series about 0 where that converges well, else the continued
 * fraction of the tail (Abramowitz and Stegun 26.2.11 and 26.2.14).
 */
function geluOf(x: number): number {
  const density = Math.exp(-(x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (Math.abs(x) < 4) {
    let term = x;
    let total = x;
    for (let n = 1; n < 100; n++) {
      term *= (x * x) / (2 * n + 1);
      total += term;
    }
    return x * (0.5 + density * total);
  }
  const far = Math.abs(x);
  let fraction = far;
  for (let n = 60; n > 0; n--) fraction = far + n / fraction;
  const tail = density / fraction;
  return x > 0 ? x * (1 - tail) : x * tail;
}

const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: geluOf,
};

function attention(given: Given): number[] {
  const [B, N, H] = [given.option("size"), given.option("units"), given.option("heads")];
  const rows = rowsOf(given, "qkv");
  const d = at(given.shape("qkv"), 1) / 3 / H;
  /** Query (0), key (1) or value (2) of a token. */
  const part = (b: number, n: number, h: number, which: number): number[] =>
    present(rows[b * N + n], "a row").slice((which * H + h) * d, (which * H + h + 1) * d);
  return range(B).flatMap((b) => {
    const visible =
      given.values["visible"] === undefined ? undefined : present(rowsOf(given, "visible")[b], "b");
    return range(N).flatMap((n) =>
      range(H).flatMap((h) => {
        const scores = range(N).map((m) => dot(part(b, n, h, 0), part(b, m, h, 1)) / Math.sqrt(d));
        const weights = softmax(scores, visible);
        return range(d).map((j) => sum(weights.map((w, m) => w * at(part(b, m, h, 2), j))));
      }),
    );
  });
}

const REFERENCES: Readonly<Record<string, Reference>> = {
  layerNorm(given) {
    const [scale, shift] = [vectorOf(given, "scale"), vectorOf(given, "shift")];
    return rowsOf(given, "x").flatMap((row) => {
      const mean = sum(row) / row.length;
      const variance = sum(row.map((x) => (x - mean) ** 2)) / row.length;
      const deviation = Math.sqrt(variance + given.option("epsilon"));
      return row.map((x, j) => ((x - mean) / deviation) * at(scale, j) + at(shift, j));
    });
  },
  linear(given) {
    const weight = rowsOf(given, "weight");
    const outputs = at(given.shape("weight"), 1);
    const activation = present(ACTIVATIONS[given.word("activation")], "an activation");
    const { bias, residual } = given.values;
    return rowsOf(given, "x").flatMap((row, r) =>
      range(outputs).map((o) => {
        const product = sum(row.map((x, i) => x * at(present(weight[i], "a row"), o)));
        const y = activation(product + (bias === undefined ? 0 : at(bias, o)));
        return y + (residual === undefined ? 0 : at(residual, r * outputs + o));
      }),
    );
  },
  attention,
  maskedSoftmax(given) {
    const visible = given.values["visible"] === undefined ? [] : rowsOf(given, "visible");
    return rowsOf(given, "scores").flatMap((row, r) =>
      softmax(
        row.map((score) => score * given.option("scale")),
        visible[r],
      ),
    );
  },
  softmaxCrossEntropy(given) {
    const labels = vectorOf(given, "labels");
    const rows = rowsOf(given, "logits");
    return [sum(rows.map((row, r) => logSumExp(row) - at(row, at(labels, r)))) / rows.length];
  },
  infoNceLoss(given) {
    const rows = rowsOf(given, "similarities");
    const columns = rows.map((_, c) => rows.map((row) => at(row, c)));
    const terms = rows.map(
      (row, i) => logSumExp(row) + logSumExp(present(columns[i], "a column")) - 2 * at(row, i),
    );
    return [sum(terms) / (2 * rows.length)];
  },
  sigmoidLoss(given) {
    const rows = rowsOf(given, "similarities");
    const terms = rows.flatMap((row, r) =>
      row.map((x, c) => {
        const signed = r === c ? -x : x;
        return Math.max(signed, 0) + Math.log1p(Math.exp(-Math.abs(signed)));
      }),
    );
    return [sum(terms) / rows.length];
  },
  gatherRows(given) {
    const table = rowsOf(given, "table");
    return vectorOf(given, "ids").flatMap((id) => present(table[id], "a row"));
  },
  l2Normalise: (given) => unitPrefixes(given, at(given.shape("x"), 1)),
  unitPrefix: (given) => unitPrefixes(given, given.option("cut")),
  weightedSum: (given) => weightedSums(given, () => 1),
  meanPool: (given) => weightedSums(given, (weights) => Math.max(sum(weights), 1)),
  matMul(given) {
    const [a, b] = (["a", "b"] as const).map((name) => {
      const rows = rowsOf(given, name);
      const flip = given.option(`transpose${name.toUpperCase()}`) === 1;
      return flip
        ? range(at(given.shape(name), 1)).map((j) => rows.map((row) => at(row, j)))
        : rows;
    }) as [number[][], number[][]];
    const columns = range(present(b[0], "a row").length);
    return a.flatMap((row) =>
      columns.map((j) =>
        dot(
          row,
          b.map((other) => at(other, j)),
        ),
      ),
    );
  },
  gelu: (given) => vectorOf(given, "x").map(geluOf),
  relu: (given) => vectorOf(given, "x").map((x) => Math.max(x, 0)),
};

function unitPrefixes(given: Given, cut: number): number[] {
  return rowsOf(given, "x").flatMap((whole) => {
    const row = whole.slice(0, cut);
    const length = Math.sqrt(dot(row, row) + given.option("epsilon"));
    return row.map((x) => x / length);
  });
}

/** Σ w·x over the tokens of each sequence, over what its weights say. */
function weightedSums(given: Given, over: (weights: readonly number[]) => number): number[] {
  const rows = rowsOf(given, "x");
  return rowsOf(given, "weights").flatMap((weights, b) => {
    const N = weights.length; // tokens
    return range(at(given.shape("x"), 1)).map((j) => {
      const terms = weights.map((w, n) => w * at(present(rows[b * N + n], "a row"), j));
      return sum(terms) / over(weights);
    });
  });
}

/**
 * How near the case is to where ReLU has no slope: there a rounding decides the gradient, and no two programs agree.
 * Infinite for what has no ReLU.
 */
export function distanceFromKink(given: OpInput): number {
  const before = (): ArrayLike<number> => {
    if (given.op === "relu") return present(given.inputs["x"], "x").values;
    if (given.options?.["activation"] !== "relu") return [];
    const inputs = { ...given.inputs };
    delete inputs["residual"];
    return reference({ ...given, inputs, options: { activation: "none" } }, false).output;
  };
  return Math.min(...Array.from(before(), Math.abs));
}
