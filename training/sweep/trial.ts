/**
 * One trial: a `soma train` process with a run folder of its own, from plain JSON to plain JSON, so that any engine on
 * any machine can ask for it. Safe to ask again: a finished run is not trained twice, one that was cut off goes on from
 * its last checkpoint.
 */
import { spawn } from "node:child_process";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SomaError } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/files.ts";
import { nearestName } from "../../base/nearest.ts";
import { parseConfig, z } from "../../base/schema.ts";
import { toYaml } from "../../base/yaml.ts";
import { configVariables } from "../config.ts";
import { summariseRun, type RunSummary } from "../run-summary.ts";
import { trialLayer } from "./space.ts";

const trialSpec = z.strictObject({
  recipe: z.string(),
  /** Laid over the recipe. */
  config: z.record(z.string(), z.unknown()).default({}),
  /** Dotted key → value, laid over that. */
  hyperparameters: z.record(z.string(), z.unknown()).default({}),
  budget: z.union([
    z.strictObject({ steps: z.int().positive() }),
    z.strictObject({ seconds: z.number().positive() }),
  ]),
  /** A figure of the validation. */
  objective: z.string().default("mrr"),
  /** The run folder. */
  out: z.string().min(1),
});

export type TrialSpec = z.output<typeof trialSpec>;

export interface TrialResult {
  readonly schemaVersion: 1;
  readonly status: "done" | "failed";
  readonly objective: string;
  /** The best of the run's validations; null if it failed. */
  readonly value: number | null;
  /** Why it failed. */
  readonly error: string | null;
  readonly run: string;
  readonly hyperparameters: Readonly<Record<string, unknown>>;
  readonly seed: number | null;
  readonly steps: number;
  readonly seconds: number;
  readonly loss: number | null;
  readonly validation: RunSummary["validation"];
}

/** @throws SomaError UNKNOWN_KEY, BAD_CONFIG (usage) */
export function parseTrial(value: unknown, where: string): TrialSpec {
  const spec = parseConfig(trialSpec, value, where);
  trialLayer(spec, spec.hyperparameters); // refuses what no training would take
  return spec;
}

/** How a trial is trained: given by tests. @returns the exit code and the last words on stderr */
export type Trainer = (
  args: readonly string[],
  options: { readonly signal?: AbortSignal | undefined },
) => Promise<{ readonly exitCode: number; readonly lastWords: string }>;

export interface TrialOptions {
  readonly train?: Trainer;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A failed training is a result; what stops the whole search is thrown.
 * @throws SomaError OBJECTIVE_MISSING (usage) naming the nearest figure, INTERRUPTED, TRIAL_BUSY (failure)
 */
export async function runTrial(spec: TrialSpec, options: TrialOptions = {}): Promise<TrialResult> {
  const { train = trainInProcess, signal } = options;
  const run = resolve(spec.out);
  const config = {
    recipe: spec.recipe,
    ...trialLayer(spec, spec.hyperparameters),
    ...spec.budget,
  };
  const configPath = beside(run, "config.yaml");
  const resultPath = beside(run, "result.json");
  const text = toYaml(config);
  const before = await readFile(configPath, "utf8").catch(() => undefined);
  if (before === text) {
    const known = await readFile(resultPath, "utf8").catch(() => undefined);
    if (known !== undefined) {
      const result = JSON.parse(known) as TrialResult;
      if (result.objective === spec.objective) return result;
    }
  } else {
    // Another trial's, or none: what lies here is not of these values.
    await rm(resultPath, { force: true });
    await rm(run, { recursive: true, force: true });
    await writeFileAtomic(configPath, text);
  }
  await waitForEarlier(run);
  const { exitCode, lastWords } = await train(await trainingArgs(run, configPath), { signal });
  if (exitCode === 130 || exitCode === 143) {
    throw new SomaError({
      code: "INTERRUPTED",
      kind: "interrupted",
      what: `the trial in ${basename(run)} was interrupted`,
      next: "give the same command again to go on",
    });
  }
  const result =
    exitCode === 0
      ? await resultOf(spec, run)
      : failedResult(spec, run, lastWords === "" ? `exit code ${exitCode}` : lastWords);
  await writeFileAtomic(resultPath, `${JSON.stringify(result, undefined, 2)}\n`);
  return result;
}

/** A file of the trial that is not part of its run folder: "runs/a" → "runs/a.config.yaml". */
function beside(run: string, ending: string): string {
  return join(dirname(run), `${basename(run)}.${ending}`);
}

/** Goes on with what was saved; begins anew where nothing was. */
async function trainingArgs(run: string, configPath: string): Promise<readonly string[]> {
  if (await exists(join(run, "checkpoints", "state"))) return ["train", "--resume", run, "--quiet"];
  await rm(run, { recursive: true, force: true });
  return ["train", "--config", configPath, "--out", run, "--quiet"];
}

async function resultOf(spec: TrialSpec, run: string): Promise<TrialResult> {
  const { objective, hyperparameters } = spec;
  const { seed, steps, seconds, loss, validation } = await summariseRun(run, basename(run));
  const figure = Object.hasOwn(validation, objective) ? validation[objective] : undefined;
  if (figure === undefined) throw objectiveMissing(objective, Object.keys(validation));
  return {
    schemaVersion: 1,
    status: "done",
    objective,
    value: figure.best,
    error: null,
    ...{ run, hyperparameters, seed, steps, seconds, loss, validation },
  };
}

function failedResult(spec: TrialSpec, run: string, error: string): TrialResult {
  const { objective, hyperparameters } = spec;
  return {
    schemaVersion: 1,
    status: "failed",
    ...{ objective, value: null, error, run, hyperparameters },
    ...{ seed: null, steps: 0, seconds: 0, loss: null, validation: {} },
  };
}

function objectiveMissing(objective: string, known: readonly string[]): SomaError {
  const nearest = nearestName(objective, known);
  return new SomaError({
    code: "OBJECTIVE_MISSING",
    kind: "usage",
    what: `the validation has no figure "${objective}"`,
    next:
      nearest !== undefined
        ? `did you mean ${nearest}?`
        : known.length > 0
          ? `it has ${known.join(", ")}`
          : "the dataset has nothing to validate on: choose another",
  });
}

/** Of a training's stderr, to tell why it failed. */
const LAST_WORDS_MAX = 4_000;

async function trainInProcess(
  args: readonly string[],
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<{ exitCode: number; lastWords: string }> {
  const cli = fileURLToPath(new URL("../../cli.js", import.meta.url));
  const guard = new URL("./guard.js", import.meta.url).href;
  const child = spawn(process.execPath, ["--import", guard, cli, ...args], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: withoutVariables(process.env),
  });
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-LAST_WORDS_MAX);
  });
  const stop = (): void => {
    child.kill("SIGTERM"); // it saves its state and ends
  };
  signal?.addEventListener("abort", stop);
  try {
    const exitCode = await new Promise<number>((done, reject) => {
      child.on("error", reject);
      child.on("close", (code, how) => {
        done(code ?? (how === "SIGINT" ? 130 : how === "SIGTERM" ? 143 : 1));
      });
    });
    return { exitCode, lastWords: words.trim().split("\n").at(-1) ?? "" };
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** The environment without SOMA_LEARNING_RATE and the like, which would go over the trial's own values. */
function withoutVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const own = new Set(configVariables());
  return Object.fromEntries(Object.entries(env).filter(([name]) => !own.has(name)));
}

/** A training whose sweep was killed notices within a step, or a validation. */
const EARLIER_MS_MAX = 60_000;
const LOOK_AGAIN_MS = 100;

/** Waits until no process trains in `run`, where the system tells. @throws SomaError TRIAL_BUSY (failure) */
async function waitForEarlier(run: string): Promise<void> {
  const until = performance.now() + EARLIER_MS_MAX;
  while (await isTrained(run)) {
    if (performance.now() > until) {
      throw new SomaError({
        code: "TRIAL_BUSY",
        kind: "failure",
        what: `another process trains in ${run}`,
        next: "wait for it or end it, and give the same command again",
      });
    }
    await sleep(LOOK_AGAIN_MS);
  }
}

/** Does a process of this machine have the run folder among its arguments? Always false without /proc. */
async function isTrained(run: string): Promise<boolean> {
  const processes = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const id of processes) {
    if (Number(id) === process.pid) continue;
    const line = await readFile(join("/proc", id, "cmdline"), "utf8").catch(() => "");
    const args = line.split("\0");
    if (args.includes("train") && args.includes(run)) return true;
  }
  return false;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
