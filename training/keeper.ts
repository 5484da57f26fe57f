/**
 * Keeps what a run is worth: judges the encoder as it would be saved (with averaged weights, if the run averages),
 * saves the best, the last and the state to resume from, and watches for collapse.
 */
import type { FolderWriteOptions } from "../base/folders.ts";
import { describeBackend, type BackendInfo } from "../models/backend.ts";
import type { ModelCard } from "../models/card.ts";
import { saveCheckpoint } from "../models/checkpoint.ts";
import type { HostTensor } from "../models/safetensors.ts";
import { stateOf } from "./combine.ts";
import { collapseWarning, measureCollapse } from "./collapse.ts";
import { validate, type ValidationScores } from "./evaluate.ts";
import type { Experiment } from "./experiment.ts";
import { notFinite } from "./gradients.ts";
import { embedInputs } from "./inputs.ts";
import { assignValues, type AdamW, type NamedArrays, type WeightAverage } from "./optimizer.ts";
import { RECIPES } from "./recipes.ts";
import type { RunFolder } from "./run-folder.ts";
import { configDigest, writeState, type TrainCounters } from "./state.ts";

/** Where the loop stands: updates done, seconds of the loop. */
export interface Moment {
  readonly step: number;
  readonly seconds: number;
}

export interface KeeperParts {
  readonly experiment: Experiment;
  readonly run: RunFolder;
  readonly optimizer: AdamW;
  /** Undefined: the weights themselves are judged and saved. */
  readonly average: WeightAverage | undefined;
  /** Of a resumed run. */
  readonly counters: TrainCounters | undefined;
  readonly warn: (sentence: string) => void;
  readonly write: FolderWriteOptions;
}

export class Keeper {
  private readonly parts: KeeperParts;
  private bestScore: number | null;
  private bestStep: number | null;
  private validatedStep = -1;
  private warned = false;
  private latest: ValidationScores | undefined;

  constructor(parts: KeeperParts) {
    this.parts = parts;
    this.bestScore = parts.counters?.bestScore ?? null;
    this.bestStep = parts.counters?.bestStep ?? null;
  }

  /** Scores of the newest validation. */
  get scores(): ValidationScores | undefined {
    return this.latest;
  }

  get best(): { readonly step: number; readonly score: number } | undefined {
    if (this.bestScore === null || this.bestStep === null) return undefined;
    return { step: this.bestStep, score: this.bestScore };
  }

  /**
   * Validate without saving, before the clock starts: the score of the untrained encoder, and the first use of
   * every op. @returns seconds it took, 0 if there is nothing to validate on
   */
  rehearse(step: number): number {
    const startedMs = performance.now();
    const scores = this.judge();
    if (scores !== undefined && step === 0) this.log({ step, seconds: 0 }, scores);
    return (performance.now() - startedMs) / 1000;
  }

  /** Validate, and save the encoder if it is the best so far; of equals the later. Once a step. @throws SomaError DISK_FULL, NOT_FINITE */
  async validate(moment: Moment): Promise<void> {
    if (this.validatedStep === moment.step) return;
    this.validatedStep = moment.step;
    this.refuseDiverged(moment);
    const scores = this.judge();
    if (scores === undefined) return;
    this.log(moment, scores);
    if (this.bestScore !== null && scores.score < this.bestScore) return;
    this.bestScore = scores.score;
    this.bestStep = moment.step;
    await this.saveEncoder("best", moment);
  }

  /** Save the newest encoder and what `--resume` needs. @throws SomaError DISK_FULL, NOT_FINITE */
  async save(moment: Moment): Promise<void> {
    this.refuseDiverged(moment);
    await this.saveEncoder("last", moment);
    await this.saveState(moment);
  }

  /** Save what `--resume` needs. @throws SomaError DISK_FULL */
  async saveState(moment: Moment): Promise<void> {
    const { experiment, run, optimizer, average, write } = this.parts;
    const counters: TrainCounters = {
      step: moment.step,
      elapsedS: moment.seconds,
      seed: experiment.config.seed,
      bestScore: this.bestScore,
      bestStep: this.bestStep,
      configDigest: configDigest(experiment.config),
      dataDigest: experiment.dataset.digest,
      backend: arithmeticOf(experiment.backend, experiment.config.workers),
    };
    const shapes = new Map([...experiment.parameters].map(([name, { shape }]) => [name, shape]));
    const kept = new Map(
      experiment.losses.flatMap((loss) =>
        Array.from(
          stateOf(loss)?.arrays() ?? [],
          ([name, values]) => [`${loss.name}/${name}`, values] as const,
        ),
      ),
    );
    const state = { counters, adam: optimizer.state(), average: average?.current, kept };
    await writeState(run.checkpoint("state"), state, shapes, write);
  }

  /** Look whether the encoder still tells its inputs apart; warns once. */
  watch(moment: Moment): void {
    const { experiment, run, warn } = this.parts;
    const report = measureCollapse(embedInputs(experiment.encoder, experiment.watched));
    const warning = collapseWarning(report, experiment.config.collapse);
    run.log({ kind: "collapse", ...moment, ...report, warning: warning ?? null });
    if (warning === undefined) {
      this.warned = false;
    } else if (!this.warned) {
      this.warned = true;
      warn(`step ${moment.step}: ${warning}`);
    }
  }

  /** Weights can be finite and their embeddings not: such an encoder is not saved over a good one. */
  private refuseDiverged({ step }: Moment): void {
    const { encoder, watched } = this.parts.experiment;
    if (embedInputs(encoder, watched).every((row) => row.every(Number.isFinite))) return;
    throw notFinite(`the encoder's embeddings are not finite after step ${step}`);
  }

  private judge(): ValidationScores | undefined {
    const { experiment, optimizer, average } = this.parts;
    const { encoder, validation } = experiment;
    if (validation === undefined) return undefined;
    if (average === undefined) return validate(encoder, validation);
    const trained = optimizer.weights;
    this.assign(average.current);
    try {
      return validate(encoder, validation);
    } finally {
      this.assign(trained);
    }
  }

  private assign(values: NamedArrays): void {
    for (const [name, variable] of this.parts.experiment.encoder.parameters()) {
      const array = values.get(name);
      if (array !== undefined) assignValues(variable, array);
    }
  }

  private log(moment: Moment, scores: ValidationScores): void {
    this.latest = scores;
    this.parts.run.log({ kind: "validation", ...moment, ...scores.metrics });
  }

  private async saveEncoder(name: "last" | "best", moment: Moment): Promise<void> {
    const { experiment, run, optimizer, average, write } = this.parts;
    const values = average?.current ?? optimizer.weights;
    const tensors = new Map<string, HostTensor>();
    for (const [key, variable] of experiment.encoder.parameters()) {
      const data = values.get(key);
      if (data !== undefined) tensors.set(key, { shape: variable.shape, data });
    }
    const card = this.card(moment);
    const config = experiment.config.encoder;
    await saveCheckpoint(run.checkpoint(name), { config, tensors, card }, write);
  }

  private card({ step, seconds }: Moment): ModelCard {
    const { config, dataset, backend } = this.parts.experiment;
    const { name, licence, digest } = dataset;
    const on = `${name}, validation split`;
    const metrics = Object.entries(this.latest?.metrics ?? {}).map(([key, value]) => ({
      name: METRIC_NAMES[key] ?? key,
      value,
      on,
    }));
    const { recipe } = config;
    const summary = RECIPES.find((known) => known.name === recipe)?.summary;
    return {
      name: recipe,
      ...(summary === undefined ? {} : { summary: sentence(summary) }),
      datasets: [{ name, licence, digest }],
      training: {
        recipe,
        seed: config.seed,
        steps: step,
        seconds,
        backend: describeBackend(backend),
      },
      metrics,
    };
  }
}

/** As the model card calls the metrics of a validation. */
const METRIC_NAMES: Readonly<Record<string, string>> = {
  recall10: "R@10 across views",
  recall1: "R@1 across views",
  mrr: "MRR across views",
  neighbor1: "nearest neighbour has the same label",
};

function sentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}

/** What decides how sums are rounded: two runs are equal to the last bit only where this is equal. */
export function arithmeticOf({ detail, threads }: BackendInfo, workers = 1): string {
  const counted = `${detail}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  return workers === 1 ? counted : `${counted} in each of ${workers} processes`;
}
