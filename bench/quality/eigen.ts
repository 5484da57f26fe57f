/**
 * Eigenvalues and eigenvectors of a real symmetric matrix in double precision: Householder reflections to
 * tridiagonal form, then QL steps with implicit shifts. About n³ multiplications for the values alone.
 * Source: Golub & Van Loan, Matrix Computations, 8.3; Wilkinson & Reinsch 1971, tred2 and tql2.
 */
import { assert, InvariantError } from "../../base/errors.ts";

export interface Eigen {
  /** Float64Array [n], descending. */
  readonly values: Float64Array;
  /** Float64Array [wanted × n]: unit vectors, row i belongs to values[i]; each row's largest entry is positive. */
  readonly vectors: Float64Array;
}

/** QL steps for one eigenvalue at most; two or three are usual. */
const STEPS_MAX = 60;

/**
 * @param matrix Float64Array [n × n], symmetric, not mutated; only its lower triangle is read
 * @param vectorCount how many eigenvectors are wanted, of the largest eigenvalues: 0 … n
 */
export function symmetricEigen(matrix: Float64Array, n: number, vectorCount: number): Eigen {
  assert(matrix.length === n * n, `${matrix.length} values are no ${n}×${n} matrix`);
  assert(vectorCount >= 0 && vectorCount <= n, `${vectorCount} of ${n} eigenvectors`);
  const { diagonal, offDiagonal, reflectors, scales } = tridiagonalise(matrix, n);
  const rotated = vectorCount > 0 ? identity(n) : undefined;
  implicitQl(diagonal, offDiagonal, rotated);
  const order = Array.from(diagonal.keys()).sort(
    (a, b) => (diagonal[b] ?? 0) - (diagonal[a] ?? 0) || a - b,
  );
  const vectors = new Float64Array(vectorCount * n);
  if (rotated !== undefined) {
    for (let i = 0; i < vectorCount; i++) {
      const from = (order[i] ?? 0) * n;
      const vector = vectors.subarray(i * n, (i + 1) * n);
      vector.set(rotated.subarray(from, from + n));
      applyReflectors(vector, reflectors, scales, n);
      orient(vector);
    }
  }
  return { values: Float64Array.from(order, (at) => diagonal[at] ?? 0), vectors };
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** offDiagonal[i] couples i and i + 1; the last entry is 0. */
  readonly offDiagonal: Float64Array;
  /** Row k holds the Householder vector v_k, non-zero from position k + 1 on. */
  readonly reflectors: Float64Array;
  /** H_k = I − scales[k] · v_k v_kᵀ */
  readonly scales: Float64Array;
}

/** Qᵀ A Q = T with Q = H_0 H_1 … H_{n−3}. */
function tridiagonalise(matrix: Float64Array, n: number): Tridiagonal {
  const a = matrix.slice();
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) a[i * n + j] = a[j * n + i] ?? 0;
  }
  const reflectors = new Float64Array(n * n);
  const scales = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  const w = new Float64Array(n);
  for (let k = 0; k + 1 < n; k++) {
    const v = reflectors.subarray(k * n, (k + 1) * n);
    let norm = 0;
    for (let i = k + 1; i < n; i++) {
      v[i] = a[k * n + i] ?? 0; // row k of a symmetric matrix is its column k
      norm += (v[i] ?? 0) ** 2;
    }
    norm = Math.sqrt(norm);
    const head = v[k + 1] ?? 0;
    const tail = k + 2 < n ? norm : 0;
    if (tail === 0) {
      offDiagonal[k] = head;
      v.fill(0);
      continue;
    }
    // The sign that adds, not subtracts: no digits are lost.
    const target = head >= 0 ? -norm : norm;
    v[k + 1] = head - target;
    offDiagonal[k] = target;
    const scale = 1 / (norm * (norm + Math.abs(head))); // 2 / vᵀv
    scales[k] = scale;
    // w = scale · A v, then w −= (scale/2)(wᵀv) v, and A −= v wᵀ + w vᵀ.
    let product = 0;
    for (let i = k + 1; i < n; i++) {
      let sum = 0;
      const row = i * n;
      for (let j = k + 1; j < n; j++) sum += (a[row + j] ?? 0) * (v[j] ?? 0);
      w[i] = sum * scale;
      product += (w[i] ?? 0) * (v[i] ?? 0);
    }
    const half = (scale / 2) * product;
    for (let i = k + 1; i < n; i++) w[i] = (w[i] ?? 0) - half * (v[i] ?? 0);
    for (let i = k + 1; i < n; i++) {
      const row = i * n;
      const vi = v[i] ?? 0;
      const wi = w[i] ?? 0;
      for (let j = k + 1; j < n; j++) {
        a[row + j] = (a[row + j] ?? 0) - vi * (w[j] ?? 0) - wi * (v[j] ?? 0);
      }
    }
  }
  const diagonal = Float64Array.from({ length: n }, (_, i) => a[i * n + i] ?? 0);
  return { diagonal, offDiagonal, reflectors, scales };
}

/** Diagonalises T in place; the rotations are applied to the rows of `z`, if given. */
function implicitQl(d: Float64Array, e: Float64Array, z: Float64Array | undefined): void {
  const n = d.length;
  // Relative to the whole matrix: where it is singular, diagonal and coupling are both rounding, and a test
  // against the neighbours alone would never end.
  const lost =
    Number.EPSILON * d.reduce((max, v, i) => Math.max(max, Math.abs(v) + Math.abs(e[i] ?? 0)), 0);
  for (let l = 0; l < n; l++) {
    for (let step = 0; ; step++) {
      const m = firstSmall(e, l, lost);
      if (m === l) break;
      if (step === STEPS_MAX) throw new InvariantError(`no eigenvalue after ${STEPS_MAX} QL steps`);
      qlStep(d, e, z, l, m);
    }
  }
}

/** The first m ≥ l whose coupling to m + 1 is lost in rounding; the last one has none. */
function firstSmall(e: Float64Array, l: number, lost: number): number {
  let m = l;
  while (m < e.length - 1 && Math.abs(e[m] ?? 0) > lost) m++;
  return m;
}

/** One implicit QL step on the unreduced block l … m. */
function qlStep(
  d: Float64Array,
  e: Float64Array,
  z: Float64Array | undefined,
  l: number,
  m: number,
): void {
  const n = d.length;
  const at = (array: Float64Array, i: number): number => array[i] ?? 0;
  // Wilkinson's shift: the eigenvalue of the leading 2×2 block that is nearer to d[l].
  let g = (at(d, l + 1) - at(d, l)) / (2 * at(e, l));
  const root = Math.hypot(g, 1);
  g = at(d, m) - at(d, l) + at(e, l) / (g + (g >= 0 ? root : -root));
  let s = 1;
  let c = 1;
  let p = 0;
  for (let i = m - 1; i >= l; i--) {
    const f = s * at(e, i);
    const b = c * at(e, i);
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // The block splits here: leave, the caller looks for the new block.
      d[i + 1] = at(d, i + 1) - p;
      e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    const shifted = at(d, i + 1) - p;
    const mixed = (at(d, i) - shifted) * s + 2 * c * b;
    p = s * mixed;
    d[i + 1] = shifted + p;
    g = c * mixed - b;
    if (z !== undefined) {
      const low = i * n;
      const high = low + n;
      for (let k = 0; k < n; k++) {
        const x = z[low + k] ?? 0;
        const y = z[high + k] ?? 0;
        z[high + k] = s * x + c * y;
        z[low + k] = c * x - s * y;
      }
    }
  }
  d[l] = at(d, l) - p;
  e[l] = g;
  e[m] = 0;
}

/** x ← Q x = H_0 (H_1 (… x)). */
function applyReflectors(
  x: Float64Array,
  reflectors: Float64Array,
  scales: Float64Array,
  n: number,
): void {
  for (let k = n - 2; k >= 0; k--) {
    const scale = scales[k] ?? 0;
    if (scale === 0) continue;
    const row = k * n;
    let product = 0;
    for (let i = k + 1; i < n; i++) product += (reflectors[row + i] ?? 0) * (x[i] ?? 0);
    product *= scale;
    for (let i = k + 1; i < n; i++) {
      x[i] = (x[i] ?? 0) - product * (reflectors[row + i] ?? 0);
    }
  }
}

/** An eigenvector's sign is free: the largest entry (the first of equals) is made positive. */
function orient(vector: Float64Array): void {
  let largest = 0;
  for (const value of vector) if (Math.abs(value) > Math.abs(largest)) largest = value;
  if (largest < 0) for (let i = 0; i < vector.length; i++) vector[i] = -(vector[i] ?? 0);
}

function identity(n: number): Float64Array {
  const z = new Float64Array(n * n);
  for (let i = 0; i < n; i++) z[i * n + i] = 1;
  return z;
}
