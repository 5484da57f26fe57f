/** What `soma train` does between its flags and the loop. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { SomaError } from "../base/errors.ts";
import { SILENT, terminalProgress, type Progress } from "../base/progress.ts";
import { printJson, say } from "../base/terminal.ts";
import { toYaml } from "../base/yaml.ts";
import { describeBackend } from "../models/backend.ts";
import { resolveCheckpoint } from "../models/checkpoint-folder.ts";
import { seededRng } from "../tokenizers/random.ts";
import {
  environmentLayer,
  mergeLayer,
  readConfigFile,
  resolveConfig,
  settingLayer,
  type NamedLayer,
  type TrainConfig,
} from "./config.ts";
import { describeEnvironment } from "./environment.ts";
import { openExperiment, type Experiment } from "./experiment.ts";
import { arithmeticOf } from "./keeper.ts";
import { percent } from "./input/wait.ts";
import type { Objective } from "./objective.ts";
import { findRecipe, RECIPES } from "./recipes.ts";
import { crewOf, prepareForCrew } from "./parallel/crew.ts";
import { findRun, refuseExistingRun, RunFolder, runName } from "./run-folder.ts";
import { configDigest, readState, type TrainState } from "./state.ts";
import { train, type TrainResult } from "./trainer.ts";

/** Flags as commander gives them. */
export interface TrainFlags {
  readonly config?: string;
  readonly dataset?: string;
  readonly seconds?: string;
  readonly steps?: string;
  readonly seed?: string;
  readonly batchSize?: string;
  readonly learningRate?: string;
  readonly workers?: string;
  readonly precision?: string;
  readonly skipCorrupt?: boolean;
  readonly set?: readonly string[];
  readonly out?: string;
  readonly resume?: string;
  readonly printConfig?: boolean;
  readonly fastDevRun?: boolean;
  readonly overfitBatches?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Where runs go without --out. */
export const RUNS_FOLDER = "runs";

/** @throws SomaError for every refusal; INTERRUPTED or TERMINATED after a signal, once the state is saved */
export async function trainCommand(
  recipe: string | undefined,
  flags: TrainFlags,
  objectives: Readonly<Record<string, Objective>>,
): Promise<void> {
  const overfitBatches =
    flags.overfitBatches === undefined
      ? undefined
      : wholeNumber(flags.overfitBatches, "--overfit-batches");
  const resumed = flags.resume === undefined ? undefined : await openResumed(flags.resume, flags);
  const config =
    resumed === undefined
      ? resolveConfig(await layersOf(recipe, flags))
      : resolveConfig(await resumedLayers(resumed.path, recipe, flags));
  if (flags.printConfig === true) {
    process.stdout.write(toYaml(config));
    return;
  }
  if (resumed !== undefined) refuseOtherConfig(config, resumed.state);
  const scratch = flags.fastDevRun === true && flags.out === undefined && resumed === undefined;
  const out = resumed?.path ?? (await newRunPath(flags, scratch));
  if (resumed === undefined) await refuseExistingRun(out);

  prepareForCrew(config);
  const quiet = flags.quiet === true;
  const tell = quiet ? (): void => undefined : say;
  const experiment = await openExperiment(config, {
    objectives,
    warn: tell,
    progress: () => progressOf("pictures", "picture", quiet),
  });
  try {
    if (resumed !== undefined) refuseOtherData(experiment, resumed.state, out);
    const run =
      resumed === undefined
        ? await RunFolder.create(out, {
            config,
            environment: await describeEnvironment(experiment.backend, experiment.dataset),
          })
        : await RunFolder.reopen(out, resumed.state.counters.step);
    tell(introduction(experiment, shown(out), resumed?.state));
    const crew = crewOf(experiment, {
      ...(resumed === undefined ? {} : { state: run.checkpoint("state") }),
      ...(overfitBatches === undefined ? {} : { overfitBatches }),
    });
    const stop = stopOnSignals(shown(out));
    const progress = progressOf(config.recipe, "step", quiet);
    try {
      const result = await train(experiment, run, {
        ...(resumed === undefined ? {} : { resume: resumed.state }),
        ...(overfitBatches === undefined ? {} : { overfitBatches }),
        ...(crew === undefined ? {} : { crew }),
        signal: stop.signal,
        progress,
        warn: sayOverBar,
      });
      await report(result, experiment, out, flags, tell);
    } finally {
      progress.finish();
      stop.release();
      await crew?.close();
    }
  } finally {
    experiment.dispose();
    if (scratch) await rm(out, { recursive: true, force: true });
  }
}

/** Layers of a new run, weakest first. */
async function layersOf(recipe: string | undefined, flags: TrainFlags): Promise<NamedLayer[]> {
  const file = flags.config === undefined ? undefined : await readConfigFile(flags.config);
  const named = recipe ?? file?.values["recipe"];
  const layers: NamedLayer[] = [];
  if (typeof named === "string") {
    // A file may be a whole experiment under a name of its own; a recipe on the command line must exist.
    const known = recipe !== undefined || RECIPES.some(({ name }) => name === named);
    const values = known ? findRecipe(named).config : {};
    layers.push({ where: `recipe ${named}`, values: { ...values, recipe: named } });
  } else {
    throw new SomaError({
      code: "NO_RECIPE",
      kind: "usage",
      what: "no recipe is named",
      next: `give one of ${RECIPES.map(({ name }) => name).join(", ")}, or --config FILE with a recipe key`,
    });
  }
  if (file !== undefined) {
    layers.push(recipe === undefined ? file : { ...file, values: { ...file.values, recipe } });
  }
  layers.push(environmentLayer(process.env));
  return withFlags(layers, flags);
}

/** A resumed run has its own config; only flags of this command line go over it. */
async function resumedLayers(
  path: string,
  recipe: string | undefined,
  flags: TrainFlags,
): Promise<NamedLayer[]> {
  if (flags.config !== undefined) {
    throw new SomaError({
      code: "CONFIG_CHANGED",
      kind: "usage",
      what: "--resume goes on with the config of its run",
      next: "leave out --config, or start a new run",
    });
  }
  const own = await readConfigFile(join(path, "config.yaml"));
  if (recipe !== undefined && recipe !== own.values["recipe"]) {
    throw new SomaError({
      code: "CONFIG_CHANGED",
      kind: "usage",
      what: `the run in ${shown(path)} has recipe ${String(own.values["recipe"])}, not ${recipe}`,
      next: "leave out the recipe, or start a new run",
    });
  }
  return withFlags([own], flags);
}

function withFlags(layers: readonly NamedLayer[], flags: TrainFlags): NamedLayer[] {
  const values: Record<string, unknown> = {};
  if (flags.dataset !== undefined) values["dataset"] = flags.dataset;
  if (flags.precision !== undefined) values["precision"] = flags.precision;
  if (flags.skipCorrupt === true) values["skipCorrupt"] = true;
  for (const key of ["seconds", "steps", "seed", "batchSize", "learningRate", "workers"] as const) {
    const text = flags[key];
    if (text !== undefined) values[key] = plainNumber(text, flagName(key));
  }
  const all = [...layers, { where: "the command line", values }];
  for (const assignment of flags.set ?? []) {
    const below = all.reduce((merged, layer) => mergeLayer(merged, layer.values), {});
    all.push(settingLayer(assignment, below));
  }
  if (flags.fastDevRun === true) all.push({ where: "--fast-dev-run", values: FAST_DEV_RUN });
  return all;
}

/** Two steps through every part of the program. */
const FAST_DEV_RUN = {
  steps: 2,
  logEverySteps: 1,
  validation: { everySeconds: 0, everySteps: 1, groups: 12 },
  collapse: { everySteps: 1, examples: 16 },
};

async function openResumed(
  what: string,
  flags: TrainFlags,
): Promise<{ readonly path: string; readonly state: TrainState }> {
  const path = await findRun(what, { out: flags.out, runs: RUNS_FOLDER });
  return { path, state: await readState(join(path, "checkpoints", "state")) };
}

function refuseOtherConfig(config: TrainConfig, state: TrainState): void {
  if (configDigest(config) === state.counters.configDigest) return;
  throw new SomaError({
    code: "CONFIG_CHANGED",
    kind: "usage",
    what: "the flags change what the run trains",
    next: "a resumed run may only change its length, its logging and its validation; start a new run for the rest",
  });
}

function refuseOtherData(experiment: Experiment, state: TrainState, out: string): void {
  const { name, digest } = experiment.dataset;
  if (digest === state.counters.dataDigest) return;
  throw new SomaError({
    code: "DATA_CHANGED",
    kind: "corrupt",
    what: `the dataset ${name} is not what the run in ${shown(out)} was trained on: its digest differs`,
    next: "restore the data, or start a new run",
  });
}

async function newRunPath(flags: TrainFlags, scratch: boolean): Promise<string> {
  if (flags.out !== undefined) return flags.out;
  if (scratch) return mkdtemp(join(tmpdir(), "soma-fast-dev-run-"));
  return join(RUNS_FOLDER, runName(new Date(), seededRng(Date.now(), "run-name")));
}

function introduction(experiment: Experiment, out: string, state: TrainState | undefined): string {
  const { config, backend, dataset, encoder, validation } = experiment;
  const weights = [...encoder.parameters().values()].reduce((sum, { size }) => sum + size, 0);
  const length = [
    config.steps === undefined ? undefined : `${config.steps} steps`,
    config.seconds === undefined ? undefined : `${config.seconds} s`,
  ];
  const processes = config.workers === 1 ? "" : ` in each of ${config.workers} processes`;
  const lines = [
    `run ${out}: ${config.recipe} on ${dataset.name}, seed ${config.seed}, ${length.filter(Boolean).join(" or ")}`,
    `${describeBackend(backend)}${processes}; ${weights.toLocaleString("en")} weights; ${
      validation === undefined
        ? "nothing to validate on, so the last encoder is the result"
        : `validated on ${validation.groupCount} groups`
    }`,
  ];
  if (state !== undefined) {
    const here = arithmeticOf(backend, config.workers);
    const before = state.counters.backend;
    lines.push(
      here === before
        ? `goes on at step ${state.counters.step}`
        : `goes on at step ${state.counters.step}; it was saved on ${before}, so it will not equal an unbroken run to the last bit`,
    );
  }
  if (Object.keys(config.objectives).some((name) => CONTRASTIVE.test(name))) {
    lines.push(
      `a contrastive loss at chance is ln(${config.batchSize}) = ${Math.log(config.batchSize).toFixed(2)}`,
    );
  }
  return lines.join("\n");
}

/** Objectives whose loss is a choice among the batch. */
const CONTRASTIVE = /contrastive|pairing/;

async function report(
  result: TrainResult,
  experiment: Experiment,
  out: string,
  flags: TrainFlags,
  tell: (line: string) => void,
): Promise<void> {
  const { config, backend, dataset } = experiment;
  const { steps, seconds, examplesPerSecond, inputWaitShare, loss, validation, best } = result;
  const checkpoint = await resolveCheckpoint(out);
  if (validation !== undefined) {
    const scores = Object.entries(validation.metrics).map(
      ([name, value]) => `${name} ${value.toFixed(1)}`,
    );
    tell(`validation at step ${steps}: ${scores.join(", ")}`);
  }
  tell(
    `${steps} steps in ${seconds.toFixed(1)} s, ${percent(inputWaitShare)} waiting for data; the encoder is ${shown(checkpoint)}`,
  );
  tell(`run ${shown(out)}`);
  if (flags.json !== true) return;
  printJson({
    schemaVersion: 1,
    out,
    checkpoint,
    recipe: config.recipe,
    dataset: config.dataset,
    dataDigest: dataset.digest,
    seed: config.seed,
    steps,
    seconds,
    backend: backend.name,
    backendDetail: describeBackend(backend),
    workers: config.workers,
    examplesPerSecond,
    inputWaitShare,
    loss,
    validation: validation?.metrics ?? null,
    best: best ?? null,
  });
}

/** The first signal asks the loop to save and stop, the second ends the program at once. */
function stopOnSignals(out: string): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const onSignal = (kind: "interrupted" | "terminated", exitCode: number) => (): void => {
    if (controller.signal.aborted) process.exit(exitCode);
    sayOverBar(`saving and stopping after this step; once more to stop now`);
    controller.abort(
      new SomaError({
        code: kind.toUpperCase(),
        kind,
        what: `training was ${kind}, its state is saved in ${out}`,
        next: `go on with soma train --resume ${out}`,
      }),
    );
  };
  const interrupt = onSignal("interrupted", 130);
  const terminate = onSignal("terminated", 143);
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", terminate);
  return {
    signal: controller.signal,
    release() {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", terminate);
    },
  };
}

/** A line in the place of a progress bar, which is drawn again below it. */
function sayOverBar(line: string): void {
  say(process.stderr.isTTY ? `\r\u001b[K${line}` : line);
}

function progressOf(label: string, unit: string, quiet: boolean): Progress {
  return quiet ? SILENT : terminalProgress({ label, unit });
}

function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short !== "" && !short.startsWith("..") ? short : path;
}

function flagName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** @throws SomaError BAD_FLAG (usage) */
export function plainNumber(text: string, flag: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: `${flag} ${text} is not a number`,
    next: "give a number",
  });
}

/** @throws SomaError BAD_FLAG (usage) unless it is 1, 2, 3, … */
export function wholeNumber(text: string, flag: string): number {
  const value = plainNumber(text, flag);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: `${flag} ${text} is not a whole number above 0`,
    next: "give 1, 2, 3, …",
  });
}
