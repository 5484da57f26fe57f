/** Products in bfloat16 beside their oracle, for a process that computes in it: precision is fixed at a process's start. */
import { SomaError } from "../../base/errors.ts";
import { startBackend, type Tensor } from "../../models/backend.ts";
import { matMul } from "../../models/ops/mat-mul.ts";
import { evaluate, type OpInput, type Packed } from "./ops-cases.ts";
import { largeCase } from "./ops-random.ts";

export interface Bf16Answer {
  /** Why this machine has none; absent if it has. */
  readonly refused?: string;
  /** Of each case, the largest gap as a share of the largest number. */
  readonly gaps: readonly number[];
}

/** Rows, depth and columns of a product. */
export type ProductSize = readonly [number, number, number];

/** Each size with each side transposed or not: four gaps a size, in the order of the two bits. */
export async function bf16Products(sizes: readonly ProductSize[]): Promise<Bf16Answer> {
  try {
    await startBackend({ precision: "bf16" });
  } catch (error) {
    if (error instanceof SomaError) return { refused: error.message, gaps: [] };
    throw error;
  }
  return { gaps: sizes.flatMap((size) => [0, 1, 2, 3].map((bits) => gapOf(size, bits))) };
}

function gapOf([N, K, M]: ProductSize, bits: number): number {
  const [transposeA, transposeB] = [(bits & 2) !== 0, (bits & 1) !== 0];
  const given: OpInput = {
    op: "matMul",
    name: "bf16",
    inputs: {
      a: numbers(transposeA ? [K, N] : [N, K]),
      b: numbers(transposeB ? [M, K] : [K, M]),
    },
    upstream: numbers([N, M]),
  };
  const multiply = ({ a, b }: Readonly<Record<string, Tensor>>): Tensor =>
    matMul(a as Tensor, b as Tensor, transposeA, transposeB);
  const { output } = evaluate(multiply, given);
  const left = rounded(given.inputs["a"]);
  const right = rounded(given.inputs["b"]);
  let [gap, most] = [0, 0];
  for (let n = 0; n < N; n++) {
    for (let m = 0; m < M; m++) {
      let sum = 0;
      for (let k = 0; k < K; k++) {
        const a = left[transposeA ? k * N + n : n * K + k] ?? Number.NaN;
        const b = right[transposeB ? m * K + k : k * M + m] ?? Number.NaN;
        sum += a * b;
      }
      const difference = Math.abs(sum - (output[n * M + m] ?? Number.NaN));
      gap = difference > gap || Number.isNaN(difference) ? difference : gap;
      most = Math.max(most, Math.abs(sum));
    }
  }
  return gap / most;
}

function numbers([rows = 1, width = 1]: readonly number[]): Packed {
  const { x } = largeCase("l2Normalise", { rows, width }).inputs;
  if (x === undefined) throw new Error("the case has no x");
  return x;
}

/** To the nearest number with 8 bits of mantissa, ties to even. */
function rounded(packed: Packed | undefined): Float32Array {
  const values = Float32Array.from(packed?.values ?? []);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] ?? 0;
    bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
  return values;
}
