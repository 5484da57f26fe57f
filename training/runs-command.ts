/** What `soma runs list` and `soma runs show` print. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { printJson, say, table } from "../base/terminal.ts";
import { resolveCheckpoint } from "../models/checkpoint-folder.ts";
import { readConfigFile } from "./config.ts";
import { findRun, listRuns, readMetrics, type MetricsLine } from "./run-folder.ts";

interface RunSummary {
  readonly name: string;
  readonly path: string;
  readonly recipe: string;
  readonly dataset: string;
  readonly seed: number | null;
  readonly steps: number;
  readonly seconds: number;
  readonly loss: number | null;
  /** The best validation score of the run, in percent. */
  readonly best: number | null;
}

export async function listRunsCommand(flags: {
  readonly runs: string;
  readonly json?: boolean;
}): Promise<void> {
  const summaries = await Promise.all(
    (await listRuns(flags.runs)).map(({ path, name }) => summarise(path, name)),
  );
  if (flags.json === true) {
    printJson({ schemaVersion: 1, runs: summaries });
    return;
  }
  if (summaries.length === 0) {
    say(`there is no run in ${flags.runs}/`);
    return;
  }
  const rows = summaries.map(({ name, recipe, seed, steps, seconds, loss, best }) => [
    name,
    recipe,
    String(seed ?? ""),
    String(steps),
    seconds.toFixed(1),
    loss?.toFixed(3) ?? "",
    best?.toFixed(1) ?? "",
  ]);
  process.stdout.write(
    `${table(["run", "recipe", "seed", "steps", "seconds", "loss", "best %"], rows)}\n`,
  );
}

export async function showRunCommand(
  run: string,
  flags: { readonly runs: string; readonly json?: boolean },
): Promise<void> {
  const path = await findRun(run, { out: undefined, runs: flags.runs }).catch(
    async (error: unknown) => {
      // A bare name is looked for among the runs.
      const named = (await listRuns(flags.runs)).find(({ name }) => name === run);
      if (named === undefined) throw error;
      return named.path;
    },
  );
  const summary = await summarise(path, path);
  const checkpoint = await resolveCheckpoint(path).catch(() => null);
  const environment = await readFile(join(path, "env.json"), "utf8")
    .then((text) => JSON.parse(text) as unknown)
    .catch(() => null);
  if (flags.json === true) {
    const metrics = await readMetrics(path);
    printJson({ schemaVersion: 1, ...summary, checkpoint, environment, metrics });
    return;
  }
  const facts = Object.entries({ ...summary, checkpoint }).map(([key, value]) => [
    key,
    value === null ? "" : String(value),
  ]);
  process.stdout.write(
    `${facts.map(([key = "", value = ""]) => `${key.padEnd(12)}${value}`).join("\n")}\n`,
  );
}

async function summarise(path: string, name: string): Promise<RunSummary> {
  const [{ values }, metrics] = await Promise.all([
    readConfigFile(join(path, "config.yaml")),
    readMetrics(path),
  ]);
  const last = metrics.at(-1);
  const lastTrain = metrics.findLast(({ kind }) => kind === "train");
  const scores = metrics
    .map((line) => numberOf(line, "recall10") ?? numberOf(line, "neighbor1"))
    .filter((score) => score !== null);
  return {
    name,
    path,
    recipe: String(values["recipe"]),
    dataset: String(values["dataset"]),
    seed: typeof values["seed"] === "number" ? values["seed"] : null,
    steps: last?.step ?? 0,
    seconds: last?.seconds ?? 0,
    loss: numberOf(lastTrain, "loss"),
    best: scores.length === 0 ? null : Math.max(...scores),
  };
}

function numberOf(line: MetricsLine | undefined, key: string): number | null {
  const value = line?.[key];
  return typeof value === "number" ? value : null;
}
