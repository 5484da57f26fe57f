/** Every op on stored and on large cases, as plain numbers: for processes that compute on other backends and threads. */
import { fusedKernels, startBackend, tf } from "../../models/backend.ts";
import { AdamW, globalNorm } from "../../training/optimizer.ts";
import { evaluate, readOpVectors, tensorOf, type OpResult } from "./ops-cases.ts";
import { largeCase } from "./ops-random.ts";
import { OPS } from "./ops-table.ts";

export interface OpAnswers {
  readonly backend: string;
  readonly threads: number;
  readonly fused: readonly string[];
  /** In the order of the file. */
  readonly stored: readonly OpResult[];
  /** By op; empty if they were not asked for. */
  readonly large: Readonly<Record<string, LargeAnswer>>;
}

/** float32 values as base64: exact, and short enough for many of them. */
export interface LargeAnswer {
  readonly output: string;
  readonly gradients: Readonly<Record<string, string>>;
}

/**
 * Sides that no vector length divides, and at least the 4e5 numbers' work from which a kernel takes a second thread
 * (native/parallel.h), in the forward pass and in the gradient.
 */
const SIZES: Readonly<Record<string, { readonly rows: number; readonly width: number }>> = {
  layerNorm: { rows: 1631, width: 257 },
  linear: { rows: 263, width: 259 },
  attention: { rows: 131, width: 99 },
  maskedSoftmax: { rows: 1039, width: 401 },
  softmaxCrossEntropy: { rows: 517, width: 303 },
  infoNceLoss: { rows: 391, width: 1 },
  sigmoidLoss: { rows: 393, width: 1 },
  gatherRows: { rows: 29, width: 8209 },
  l2Normalise: { rows: 1633, width: 259 },
  unitPrefix: { rows: 1621, width: 253 },
  meanPool: { rows: 261, width: 407 },
  weightedSum: { rows: 259, width: 409 },
  matMul: { rows: 257, width: 269 },
  gelu: { rows: 513, width: 333 },
  relu: { rows: 511, width: 331 },
};

/**
 * @param vectorsPath  of ops.json, which does not travel with a copy of the program
 * @param large  the large cases too, and AdamW on large parameters
 */
export async function answerOps(vectorsPath: string, large: boolean): Promise<OpAnswers> {
  const { name, threads } = await startBackend();
  const answer = (op: string, given: Parameters<typeof evaluate>[1]): OpResult => {
    const entry = OPS[op];
    if (entry === undefined) throw new Error(`no op ${op}`);
    return evaluate(entry.face, given);
  };
  const stored = readOpVectors(vectorsPath).cases.map((given) => plain(answer(given.op, given)));
  const answers: Record<string, LargeAnswer> = {};
  if (large) {
    for (const [op, sizes] of Object.entries(SIZES))
      answers[op] = encoded(answer(op, largeCase(op, sizes)));
    answers["AdamW"] = trainLarge();
  }
  return { backend: name, threads, fused: fusedKernels(), stored, large: answers };
}

/** Three updates of parameters that are large enough to be shared out; the norm of their gradients as well. */
function trainLarge(): LargeAnswer {
  const { x = missing() } = largeCase("gelu", { rows: 407, width: 409 }).inputs;
  const variable = tf.tidy(() => tf.variable(tensorOf(x)));
  const gradient = Float32Array.from(x.values, (value, i) => Math.sin(i) * value);
  const optimizer = new AdamW(new Map([["w", variable]]), {
    betas: [0.9, 0.99],
    epsilon: 1e-8,
    weightDecay: 0.1,
  });
  const gradients = new Map([["w", gradient]]);
  const norm = globalNorm(gradients);
  for (let step = 0; step < 3; step++)
    optimizer.update(gradients, { learningRate: 0.01, gradientScale: 1 / norm });
  const output = variable.dataSync<"float32">().slice();
  optimizer.dispose();
  variable.dispose();
  return encoded({ output, gradients: { norm: [norm] } });
}

function missing(): never {
  throw new Error("the case has no x");
}

/** As JSON holds it: −0 is lost, nothing else. */
function plain({ output, gradients }: OpResult): OpResult {
  return {
    output: Array.from(output),
    gradients: Object.fromEntries(
      Object.entries(gradients).map(([name, values]) => [name, Array.from(values)]),
    ),
  };
}

function encoded({ output, gradients }: OpResult): LargeAnswer {
  return {
    output: toBase64(output),
    gradients: Object.fromEntries(
      Object.entries(gradients).map(([name, values]) => [name, toBase64(values)]),
    ),
  };
}

function toBase64(values: ArrayLike<number>): string {
  return Buffer.from(Float32Array.from(values).buffer).toString("base64");
}

export function fromBase64(text: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(text, "base64"));
  return new Float32Array(bytes.buffer);
}
