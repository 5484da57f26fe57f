/** What `soma runs list` and `soma runs show` print. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";
import { printJson, say, table } from "../base/terminal.ts";
import { resolveCheckpoint } from "../models/checkpoint-folder.ts";
import { listRuns, readMetrics } from "./run-folder.ts";
import { namedRun, summariseRun, type RunSummary } from "./run-summary.ts";

/** Differences named in a line of the list, at most. */
const DIFFERENCES_SHOWN = 4;

export async function listRunsCommand(flags: {
  readonly runs: string;
  readonly json?: boolean;
}): Promise<void> {
  const summaries: RunSummary[] = [];
  for (const { path, name } of await listRuns(flags.runs)) {
    try {
      summaries.push(await summariseRun(path, name));
    } catch (error) {
      // One damaged run must not hide the others.
      if (!(error instanceof SomaError)) throw error;
      say(`${name} is left out: ${error.message}`);
    }
  }
  if (flags.json === true) {
    printJson({ schemaVersion: 1, runs: summaries });
    return;
  }
  if (summaries.length === 0) {
    say(`there is no run in ${flags.runs}/`);
    return;
  }
  const rows = summaries.map(({ name, recipe, seed, steps, seconds, loss, best, differences }) => [
    name,
    recipe,
    String(seed ?? ""),
    String(steps),
    seconds.toFixed(1),
    loss?.toFixed(3) ?? "",
    best?.toFixed(1) ?? "",
    shownDifferences(differences),
  ]);
  const header = [
    "run",
    "recipe",
    "seed",
    "steps",
    "seconds",
    "loss",
    "best %",
    "not as in recipe",
  ];
  process.stdout.write(`${table(header, rows)}\n`);
}

export async function showRunCommand(
  run: string,
  flags: { readonly runs: string; readonly json?: boolean },
): Promise<void> {
  const path = await namedRun(run, flags.runs);
  const summary = await summariseRun(path, path);
  const checkpoint = await resolveCheckpoint(path).catch(() => null);
  const environment = await readFile(join(path, "env.json"), "utf8")
    .then((text) => JSON.parse(text) as unknown)
    .catch(() => null);
  if (flags.json === true) {
    const metrics = await readMetrics(path);
    printJson({ schemaVersion: 1, ...summary, checkpoint, environment, metrics });
    return;
  }
  const { validation, differences, ...plain } = summary;
  const facts = Object.entries({ ...plain, checkpoint }).map(
    ([key, value]) => [key, value === null ? "" : String(value)] as const,
  );
  const figures = Object.entries(validation).map(
    ([name, { best, bestStep, last }]) =>
      [name, `${last.toFixed(2)}, best ${best.toFixed(2)} at step ${bestStep}`] as const,
  );
  const changed = Object.entries(differences).map(
    ([key, value]) => [key, JSON.stringify(value)] as const,
  );
  const sections = [
    ["", facts],
    ["\nvalidation\n", figures],
    ["\nnot as in the recipe\n", changed],
  ] as const;
  for (const [title, lines] of sections) {
    if (lines.length === 0) continue;
    const width = Math.max(11, ...lines.map(([key]) => key.length)) + 1;
    process.stdout.write(
      `${title}${lines.map(([key, value]) => `${key.padEnd(width)}${value}`).join("\n")}\n`,
    );
  }
}

function shownDifferences(differences: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(differences);
  const shown = entries
    .slice(0, DIFFERENCES_SHOWN)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const more = entries.length - shown.length;
  return shown.join(" ") + (more > 0 ? ` and ${more} more` : "");
}
