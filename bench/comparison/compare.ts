/** What `soma runs compare` prints and draws. */
import { basename, join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { readConfigFile } from "../../training/config.ts";
import { readMetrics, type MetricsLine } from "../../training/run-folder.ts";
import {
  configDifferences,
  namedRun,
  summariseRun,
  type RunSummary,
} from "../../training/run-summary.ts";
import { runCurves } from "../plots/run-curves.ts";
import { requirePlotName, writePlot } from "../plots/write.ts";

/** Flags as commander gives them. */
export interface CompareFlags {
  readonly runs: string;
  readonly metric?: string;
  readonly x: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** Figures that are drawn if nothing is asked for, the first that all runs have. */
const METRICS_OF_CHOICE = ["recall10", "neighbor1", "mrr"];
/** Of a config's values, in a table. */
const VALUE_LENGTH_MAX = 32;

/** @throws SomaError RUN_NOT_FOUND (notFound), TOO_FEW_RUNS, BAD_FLAG, FORMAT_UNKNOWN, NOTHING_TO_DRAW (usage) */
export async function compareRunsCommand(
  names: readonly string[],
  flags: CompareFlags,
): Promise<void> {
  const { out, x } = flags;
  if (x !== "step" && x !== "seconds") throw badX(x);
  if (out !== undefined) requirePlotName(out);
  const paths = await Promise.all(names.map((name) => namedRun(name, flags.runs)));
  if (new Set(paths).size < 2) {
    throw new SomaError({
      code: "TOO_FEW_RUNS",
      kind: "usage",
      what: "one run alone cannot be compared",
      next: "name two different runs or more",
    });
  }
  const labels = distinctNames(paths);
  const summaries = await Promise.all(
    paths.map((path, i) => summariseRun(path, labels[i] ?? path)),
  );
  const configs = await Promise.all(
    paths.map(async (path) => (await readConfigFile(join(path, "config.yaml"))).values),
  );
  const metrics = await Promise.all(paths.map(readMetrics));
  const differences = configDifferences(configs);
  const metric = chosenMetric(summaries, flags.metric);

  if (out !== undefined) {
    const curves = labels.map((name, i) => ({ name, lines: metrics[i] ?? [] }));
    const svg = runCurves(curves, { x, metric });
    if (svg === undefined) throw nothingToDraw(metrics);
    for (const note of await writePlot(out, svg)) say(note);
    say(out);
  }
  if (flags.json === true) {
    printJson({
      schemaVersion: 1,
      runs: summaries,
      differences: Object.fromEntries(
        // A key that a run lacks is null: a list keeps its places.
        [...differences].map(([key, values]) => [key, values.map((value) => value ?? null)]),
      ),
      metric: metric ?? null,
      plot: out ?? null,
    });
    return;
  }
  process.stdout.write(`${comparison(summaries, differences)}\n`);
}

function comparison(
  summaries: readonly RunSummary[],
  differences: ReadonlyMap<string, readonly unknown[]>,
): string {
  const names = new Set(summaries.flatMap(({ validation }) => Object.keys(validation)));
  const rows = [
    ["steps", ...summaries.map(({ steps }) => String(steps))],
    ["seconds", ...summaries.map(({ seconds }) => seconds.toFixed(1))],
    ["loss, last", ...summaries.map(({ loss }) => loss?.toFixed(3) ?? "–")],
    ...[...names].map((name) => [
      `${name}, best`,
      ...summaries.map(({ validation }) => validation[name]?.best.toFixed(2) ?? "–"),
    ]),
  ];
  const changed = [...differences].map(([key, values]) => [key, ...values.map(shortValue)]);
  const header = summaries.map(({ name }) => name);
  const results = table(["", ...header], rows);
  if (changed.length === 0) return `${results}\n\nthe configs are the same`;
  return `${table(["differs in", ...header], changed)}\n\n${results}`;
}

function shortValue(value: unknown): string {
  if (value === undefined) return "–";
  const written = JSON.stringify(value);
  return written.length <= VALUE_LENGTH_MAX
    ? written
    : `${written.slice(0, VALUE_LENGTH_MAX - 1)}…`;
}

/** The last parts of the paths, as many as tell them apart. */
export function distinctNames(paths: readonly string[]): readonly string[] {
  const short = paths.map((path) => basename(path));
  if (new Set(short).size === new Set(paths).size) return short;
  return paths.map((path) => path.split("/").slice(-2).join("/"));
}

/** @throws SomaError BAD_FLAG (usage) naming the nearest figure that a run has */
function chosenMetric(
  summaries: readonly RunSummary[],
  asked: string | undefined,
): string | undefined {
  const known = [...new Set(summaries.flatMap(({ validation }) => Object.keys(validation)))];
  if (asked === undefined) {
    const shared = known.filter((name) =>
      summaries.every(({ validation }) => validation[name] !== undefined),
    );
    return METRICS_OF_CHOICE.find((name) => shared.includes(name)) ?? shared[0] ?? known[0];
  }
  if (known.includes(asked)) return asked;
  const nearest = nearestName(asked, known);
  throw new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: `no validation of these runs has a figure "${asked}"`,
    next:
      nearest !== undefined
        ? `did you mean ${nearest}?`
        : known.length > 0
          ? `they have ${known.join(", ")}`
          : "leave out --metric: the runs were not validated",
  });
}

function badX(x: string): SomaError {
  const nearest = nearestName(x, ["step", "seconds"]);
  return new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: `curves cannot be drawn over "${x}"`,
    next: nearest === undefined ? "give --x step or --x seconds" : `did you mean --x ${nearest}?`,
  });
}

function nothingToDraw(metrics: readonly (readonly MetricsLine[])[]): SomaError {
  const longest = Math.max(...metrics.map((lines) => lines.length));
  return new SomaError({
    code: "NOTHING_TO_DRAW",
    kind: "usage",
    what: `none of the runs has logged two losses (at most ${longest} lines)`,
    next: "train longer, or log more often with --set logEverySteps=1",
  });
}
