/**
 * The training loop, top to bottom: batch → gradients → clip → schedule → AdamW → average → log → validate →
 * checkpoint. Everything random is a function of (seed, step), so that a resumed run is the same run.
 */
import { setImmediate } from "node:timers/promises";
import { assert, SomaError } from "../base/errors.ts";
import type { FolderWriteOptions } from "../base/folders.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import { tf, type Variable } from "../models/backend.ts";
import { Budget } from "./budget.ts";
import { prepareStep, stateOf } from "./combine.ts";
import type { ValidationScores } from "./evaluate.ts";
import type { Experiment } from "./experiment.ts";
import { assertFinite, computeGradients, type StepGradients } from "./gradients.ts";
import type { Input } from "./input/input.ts";
import { inputWorkerCount, openInput } from "./input/open.ts";
import { InputWait, percent } from "./input/wait.ts";
import { Keeper } from "./keeper.ts";
import type { EmbeddingStep } from "./objective.ts";
import { AdamW, clipScale, under, WeightAverage } from "./optimizer.ts";
import type { Crew } from "./parallel/crew.ts";
import type { SpreadGradients } from "./parallel/spread.ts";
import type { RunFolder } from "./run-folder.ts";
import { learningRateAt } from "./schedule.ts";
import type { TrainState } from "./state.ts";

export interface TrainOptions {
  /** Where a saved run goes on; `run` was reopened at its step. */
  readonly resume?: TrainState;
  /** Aborted: the loop saves and throws the signal's reason. */
  readonly signal?: AbortSignal;
  readonly progress?: Progress;
  readonly warn?: (sentence: string) => void;
  /** Train on the first N batches over and over: a sound objective drives their loss to its floor. */
  readonly overfitBatches?: number;
  /** The other processes, if this one does not train alone; they stay the caller's to close. */
  readonly crew?: Crew;
  /** How checkpoints reach the disk; given by tests to fail where a disk would. */
  readonly write?: FolderWriteOptions;
}

export interface TrainResult {
  /** Updates of the weights, earlier sessions included. */
  readonly steps: number;
  /** Wall time of the loop, earlier sessions included, start-up not. */
  readonly seconds: number;
  /** Sequences embedded per second of this session. */
  readonly examplesPerSecond: number;
  /** 0 … 1: share of this session's step time that went by waiting for data. */
  readonly inputWaitShare: number;
  /** Of the last step; NaN if this session made none. */
  readonly loss: number;
  /** Undefined if there is nothing to validate on. */
  readonly validation: ValidationScores | undefined;
  readonly best: { readonly step: number; readonly score: number } | undefined;
}

/**
 * Train until the budget is spent. The experiment stays the caller's to dispose.
 * @throws SomaError NOT_FINITE (failure), DISK_FULL (resources), what the input throws (input/input.ts), what a crew
 *   throws (parallel/crew.ts), or the signal's reason. In each case the checkpoints that were saved before stand whole;
 *   of the last three, the newest step is saved.
 */
export async function train(
  experiment: Experiment,
  run: RunFolder,
  options: TrainOptions = {},
): Promise<TrainResult> {
  const { config, samplers, inputJob: job } = experiment;
  const input = openInput(
    { samplers, job },
    {
      first: (options.resume?.counters.step ?? 0) * config.accumulate,
      overfitBatches: options.overfitBatches,
      workers: inputWorkerCount(config),
      takes: config.accumulate,
      part: options.crew?.part,
      signal: options.signal,
    },
  );
  const weights = openWeights(experiment, options);
  try {
    return await trainOn(input, weights, experiment, run, options);
  } finally {
    weights.optimizer.dispose();
    weights.average?.dispose();
    await input.close();
  }
}

interface TrainedWeights {
  readonly optimizer: AdamW;
  readonly average: WeightAverage | undefined;
}

/** As they were saved, if a run is resumed. */
function openWeights(
  { config, parameters, losses }: Experiment,
  { resume }: TrainOptions,
): TrainedWeights {
  const optimizer = new AdamW(parameters, config);
  if (resume !== undefined) {
    optimizer.restore(resume.adam);
    for (const loss of losses) stateOf(loss)?.restore(under(`${loss.name}/`, resume.kept));
  }
  if (config.ema === 0) return { optimizer, average: undefined };
  const start = resume?.average ?? optimizer.weights;
  return { optimizer, average: new WeightAverage(config.ema, start, resume?.counters.step) };
}

async function trainOn(
  input: Input,
  { optimizer, average }: TrainedWeights,
  experiment: Experiment,
  run: RunFolder,
  options: TrainOptions,
): Promise<TrainResult> {
  const { config, losses, parameters } = experiment;
  const { resume, signal, crew, progress = SILENT, warn = () => undefined, write = {} } = options;
  const counters = resume?.counters;
  const keeper = new Keeper({ experiment, run, optimizer, average, counters, warn, write });
  const budget = new Budget(config, counters?.elapsedS ?? 0);

  const firstStep = counters?.step ?? 0;
  let step = firstStep; // updates done
  let exampleCount = 0;
  let loss = Number.NaN;
  const wait = new InputWait();
  budget.planValidation(keeper.rehearse(step));
  // A run that is killed before its first checkpoint can be resumed too.
  if (resume === undefined) await keeper.saveState({ step, seconds: 0 });
  await crew?.begin();
  /** What was trained is sound, whatever became of others. What the first step begins with is saved already. */
  const saveAndThrow = async (error: unknown): Promise<never> => {
    const isSound = !(error instanceof SomaError && error.code === "WORKERS_DIFFER");
    if (isSound && step > firstStep) await keeper.save({ step, seconds: budget.elapsedS });
    throw error;
  };
  budget.start();
  while (!budget.isSpent(step)) {
    const tensorCount = tf.memory().numTensors;
    wait.begin();
    const drawn = await input.take(config.accumulate).catch(saveAndThrow);
    wait.arrived();
    const batches = drawn.map((batch, i) =>
      prepareStep(batch, losses, step * config.accumulate + i),
    );
    const rate = learningRateAt(budget.progress(step), config);
    const gradients = await (crew === undefined
      ? ownGradients(batches, experiment)
      : crew.gradients(batches, { learningRate: rate }).catch(saveAndThrow));
    assertFinite(gradients, step);
    if (step === firstStep) warnOfIdle(gradients, parameters, warn);
    const gradientScale = clipScale(gradients.norm, config.clipNorm);
    optimizer.update(gradients.arrays, { learningRate: rate, gradientScale });
    average?.update(optimizer.live);
    for (const loss of losses) stateOf(loss)?.afterUpdate(optimizer.live);
    const leaked = tf.memory().numTensors - tensorCount;
    // The first step may build constants that stay.
    assert(leaked === 0 || step === firstStep, `step ${step + 1} leaks ${leaked} tensors`);

    wait.end();
    step++;
    loss = gradients.loss;
    exampleCount += gradients.exampleCount;
    await crew?.compareWeights(step).catch(saveAndThrow);
    if (step % config.logEverySteps === 0 || step === 1) {
      run.log({
        kind: "train",
        step,
        seconds: budget.elapsedS,
        loss,
        ...prefixed(gradients.parts),
        learningRate: rate,
        gradientNorm: gradients.norm,
        examplesPerSecond: exampleCount / budget.sessionS,
        inputWaitShare: wait.recentShare(),
      });
    }
    progress.update({
      ...budget.shown(step),
      count: step - firstStep,
      note: `loss ${loss.toFixed(3)}, ${percent(wait.share)} waiting for data`,
    });

    const now = { step, seconds: budget.elapsedS };
    if (config.collapse.everySteps > 0 && step % config.collapse.everySteps === 0)
      keeper.watch(now);
    if (budget.validationIsDue(step)) await budget.timeValidation(() => keeper.validate(now));
    if (budget.checkpointIsDue()) await budget.timeSave(() => keeper.save(now));
    await setImmediate(); // Signals are delivered between steps.
    if (signal?.aborted === true) {
      await keeper.save({ step, seconds: budget.elapsedS });
      throw signal.reason;
    }
  }
  await keeper.validate({ step, seconds: budget.elapsedS });
  await keeper.save({ step, seconds: budget.elapsedS });
  const seconds = budget.elapsedS;
  progress.finish();
  return {
    steps: step,
    seconds,
    examplesPerSecond: exampleCount / budget.sessionS,
    inputWaitShare: wait.share,
    loss,
    validation: keeper.scores,
    best: keeper.best,
  };
}

/** As a crew gives them, by this process alone. */
function ownGradients(
  batches: readonly EmbeddingStep[],
  { encoder, parameters }: Experiment,
): SpreadGradients {
  const exampleCount = batches.reduce((sum, batch) => sum + batch.exampleCount, 0);
  return { ...computeGradients(batches, encoder, parameters), exampleCount };
}

/** Parts of the loss under names of their own: "loss/contrastive". */
function prefixed(parts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(parts).map(([name, value]) => [`loss/${name}`, value]));
}

/** A parameter that no loss depends on stays as it was drawn: seldom what was meant. */
function warnOfIdle(
  gradients: StepGradients,
  parameters: ReadonlyMap<string, Variable>,
  warn: (sentence: string) => void,
): void {
  const idle = [...parameters.keys()].filter((name) => !gradients.arrays.has(name));
  if (idle.length === 0) return;
  warn(
    `${idle.length} of ${parameters.size} parameters are not trained by this objective: ${idle.slice(0, 3).join(", ")}${idle.length > 3 ? ", …" : ""}`,
  );
}
