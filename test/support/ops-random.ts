/** Made-up cases of every op, small and odd for the properties, large for what several threads share. */
import fc from "fast-check";
import { seededRng, type Rng } from "../../tokenizers/random.ts";
import type { OpInput, Packed } from "./ops-cases.ts";

/** How large: the most that a side of a matrix may have. */
export interface Sizes {
  readonly rows: number;
  readonly width: number;
}

interface Draw {
  readonly rng: Rng;
  /** 1 … most. */
  readonly side: (most: number) => number;
  readonly sizes: Sizes;
}

type Made = Omit<OpInput, "op" | "name">;

/** Gradients are sums over rows of numbers of about 1, which now and then cancel; so are the outputs of some. */
const CANCELS = { gradients: 1 } as const;
const CANCELS_TOO = { gradients: 1, output: 1 } as const;

/** A case of `op` that is a function of the seed alone. */
export function randomCase(op: string, seed: number, sizes: Sizes): OpInput {
  const rng = seededRng(seed, `op case/${op}`);
  const make = MAKERS[op];
  if (make === undefined) throw new Error(`nothing makes cases of ${op}`);
  const side = (most: number): number => 1 + rng.uniform(most);
  return { op, name: `seed ${seed}`, cancels: CANCELS, ...make({ rng, side, sizes }) };
}

/** As `randomCase`, over fast-check's seeds: a counterexample shrinks to a small one, and is made again from it. */
export function randomCases(op: string, sizes: Sizes): fc.Arbitrary<OpInput> {
  return fc.nat(1_000_000).map((seed) => randomCase(op, seed, sizes));
}

/** A case whose sides are exactly these, for work that several threads share. */
export function largeCase(op: string, sizes: Sizes): OpInput {
  const rng = seededRng(1, `large case/${op}`);
  const make = MAKERS[op];
  if (make === undefined) throw new Error(`nothing makes cases of ${op}`);
  return {
    op,
    name: `${sizes.rows} by ${sizes.width}`,
    ...make({ rng, side: (most) => most, sizes }),
  };
}

/** Numbers around 0 whose spread is about 1, never nearer to 0 than 0.001: the kink of ReLU is no place for a slope. */
function normal({ rng }: Draw, shape: readonly number[], scale = 1): Packed {
  const count = shape.reduce((total, n) => total * n, 1);
  // Of the seeded generator only the start: it hashes, which for a million numbers takes seconds.
  let state = rng.word() | 1;
  const unit = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const values = Float32Array.from({ length: count }, () => {
    const value = scale * 2 * (unit() + unit() + unit() - 1.5);
    return Math.abs(value) < 1e-3 ? 1e-3 : value;
  });
  return { shape, values };
}

function ids({ rng }: Draw, shape: readonly number[], below: number): Packed {
  const count = shape.reduce((total, n) => total * n, 1);
  return { shape, dtype: "int32", values: Array.from({ length: count }, () => rng.uniform(below)) };
}

/** Ones and zeros; one row in four has only zeros. */
function visible({ rng }: Draw, rows: number, columns: number): Packed {
  const values = Array.from({ length: rows }, () => {
    const kept = [0, 0.3, 0.7, 1][rng.uniform(4)] ?? 1;
    return Array.from({ length: columns }, () => (rng.unit() < kept ? 1 : 0));
  });
  return { shape: [rows, columns], values: values.flat() };
}

const scalar = (draw: Draw): Packed => normal(draw, []);

const MAKERS: Readonly<Record<string, (draw: Draw) => Made>> = {
  layerNorm(draw) {
    const [R, D] = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
    const inputs = { x: normal(draw, [R, D]), scale: normal(draw, [D]), shift: normal(draw, [D]) };
    // Of a row of few numbers little is left but rounding, which a small epsilon would blow up.
    const small = D < 4 ? { options: { epsilon: 0.1 }, cancels: { gradients: 10 } } : {};
    return { options: { epsilon: 1e-5 }, inputs, upstream: normal(draw, [R, D]), ...small };
  },
  linear(draw) {
    const { rng, sizes } = draw;
    const [R, I, O] = [draw.side(sizes.rows), draw.side(sizes.width), draw.side(sizes.width)];
    const inputs: Record<string, Packed> = {
      x: normal(draw, [R, I]),
      weight: normal(draw, [I, O], 1 / Math.sqrt(I)),
    };
    if (rng.uniform(2) === 1) inputs["bias"] = normal(draw, [O]);
    if (rng.uniform(2) === 1) inputs["residual"] = normal(draw, [R, O]);
    const activation = ["none", "relu", "gelu"][rng.uniform(3)] ?? "none";
    const upstream = normal(draw, [R, O]);
    return { options: { activation }, inputs, upstream, cancels: CANCELS_TOO };
  },
  attention(draw) {
    const { rng, sizes } = draw;
    const [B, N] = [draw.side(3), draw.side(sizes.rows)];
    const [H, d] = [draw.side(3), draw.side(Math.ceil(sizes.width / 3))];
    const fixed = rng.uniform(2) === 1 ? { visible: visible(draw, B, N) } : {};
    return {
      options: { size: B, units: N, heads: H },
      inputs: { qkv: normal(draw, [B * N, 3 * H * d]) },
      fixed,
      upstream: normal(draw, [B * N, H * d]),
    };
  },
  maskedSoftmax(draw) {
    const [R, C] = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
    const fixed = draw.rng.uniform(2) === 1 ? { visible: visible(draw, R, C) } : {};
    const inputs = { scores: normal(draw, [R, C], 3) };
    return { options: { scale: 0.7 }, inputs, fixed, upstream: normal(draw, [R, C]) };
  },
  softmaxCrossEntropy(draw) {
    const [R, C] = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
    const fixed = { labels: ids(draw, [R], C) };
    const inputs = { logits: normal(draw, [R, C], 3) };
    return { inputs, fixed, upstream: scalar(draw), cancels: CANCELS_TOO };
  },
  infoNceLoss: similarities,
  sigmoidLoss: similarities,
  gatherRows(draw) {
    const [V, D] = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
    const shape = draw.rng.uniform(2) === 1 ? [draw.side(3), draw.side(20)] : [draw.side(40)];
    const inputs = { table: normal(draw, [V, D]) };
    return { inputs, fixed: { ids: ids(draw, shape, V) }, upstream: normal(draw, [...shape, D]) };
  },
  l2Normalise(draw) {
    const [R, D] = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
    // As above: the length of a single number has no slope.
    const options = { epsilon: D < 3 ? 0.1 : 1e-6 };
    return { options, inputs: { x: normal(draw, [R, D]) }, upstream: normal(draw, [R, D]) };
  },
  unitPrefix(draw) {
    const [R, D] = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
    const cut = draw.side(D);
    const options = { cut, epsilon: cut < 3 ? 0.1 : 1e-6 };
    return { options, inputs: { x: normal(draw, [R, D]) }, upstream: normal(draw, [R, cut]) };
  },
  meanPool: (draw) => pool(draw, visible),
  weightedSum: (draw) => pool(draw, (again, B, N) => normal(again, [B, N])),
  matMul(draw) {
    const { rng, sizes } = draw;
    const [N, K, M] = [draw.side(sizes.rows), draw.side(sizes.width), draw.side(sizes.width)];
    const [transposeA, transposeB] = [rng.uniform(2), rng.uniform(2)];
    const inputs = {
      a: normal(draw, transposeA === 1 ? [K, N] : [N, K]),
      b: normal(draw, transposeB === 1 ? [M, K] : [K, M], 1 / Math.sqrt(K)),
    };
    const options = { transposeA, transposeB };
    return { options, inputs, upstream: normal(draw, [N, M]), cancels: CANCELS_TOO };
  },
  gelu: elementwise,
  relu: elementwise,
};

function pool(draw: Draw, weigh: (draw: Draw, B: number, N: number) => Packed): Made {
  const [B, N, D] = [draw.side(4), draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
  const inputs = { x: normal(draw, [B * N, D]) };
  const fixed = { weights: weigh(draw, B, N) };
  return { inputs, fixed, upstream: normal(draw, [B, D]), cancels: CANCELS_TOO };
}

function similarities(draw: Draw): Made {
  const B = draw.side(draw.sizes.rows);
  const inputs = { similarities: normal(draw, [B, B], 5) };
  return { inputs, upstream: scalar(draw), cancels: CANCELS_TOO };
}

function elementwise(draw: Draw): Made {
  const shape = [draw.side(draw.sizes.rows), draw.side(draw.sizes.width)];
  const inputs = { x: normal(draw, shape, 3) };
  return { inputs, upstream: normal(draw, shape), cancels: CANCELS_TOO };
}
