/**
 * Times one training step as the trainer does it (training/gradients.ts and training/optimizer.ts), and one forward
 * pass without gradients, on a vision transformer that learns one batch by heart.
 */
import { setImmediate } from "node:timers/promises";
import { present } from "../../base/errors.ts";
import { SILENT, type Progress } from "../../base/progress.ts";
import {
  fusedKernels,
  readValues,
  startBackend,
  tf,
  type Rank,
  type Tensor1D,
  type Tensor2D,
} from "../../models/backend.ts";
import { parseEncoderConfig } from "../../models/config.ts";
import { Scope } from "../../models/module.ts";
import type { Precision } from "../../models/precision.ts";
import { softmaxCrossEntropy } from "../../models/ops/cross-entropy.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { assertFinite, computeGradients } from "../../training/gradients.ts";
import { AdamW } from "../../training/optimizer.ts";
import type { PreparedStep } from "../../training/objective.ts";
import { setThreads } from "./engine.ts";
import { median } from "./statistics.ts";
import { CLASSES, PATCH_NUMBERS, Vit, type VitShape } from "./vit.ts";

const LEARNING_RATE = 1e-3;
const ADAM = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0 } as const;
/** Times that memory is looked at, at most: enough to see a slope. */
const MEMORY_SAMPLES = 20;

export interface TrainStepOptions extends VitShape {
  readonly batch: number;
  /** Steps that count, and forward passes that count. */
  readonly steps: number;
  /** Steps and forward passes before those. */
  readonly warmup: number;
  readonly seed: number;
  readonly precision: Precision;
  /** Default: one a core. */
  readonly threads?: number;
  readonly progress?: Progress;
}

export interface MemorySample {
  /** Steps done. */
  readonly step: number;
  readonly rssMiB: number;
  readonly tensors: number;
}

export interface TrainStepResult extends VitShape {
  readonly engine: string;
  readonly threads: number;
  /** Median of the steps that count. */
  readonly stepMs: number;
  /** Median of the forward passes that count. */
  readonly forwardMs: number;
  /** Largest resident memory of the process so far. */
  readonly peakRssMiB: number;
  /** Tensors after the steps that count, less those before. */
  readonly tensorsLeaked: number;
  readonly batch: number;
  readonly steps: number;
  readonly warmup: number;
  readonly seed: number;
  readonly precision: Precision;
  /** Our own kernels in force. */
  readonly fused: readonly string[];
  readonly weights: number;
  /** Of the first step that counts and of the last: a step that learns nothing is no step. */
  readonly loss: { readonly first: number; readonly last: number };
  readonly memory: readonly MemorySample[];
}

/** Starts the backend, and leaves no tensors. @throws SomaError BAD_BACKEND, NOT_FINITE */
export async function measureTrainStep(options: TrainStepOptions): Promise<TrainStepResult> {
  const { width, layers, heads, tokens, batch, steps, warmup, seed, precision } = options;
  setThreads(options.threads);
  const backend = await startBackend({ precision });
  const scope = Scope.root(seededRng(seed, "bench/train-step"));
  const vit = new Vit(scope, { width, layers, heads, tokens });
  const inputs = drawInputs(batch * tokens, batch, seed);
  try {
    const timed = await timeSteps(vit, scope, inputs, options);
    const forwardMs = await timeForward(vit, inputs.patches, options);
    return {
      engine: backend.detail,
      threads: backend.threads,
      stepMs: timed.stepMs,
      forwardMs,
      peakRssMiB: process.resourceUsage().maxRSS / 1024,
      tensorsLeaked: timed.tensorsLeaked,
      ...{ width, layers, heads, tokens, batch, steps, warmup, seed, precision },
      fused: fusedKernels(),
      weights: [...scope.parameters().values()].reduce((sum, { size }) => sum + size, 0),
      loss: timed.loss,
      memory: timed.memory,
    };
  } finally {
    tf.dispose([inputs.patches, inputs.labels]);
    scope.dispose();
  }
}

interface Inputs {
  readonly patches: Tensor2D;
  readonly labels: Tensor1D;
}

function drawInputs(rows: number, batch: number, seed: number): Inputs {
  const rng = seededRng(seed, "bench/labels");
  return {
    patches: tf.randomNormal<Rank.R2>([rows, PATCH_NUMBERS], 0, 1, "float32", seed + 1),
    labels: tf.tensor1d(
      Array.from({ length: batch }, () => rng.uniform(CLASSES)),
      "int32",
    ),
  };
}

async function timeSteps(
  vit: Vit,
  scope: Scope,
  { patches, labels }: Inputs,
  { batch, steps, warmup, progress = SILENT }: TrainStepOptions,
): Promise<Pick<TrainStepResult, "stepMs" | "tensorsLeaked" | "loss" | "memory">> {
  // The trainer's step hands its encoder to the loss; this loss brings its own network, so one without towers will do.
  const encoder = new TransformerEncoder(
    parseEncoderConfig({ architecture: "transformer", dimension: 1, matryoshka: [1] }),
    seededRng(0, "bench/none"),
  );
  const prepared: PreparedStep = {
    exampleCount: batch,
    loss: () => ({ total: softmaxCrossEntropy(vit.forward(patches, batch), labels), parts: {} }),
  };
  const parameters = scope.parameters();
  const adam = new AdamW(parameters, ADAM);
  const step = (index: number): number => {
    const gradients = computeGradients([prepared], encoder, parameters);
    assertFinite(gradients, index);
    adam.update(gradients.arrays, { learningRate: LEARNING_RATE, gradientScale: 1 });
    return gradients.loss;
  };
  for (let i = 0; i < warmup; i++) step(i);

  const timesMs = new Float64Array(steps);
  const losses = new Float64Array(steps);
  const memory: MemorySample[] = [memorySample(0)];
  for (let i = 0; i < steps; i++) {
    const startMs = performance.now();
    losses[i] = step(warmup + i);
    timesMs[i] = performance.now() - startMs;
    if (sampleIsDue(i + 1, steps)) memory.push(memorySample(i + 1));
    progress.update({ done: i + 1, total: steps, note: `${timesMs[i]?.toFixed(1) ?? ""} ms` });
    await setImmediate(); // as in training: signals are delivered between steps
  }
  progress.finish();
  adam.dispose();
  const [before, after] = [present(memory[0], "a sample"), present(memory.at(-1), "a sample")];
  return {
    stepMs: median([...timesMs]),
    tensorsLeaked: after.tensors - before.tensors,
    loss: { first: losses[0] ?? Number.NaN, last: losses.at(-1) ?? Number.NaN },
    memory,
  };
}

async function timeForward(
  vit: Vit,
  patches: Tensor2D,
  { batch, steps, warmup }: TrainStepOptions,
): Promise<number> {
  const timesMs = new Float64Array(steps);
  for (let i = -warmup; i < steps; i++) {
    const startMs = performance.now();
    readValues(() => tf.sum(vit.forward(patches, batch)));
    if (i >= 0) timesMs[i] = performance.now() - startMs;
    await setImmediate();
  }
  return median([...timesMs]);
}

function sampleIsDue(step: number, steps: number): boolean {
  const every = Math.max(1, Math.floor(steps / MEMORY_SAMPLES));
  return step % every === 0 || step === steps;
}

function memorySample(step: number): MemorySample {
  return {
    step,
    rssMiB: process.memoryUsage.rss() / 2 ** 20,
    tensors: tf.memory().numTensors,
  };
}
