/**
 * The linear probe: how much of the label can a linear map read off frozen embeddings? One fixed recipe for
 * every encoder and floor: features standardised by the training rows (mean and standard deviation; sparse rows
 * by the deviation alone, so that they stay sparse), multinomial logistic regression with an L2 penalty,
 * C = 0.01, solved to the optimum by L-BFGS. It is scikit-learn's StandardScaler + LogisticRegression(C=0.01),
 * the oracle of the test. C was fixed once, on floors alone: of 1, 0.1, 0.01 and 0.001 it is the best for raw
 * pixels and for PCA of the emoji set.
 */
import { assert } from "../../base/errors.ts";
import { DenseDesign, designOf, type Design } from "./design.ts";
import { minimise } from "./lbfgs.ts";
import type { DenseMatrix, Matrix } from "./matrix.ts";

/** Inverse strength of the penalty, as scikit-learn defines it: mean loss + |W|² / (2·C·rows). */
export const PROBE_C = 0.01;
/** Converged when no entry of the mean loss's gradient is larger (scikit-learn's own default is 1e-4). */
const TOLERANCE = 1e-5;
const ITERATIONS_MAX = 300;

/** Classes at most: time grows with them, and labels that are nearly unique teach a probe nothing. */
export const PROBE_CLASSES_MAX = 500;

export interface ProbeResult {
  /** Share of test rows whose most likely class is right, 0 … 1. */
  readonly accuracy: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/** @returns undefined if the training rows have fewer than two classes or too many, or there are no test rows */
export function linearProbe(
  train: { readonly matrix: Matrix; readonly labels: readonly string[] },
  test: { readonly matrix: Matrix; readonly labels: readonly string[] },
): ProbeResult | undefined {
  assert(train.matrix.count === train.labels.length, "a label per training row");
  assert(test.matrix.count === test.labels.length, "a label per test row");
  const classes = [...new Set(train.labels)].sort();
  if (classes.length < 2 || classes.length > PROBE_CLASSES_MAX) return undefined;
  if (test.labels.length === 0) return undefined;
  const { design, toTestDesign } = designOf(train.matrix);
  const classOf = new Map(classes.map((label, index) => [label, index]));
  const targets = Int32Array.from(train.labels, (label) => classOf.get(label) ?? 0);
  const fit = fitLogistic(design, targets, classes.length, PROBE_C);
  const testDesign = toTestDesign(test.matrix);
  const scores = new Float64Array(testDesign.count * classes.length);
  testDesign.scores(fit.weights, classes.length, scores);
  let right = 0;
  test.labels.forEach((label, i) => {
    let best = 0;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < classes.length; k++) {
      const score = (scores[i * classes.length + k] ?? 0) + (fit.biases[k] ?? 0);
      if (score > bestScore) {
        best = k;
        bestScore = score;
      }
    }
    if (classes[best] === label) right++;
  });
  return {
    accuracy: right / test.labels.length,
    iterations: fit.iterations,
    converged: fit.converged,
  };
}

export interface LogisticFit {
  /** Float64Array [classes × dimension] */
  readonly weights: Float64Array;
  /** Float64Array [classes], not penalised; they sum to 0. */
  readonly biases: Float64Array;
  /** Mean cross-entropy + penalty at the optimum, in nats. */
  readonly loss: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/** Multinomial logistic regression on dense rows as they are, without standardising: what the oracle's weights are compared with. */
export function fitDenseLogistic(
  matrix: DenseMatrix,
  targets: Int32Array,
  options: { readonly classes: number; readonly c: number },
): LogisticFit {
  const x = Float64Array.from(matrix.values);
  const design = new DenseDesign(x, matrix.count, matrix.dimension);
  return fitLogistic(design, targets, options.classes, options.c);
}

function fitLogistic(design: Design, targets: Int32Array, classes: number, c: number): LogisticFit {
  const { count: n, dimension: d } = design;
  const penalty = 1 / (c * n);
  const size = classes * d;
  const scores = new Float64Array(n * classes);
  const solve = design.preconditioner(penalty);
  const result = minimise(
    {
      start: new Float64Array(size + classes),
      evaluate(x, gradient) {
        const weights = x.subarray(0, size);
        const biases = x.subarray(size);
        design.scores(weights, classes, scores);
        let loss = softmaxResiduals(scores, biases, targets, gradient.subarray(size)) / n;
        design.pullback(scores, classes, gradient.subarray(0, size));
        for (let i = 0; i < size; i++) {
          const weight = weights[i] ?? 0;
          loss += (penalty / 2) * weight * weight;
          gradient[i] = (gradient[i] ?? 0) / n + penalty * weight;
        }
        for (let k = size; k < gradient.length; k++) gradient[k] = (gradient[k] ?? 0) / n;
        return loss;
      },
      // Böhning's bound: the Hessian is at most ½ (I − 11ᵀ/K) ⊗ XᵀX/n, and its inverse turns hundreds of
      // iterations on correlated features into tens. Centred features leave the biases a block of their own.
      precondition(v) {
        for (let k = 0; k < classes; k++) solve(v.subarray(k * d, (k + 1) * d));
        for (let k = size; k < v.length; k++) v[k] = 2 * (v[k] ?? 0);
      },
    },
    { tolerance: TOLERANCE, iterationsMax: ITERATIONS_MAX },
  );
  return {
    weights: result.x.subarray(0, size),
    biases: result.x.subarray(size),
    loss: result.value,
    iterations: result.iterations,
    converged: result.converged,
  };
}

/**
 * Scores [n × classes] become residuals softmax − onehot, in place; their column sums go to `sums`.
 * @returns summed cross-entropy in nats
 */
function softmaxResiduals(
  scores: Float64Array,
  biases: Float64Array,
  targets: Int32Array,
  sums: Float64Array,
): number {
  const classes = biases.length;
  sums.fill(0);
  let loss = 0;
  for (let i = 0; i < targets.length; i++) {
    const row = scores.subarray(i * classes, (i + 1) * classes);
    let max = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < classes; k++) {
      row[k] = (row[k] ?? 0) + (biases[k] ?? 0);
      max = Math.max(max, row[k] ?? 0);
    }
    const target = targets[i] ?? 0;
    const own = (row[target] ?? 0) - max;
    let total = 0;
    for (let k = 0; k < classes; k++) {
      row[k] = Math.exp((row[k] ?? 0) - max);
      total += row[k] ?? 0;
    }
    loss += Math.log(total) - own;
    for (let k = 0; k < classes; k++) {
      row[k] = (row[k] ?? 0) / total - (k === target ? 1 : 0);
      sums[k] = (sums[k] ?? 0) + (row[k] ?? 0);
    }
  }
  return loss;
}
