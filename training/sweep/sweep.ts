/**
 * A search on one machine, as a loop over rungs and trials. What is done lies in the folder, so that a search that was
 * killed goes on with the same command: results are read, the run that was cut off is resumed.
 *   sweep.yaml              what is searched: another sweep is refused
 *   runs/NNN-BUDGET/        a run folder each; NNN-BUDGET.config.yaml and .result.json beside it
 *   results.json            all results so far, in the order in which they came
 */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/files.ts";
import { parseYaml, toYaml } from "../../base/yaml.ts";
import type { ConfigLayer } from "../config.ts";
import { configDifferences, isLoss } from "../run-summary.ts";
import { bestTrials, keptCount, rungsOf, type Rung } from "./halving.ts";
import { drawTrials, trialLayer, type Hyperparameters, type SweepConfig } from "./space.ts";
import { runTrial, type Trainer, type TrialResult } from "./trial.ts";

export interface SweepRun extends TrialResult {
  readonly trial: number;
  readonly rung: number;
  /** Steps or seconds. */
  readonly budget: number;
}

export interface SweepResults {
  readonly schemaVersion: 1;
  readonly out: string;
  readonly recipe: string;
  readonly objective: string;
  readonly lowerIsBetter: boolean;
  /** What the hyperparameters were drawn from. */
  readonly seed: number;
  readonly unit: "steps" | "seconds";
  readonly rungs: readonly Rung[];
  readonly trials: readonly Hyperparameters[];
  /** In the order in which they came. */
  readonly runs: readonly SweepRun[];
  /** Of the longest runs, the best; null before one has ended well. */
  readonly best: SweepRun | null;
  /** Seconds of training in all runs. */
  readonly spentSeconds: number;
  readonly status: "running" | "done" | "out of budget";
}

export interface SweepOptions {
  readonly out: string;
  readonly train?: Trainer;
  readonly signal?: AbortSignal;
  /** After each run, those that were done before included. */
  readonly onRun?: (run: SweepRun, results: SweepResults) => void | Promise<void>;
}

/**
 * @throws SomaError SWEEP_CHANGED (usage), SWEEP_RUNNING, SWEEP_FAILED (failure) if no trial could be trained, and what
 *         runTrial throws
 */
export async function runSweep(sweep: SweepConfig, options: SweepOptions): Promise<SweepResults> {
  const { out, train, signal, onRun } = options;
  const trials = drawTrials(sweep);
  // Before anything is trained: a key that no config has, a value that it may not have.
  for (const hyperparameters of trials) trialLayer(sweep, hyperparameters);
  await claim(sweep, out);
  const { unit, min, max, totalSeconds = Number.POSITIVE_INFINITY } = sweep.budget;
  const rungs = rungsOf({ trialCount: trials.length, min, max, factor: sweep.factor, unit });
  const lowerIsBetter = isLoss(sweep.objective);
  const runs: SweepRun[] = [];
  const results = (status: SweepResults["status"]): SweepResults => ({
    schemaVersion: 1,
    out,
    recipe: sweep.recipe,
    objective: sweep.objective,
    lowerIsBetter,
    seed: sweep.seed,
    ...{ unit, rungs, trials, runs },
    best: bestRun(runs, lowerIsBetter),
    spentSeconds: runs.reduce((sum, { seconds }) => sum + seconds, 0),
    status,
  });
  try {
    let entrants: readonly number[] = trials.map((_, trial) => trial);
    for (const [rung, { budget }] of rungs.entries()) {
      for (const trial of entrants) {
        if (results("running").spentSeconds >= totalSeconds) return await save("out of budget");
        const spec = {
          recipe: sweep.recipe,
          config: sweep.config,
          hyperparameters: trials[trial] ?? {},
          budget: unit === "steps" ? { steps: budget } : { seconds: budget },
          objective: sweep.objective,
          out: join(out, "runs", `${String(trial).padStart(3, "0")}-${budget}-${unit}`),
        };
        const result = await runTrial(spec, { ...(train === undefined ? {} : { train }), signal });
        const run = { ...result, trial, rung, budget };
        runs.push(run);
        await onRun?.(run, await save("running"));
      }
      const ended = runs.filter((run) => run.rung === rung);
      const ranked = ended.map(({ trial, value }) => ({ trial, value: value ?? undefined }));
      const count = keptCount(entrants.length, sweep.factor);
      entrants = bestTrials(ranked, { count, lowerIsBetter });
      if (entrants.length === 0) throw allFailed(ended);
    }
    return await save("done");
  } finally {
    await rm(join(out, LOCK), { force: true });
  }

  async function save(status: SweepResults["status"]): Promise<SweepResults> {
    const now = results(status);
    await writeFileAtomic(join(out, "results.json"), `${JSON.stringify(now, undefined, 2)}\n`);
    return now;
  }
}

/** Runs of one length are compared: the longest that there are. */
function bestRun(runs: readonly SweepRun[], lowerIsBetter: boolean): SweepRun | null {
  const good = runs.filter(({ value }) => value !== null);
  const longest = good.filter(({ rung }) => rung === Math.max(...good.map((run) => run.rung)));
  const ranked = longest.map(({ trial, value }) => ({ trial, value: value ?? undefined }));
  const [best] = bestTrials(ranked, { count: 1, lowerIsBetter });
  return longest.find(({ trial }) => trial === best) ?? null;
}

const LOCK = "sweep.pid";

/** Makes the folder this sweep's, and this process's. */
async function claim(sweep: SweepConfig, out: string): Promise<void> {
  const path = join(out, "sweep.yaml");
  const text = toYaml(sweep);
  const before = await readFile(path, "utf8").catch(() => undefined);
  if (before !== undefined && before !== text) {
    const layers = [parseYaml(before, path), parseYaml(text, path)] as readonly ConfigLayer[];
    throw new SomaError({
      code: "SWEEP_CHANGED",
      kind: "usage",
      what: `${out} holds another sweep: ${[...configDifferences(layers).keys()].join(", ")} differ`,
      next: "give another --out, or the sweep as it was",
    });
  }
  const holder = Number(await readFile(join(out, LOCK), "utf8").catch(() => "0"));
  if (holder !== process.pid && (await isSweep(holder))) {
    throw new SomaError({
      code: "SWEEP_RUNNING",
      kind: "failure",
      what: `process ${holder} searches in ${out}`,
      next: "wait for it or end it, or give another --out",
    });
  }
  await writeFileAtomic(path, text);
  await writeFileAtomic(join(out, LOCK), String(process.pid));
}

/** Does the process live, and is it a sweep? Its number may be another program's by now. */
async function isSweep(id: number): Promise<boolean> {
  const line = await readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "");
  return id > 0 && line.split("\0").includes("sweep");
}

function allFailed(runs: readonly SweepRun[]): SomaError {
  return new SomaError({
    code: "SWEEP_FAILED",
    kind: "failure",
    what: `no trial could be trained; the first: ${runs[0]?.error ?? ""}`,
    next: "correct the sweep file; failed runs are tried again in another --out",
  });
}
