/** What `soma sweep` and `soma sweep trial` print and draw. */
import { basename, extname, join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { readSweepFile } from "../../training/sweep/space.ts";
import { runSweep, type SweepResults, type SweepRun } from "../../training/sweep/sweep.ts";
import { parseTrial, runTrial } from "../../training/sweep/trial.ts";
import { sweepPlot } from "../plots/sweep-plot.ts";
import { writePlot } from "../plots/write.ts";

/** Flags as commander gives them. */
export interface SweepFlags {
  readonly out?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** @throws SomaError for every refusal; INTERRUPTED after a signal, to be gone on with by the same command */
export async function sweepCommand(file: string, flags: SweepFlags): Promise<void> {
  const sweep = await readSweepFile(file);
  const out = flags.out ?? join("runs", `sweep-${basename(file, extname(file))}`);
  const tell = flags.quiet === true ? (): void => undefined : say;
  const trainingSeed = typeof sweep.config["seed"] === "number" ? sweep.config["seed"] : 1;
  tell(
    `sweep ${out}: ${sweep.recipe} by ${sweep.objective}, hyperparameters drawn with seed ${sweep.seed}, every run trained with seed ${trainingSeed}`,
  );
  const stop = stopOnSignals();
  try {
    const results = await runSweep(sweep, {
      out,
      signal: stop.signal,
      onRun: (run) => {
        tell(runLine(run, sweep.budget.unit));
      },
    });
    const plot = plotOf(results);
    const path = join(out, "objective.svg");
    if (plot !== undefined) await writePlot(path, plot);
    if (flags.json === true) printJson(results);
    else process.stdout.write(`${report(results)}\n`);
    if (plot !== undefined) tell(path);
  } finally {
    stop.release();
  }
}

/**
 * One trial, plain JSON from stdin to stdout.
 * @throws SomaError BAD_TRIAL (usage), TRIAL_FAILED (failure) once the result is printed
 */
export async function trialCommand(): Promise<void> {
  let text = "";
  for await (const chunk of process.stdin) text += String(chunk);
  const spec = parseTrial(parseJson(text), "the trial on stdin");
  const stop = stopOnSignals();
  try {
    const result = await runTrial(spec, { signal: stop.signal });
    printJson(result);
    if (result.status === "done") return;
    throw new SomaError({
      code: "TRIAL_FAILED",
      kind: "failure",
      what: `the training failed: ${result.error ?? ""}`,
      next: "the result on stdout says the same",
    });
  } finally {
    stop.release();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new SomaError(
      {
        code: "BAD_TRIAL",
        kind: "usage",
        what: "stdin is not one JSON document",
        next: 'e.g. {"recipe": "tiny", "hyperparameters": {"learningRate": 0.001}, "budget": {"steps": 20}, "out": "runs/a"}',
      },
      { cause },
    );
  }
}

function runLine({ trial, budget, value, error, hyperparameters }: SweepRun, unit: string): string {
  const drawn = Object.entries(hyperparameters).map(
    ([key, one]) => `${key}=${JSON.stringify(one)}`,
  );
  const outcome = value === null ? `failed: ${error ?? ""}` : value.toFixed(3);
  return `trial ${trial}, ${budget} ${unit}: ${outcome}  (${drawn.join(" ")})`;
}

/** A row a trial, the best first: how it did at each budget. */
export function report(results: SweepResults): string {
  const { trials, rungs, runs, unit, lowerIsBetter, best, objective } = results;
  const keys = [...new Set(trials.flatMap((trial) => Object.keys(trial)))];
  const longest = (trial: number): SweepRun | undefined =>
    runs.findLast((run) => run.trial === trial);
  const rank = (trial: number): readonly [number, number] => {
    const run = longest(trial);
    const value = run?.value ?? (lowerIsBetter ? Number.MAX_VALUE : -Number.MAX_VALUE);
    return [-(run?.rung ?? -1), lowerIsBetter ? value : -value];
  };
  const order = trials
    .map((_, trial) => ({ trial, rank: rank(trial) }))
    .sort((a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1] || a.trial - b.trial);
  const rows = order.map(({ trial }) => [
    String(trial),
    ...keys.map((key) => JSON.stringify(trials[trial]?.[key])),
    ...rungs.map((_, rung) => {
      const run = runs.find((one) => one.trial === trial && one.rung === rung);
      return run === undefined ? "" : (run.value?.toFixed(3) ?? "failed");
    }),
  ]);
  const header = ["trial", ...keys, ...rungs.map(({ budget }) => `${budget} ${unit}`)];
  const end =
    best === null
      ? "no run has ended well"
      : `best ${objective} ${(best.value ?? 0).toFixed(3)}: trial ${best.trial}, ${best.run}`;
  const stopped = results.status === "out of budget" ? "; stopped: the budget is spent" : "";
  return `${table(header, rows)}\n\n${end}\n${results.spentSeconds.toFixed(1)} s of training${stopped}`;
}

function plotOf({ recipe, objective, rungs, unit, runs, best }: SweepResults): string | undefined {
  return sweepPlot({
    title: `Search for ${recipe}`,
    objective,
    budgets: rungs.map(({ budget }) => `${budget} ${unit}`),
    points: runs.map(({ trial, rung, value }) => ({ trial, rung, value: value ?? undefined })),
    best: best?.trial,
  });
}

/** The first signal lets the run that is going on save its state and end. */
function stopOnSignals(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return {
    signal: controller.signal,
    release() {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    },
  };
}
