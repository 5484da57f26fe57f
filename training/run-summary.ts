/** What a run was and how it ended, read from its folder: for `soma runs` and `soma sweep`. */
import { basename, join, resolve } from "node:path";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { readConfigFile, resolveConfig, type ConfigLayer } from "./config.ts";
import { RECIPES } from "./recipes.ts";
import { findRun, listRuns, readMetrics, type MetricsLine } from "./run-folder.ts";

/** One figure of a run's validations. */
export interface ValidationFigure {
  /** Of the newest validation. */
  readonly last: number;
  /** The best of all: the greatest, or the least of a loss. */
  readonly best: number;
  readonly bestStep: number;
}

export interface RunSummary {
  readonly name: string;
  readonly path: string;
  readonly recipe: string;
  readonly dataset: string;
  readonly seed: number | null;
  readonly steps: number;
  /** Of the training loop. */
  readonly seconds: number;
  /** As logged last. */
  readonly loss: number | null;
  /** Best recall at 10, or share of right nearest neighbours, in percent. */
  readonly best: number | null;
  /** By name, as logged: recall10, mrr, neighbor1, … */
  readonly validation: Readonly<Record<string, ValidationFigure>>;
  /** Dotted keys of the config whose values its recipe does not have, seed and name left out. */
  readonly differences: Readonly<Record<string, unknown>>;
}

/** @throws SomaError CONFIG_NOT_FOUND, BAD_YAML, BAD_CONFIG if the run's config cannot be read */
export async function summariseRun(path: string, name: string): Promise<RunSummary> {
  const [{ values }, metrics] = await Promise.all([
    readConfigFile(join(path, "config.yaml")),
    readMetrics(path),
  ]);
  const last = metrics.at(-1);
  const lastTrain = metrics.findLast(({ kind }) => kind === "train");
  const validation = validationFigures(metrics);
  return {
    name,
    path,
    recipe: String(values["recipe"]),
    dataset: String(values["dataset"]),
    seed: typeof values["seed"] === "number" ? values["seed"] : null,
    steps: last?.step ?? 0,
    seconds: last?.seconds ?? 0,
    loss: typeof lastTrain?.["loss"] === "number" ? lastTrain["loss"] : null,
    best: (validation["recall10"] ?? validation["neighbor1"])?.best ?? null,
    validation,
    differences: fromRecipe(values),
  };
}

/** Every figure of the validation lines. A name that says it is a loss is better when lower, any other when higher. */
export function validationFigures(
  metrics: readonly MetricsLine[],
): Readonly<Record<string, ValidationFigure>> {
  const figures: Record<string, ValidationFigure> = {};
  for (const line of metrics) {
    if (line.kind !== "validation") continue;
    const { step } = line;
    for (const [name, value] of Object.entries(line)) {
      if (typeof value !== "number" || name === "step" || name === "seconds") continue;
      const before = figures[name];
      // Of equals the later counts, as it is the one that is kept as `best`.
      const isBest =
        before === undefined || (isLoss(name) ? value <= before.best : value >= before.best);
      figures[name] = {
        last: value,
        best: isBest ? value : before.best,
        bestStep: isBest ? step : before.bestStep,
      };
    }
  }
  return figures;
}

export function isLoss(name: string): boolean {
  return /loss/i.test(name);
}

/** A config as dotted keys and their values; lists are values. */
export function flattenConfig(values: ConfigLayer, prefix = ""): ReadonlyMap<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [key, value] of Object.entries(values)) {
    const path = `${prefix}${key}`;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [inner, leaf] of flattenConfig(value as ConfigLayer, `${path}.`)) {
        flat.set(inner, leaf);
      }
    } else {
      flat.set(path, value);
    }
  }
  return flat;
}

/** Dotted keys whose values are not the same in all configs → the values, one a config; undefined where it lacks the key. */
export function configDifferences(
  configs: readonly ConfigLayer[],
): ReadonlyMap<string, readonly unknown[]> {
  const flat = configs.map((values) => flattenConfig(values));
  const keys = new Set(flat.flatMap((values) => [...values.keys()]));
  const differences = new Map<string, readonly unknown[]>();
  for (const key of keys) {
    const values = flat.map((one) => one.get(key));
    if (new Set(values.map((value) => JSON.stringify(value))).size > 1)
      differences.set(key, values);
  }
  return differences;
}

/** What the run's config has that its recipe has not: all keys of a run whose recipe is not one of ours. */
function fromRecipe(values: ConfigLayer): Readonly<Record<string, unknown>> {
  const recipe = RECIPES.find(({ name }) => name === values["recipe"]);
  const plain: ConfigLayer =
    recipe === undefined
      ? {}
      : resolveConfig([{ where: recipe.name, values: { ...recipe.config, recipe: recipe.name } }]);
  const differing = [...configDifferences([plain, values])].flatMap(([key, [, own]]) =>
    key === "seed" || key === "recipe" || own === undefined ? [] : [[key, own] as const],
  );
  return Object.fromEntries(differing);
}

/**
 * The folder of the run that is meant: a path, a name in `runs`, or "last".
 * @throws SomaError RUN_NOT_FOUND (notFound) naming the nearest run
 */
export async function namedRun(run: string, runs: string): Promise<string> {
  const known = run === "last" ? [] : await listRuns(runs);
  const named = known.find(({ name }) => name === run);
  if (named !== undefined) return named.path;
  try {
    return await findRun(run, { out: undefined, runs });
  } catch (error) {
    const nearest = nearestName(
      basename(resolve(run)),
      known.map(({ name }) => name),
    );
    if (!(error instanceof SomaError) || nearest === undefined) throw error;
    throw new SomaError({
      ...error.failure,
      what: `there is no run ${run}`,
      next: `did you mean ${nearest}?`,
    });
  }
}
