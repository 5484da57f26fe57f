/**
 * L-BFGS: minimises a smooth convex function from its values and gradients. Deterministic, in double precision.
 * Source: Nocedal & Wright, Numerical Optimization, algorithm 7.4 (two loops), with backtracking to Armijo's
 * condition; for a strictly convex function every pair of differences then has positive curvature.
 */
import { assert } from "../../base/errors.ts";

export interface Problem {
  /** Float64Array [n], not mutated. */
  readonly start: Float64Array;
  /** The function's value at x; writes its gradient. */
  evaluate(x: Float64Array, gradient: Float64Array): number;
  /** v ← H₀ v in place: an estimate of the inverse Hessian up to a factor. Absent = identity. */
  precondition?(v: Float64Array): void;
}

export interface LbfgsOptions {
  /** Converged when no entry of the gradient is larger. */
  readonly tolerance: number;
  readonly iterationsMax: number;
}

export interface Minimum {
  readonly x: Float64Array;
  readonly value: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/** Pairs of differences that are remembered. */
const MEMORY = 10;
const ARMIJO = 1e-4;
const BACKTRACKS_MAX = 40;

interface Pair {
  readonly step: Float64Array;
  readonly change: Float64Array;
  readonly curvature: number;
}

export function minimise(problem: Problem, options: LbfgsOptions): Minimum {
  const n = problem.start.length;
  let x: Float64Array = problem.start.slice();
  let gradient: Float64Array = new Float64Array(n);
  let value = problem.evaluate(x, gradient);
  let memory: readonly Pair[] = [];
  for (let iteration = 0; ; iteration++) {
    assert(Number.isFinite(value), "the function to minimise is finite");
    const converged = largest(gradient) <= options.tolerance;
    if (converged || iteration === options.iterationsMax) {
      return { x, value, iterations: iteration, converged };
    }
    const direction = descent(problem, gradient, memory);
    const slope = dot(direction, gradient);
    // The first step has no scale yet: at most length 1.
    let size = memory.length === 0 ? Math.min(1, 1 / Math.sqrt(dot(direction, direction))) : 1;
    let next = { x, gradient, value };
    let found = false;
    for (let tried = 0; tried < BACKTRACKS_MAX && !found; tried++) {
      const candidate = combine(x, direction, size);
      const candidateGradient = new Float64Array(n);
      const candidateValue = problem.evaluate(candidate, candidateGradient);
      found = candidateValue <= value + ARMIJO * size * slope;
      next = { x: candidate, gradient: candidateGradient, value: candidateValue };
      size /= 2;
    }
    // No decrease left that double precision can see: this is the minimum for all we can tell.
    if (!found) return { x, value, iterations: iteration, converged: false };
    const step = combine(next.x, x, -1);
    const change = combine(next.gradient, gradient, -1);
    const curvature = dot(step, change);
    if (curvature > 0) memory = [...memory, { step, change, curvature }].slice(-MEMORY);
    ({ x, gradient, value } = next);
  }
}

/** −H·gradient, H the inverse Hessian as the memory and the preconditioner know it. */
function descent(problem: Problem, gradient: Float64Array, memory: readonly Pair[]): Float64Array {
  const q = gradient.slice();
  const weights = memory.map(() => 0);
  for (let i = memory.length - 1; i >= 0; i--) {
    const pair = memory[i];
    if (pair === undefined) continue;
    const weight = dot(pair.step, q) / pair.curvature;
    weights[i] = weight;
    addScaled(q, pair.change, -weight);
  }
  problem.precondition?.(q);
  const last = memory.at(-1);
  if (last !== undefined) {
    const scaled = last.change.slice();
    problem.precondition?.(scaled);
    const gamma = last.curvature / dot(last.change, scaled);
    for (let i = 0; i < q.length; i++) q[i] = (q[i] ?? 0) * gamma;
  }
  memory.forEach((pair, i) => {
    const weight = dot(pair.change, q) / pair.curvature;
    addScaled(q, pair.step, (weights[i] ?? 0) - weight);
  });
  for (let i = 0; i < q.length; i++) q[i] = -(q[i] ?? 0);
  return q;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

function largest(a: Float64Array): number {
  let max = 0;
  for (const value of a) max = Math.max(max, Math.abs(value));
  return max;
}

/** a += factor · b */
function addScaled(a: Float64Array, b: Float64Array, factor: number): void {
  for (let i = 0; i < a.length; i++) a[i] = (a[i] ?? 0) + factor * (b[i] ?? 0);
}

/** a + factor · b */
function combine(a: Float64Array, b: Float64Array, factor: number): Float64Array {
  const out = a.slice();
  addScaled(out, b, factor);
  return out;
}
