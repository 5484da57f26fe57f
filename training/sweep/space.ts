/** What a sweep file says, checked: the base experiment, the space of hyperparameters, the budget. And its trials, drawn. */
import { SomaError } from "../../base/errors.ts";
import { parseConfig, z } from "../../base/schema.ts";
import { seededRng, type Rng } from "../../tokenizers/random.ts";
import {
  mergeLayer,
  readConfigFile,
  resolveConfig,
  settingLayer,
  type ConfigLayer,
} from "../config.ts";
import { findRecipe } from "../recipes.ts";

/** More than this many trials of minutes each is no search for one machine. */
const TRIALS_MAX = 1000;
/** Draws for one trial that are not yet among the trials. */
const DRAWS_MAX = 50;

const range = z.tuple([z.number(), z.number()]);
const positiveRange = z.tuple([z.number().positive(), z.number().positive()]);

/** How one hyperparameter is drawn; exactly one key. */
const parameter = z
  .strictObject({
    /** One of these values. */
    choice: z.array(z.unknown()).min(1).optional(),
    /** Any number between two. */
    uniform: range.optional(),
    /** Any number between two, its logarithm uniform. */
    log: positiveRange.optional(),
    /** A whole number, both ends included. */
    int: z.tuple([z.int(), z.int()]).optional(),
  })
  .refine((value) => Object.values(value).filter((one) => one !== undefined).length === 1, {
    error: "must have exactly one of choice, uniform, log, int",
  })
  .refine(
    ({ uniform, log, int }) => [uniform, log, int].every((r) => r === undefined || r[0] <= r[1]),
    {
      error: "the first number of a range must not be above the second",
    },
  );
type Parameter = z.output<typeof parameter>;

const sweepFile = z.strictObject({
  recipe: z.string(),
  /** Laid over the recipe in every trial: a training config or a part of one, but not its length. */
  config: z.record(z.string(), z.unknown()).default({}),
  /** What is drawn; the trials' weights and batches follow from the training config's own seed. */
  seed: z.int().nonnegative().default(1),
  /** Hyperparameter sets that begin. */
  trials: z.int().positive().max(TRIALS_MAX),
  /** A figure of the validation, e.g. mrr, whose best value in a run counts; higher is better unless it is a loss. */
  objective: z.string().default("mrr"),
  budget: z
    .strictObject({
      unit: z.enum(["steps", "seconds"]),
      /** Of every trial's first run. */
      min: z.number().positive(),
      /** Of the runs of the last. */
      max: z.number().positive(),
      /** Seconds of training over all trials: once they are spent no run is started. */
      totalSeconds: z.number().positive().optional(),
    })
    .refine(({ min, max }) => min <= max, { error: "min must not be above max" })
    .refine(
      ({ unit, min, max }) =>
        unit === "seconds" || (Number.isInteger(min) && Number.isInteger(max)),
      {
        error: "steps are whole numbers",
      },
    ),
  /** One in so many goes on to a run that is so many times as long. */
  factor: z.number().min(2).max(16).default(3),
  /** Dotted key of the training config → how it is drawn. */
  space: z.record(z.string(), z.unknown()),
});

export type SweepConfig = Omit<z.output<typeof sweepFile>, "space"> & {
  readonly space: Readonly<Record<string, Parameter>>;
};

/** Dotted key → value. */
export type Hyperparameters = Readonly<Record<string, unknown>>;

/**
 * @param where the file, for messages
 * @throws SomaError UNKNOWN_KEY, BAD_CONFIG, BAD_SWEEP (usage), RECIPE_UNKNOWN (notFound), each naming the nearest
 */
export function parseSweep(values: unknown, where: string): SweepConfig {
  const parsed = parseConfig(sweepFile, values, where);
  const space = Object.fromEntries(
    Object.entries(parsed.space).map(([key, value]) => [
      key,
      parseConfig(parameter, value, `${where}: space.${key}`),
    ]),
  );
  findRecipe(parsed.recipe);
  if (Object.keys(space).length === 0) throw badSweep(where, "its space has no hyperparameter");
  for (const key of ["steps", "seconds", "seed", "recipe"]) {
    if (key in space) throw badSweep(where, `its space has "${key}", which a sweep itself decides`);
    if (key in parsed.config && key !== "seed")
      throw badSweep(where, `its config has "${key}", which a sweep itself decides`);
  }
  return { ...parsed, space };
}

/** @throws SomaError as parseSweep, and CONFIG_NOT_FOUND (notFound), BAD_YAML (usage) */
export async function readSweepFile(path: string): Promise<SweepConfig> {
  return parseSweep(structuredClone((await readConfigFile(path)).values), path);
}

/**
 * The hyperparameters of every trial: trial i depends on the seed, i and the trials before it. Fewer than asked for
 * where the space has no more.
 */
export function drawTrials(sweep: SweepConfig): readonly Hyperparameters[] {
  const trials = new Map<string, Hyperparameters>();
  for (let i = 0; i < sweep.trials; i++) {
    const rng = seededRng(sweep.seed, `sweep/${i}`);
    for (let draw = 0; draw < DRAWS_MAX; draw++) {
      const drawn = Object.fromEntries(
        Object.entries(sweep.space).map(([key, how]) => [key, drawValue(how, rng)]),
      );
      const name = JSON.stringify(drawn);
      if (trials.has(name)) continue;
      trials.set(name, drawn);
      break;
    }
  }
  return [...trials.values()];
}

function drawValue({ choice, uniform, log, int }: Parameter, rng: Rng): unknown {
  if (choice !== undefined) return choice[rng.uniform(choice.length)];
  if (int !== undefined) return int[0] + rng.uniform(int[1] - int[0] + 1);
  const [low, high] = uniform ?? log?.map(Math.log) ?? [0, 0];
  const value = (low ?? 0) + rng.unit() * ((high ?? 0) - (low ?? 0));
  // Five digits are all that a table shows, and all that matters.
  return Number((log === undefined ? value : Math.exp(value)).toPrecision(5));
}

/**
 * The layer over its recipe that a trial trains: the config of the sweep, then its hyperparameters. Checked whole.
 * @throws SomaError UNKNOWN_KEY, BAD_CONFIG (usage) naming the hyperparameter and the nearest key
 */
export function trialLayer(
  base: { readonly recipe: string; readonly config: ConfigLayer },
  hyperparameters: Hyperparameters,
): ConfigLayer {
  let layer: ConfigLayer = base.config;
  const recipe = {
    where: base.recipe,
    values: { ...findRecipe(base.recipe).config, recipe: base.recipe },
  };
  resolveConfig([recipe, { where: "config of the sweep", values: layer }]);
  for (const [key, value] of Object.entries(hyperparameters)) {
    // As `--set key=…` would, but with a value that is one already.
    const { values } = settingLayer(`${key}=null`, {});
    layer = mergeLayer(layer, replaceLeaf(values, value));
    resolveConfig([recipe, { where: `space.${key}`, values: layer }]);
  }
  return layer;
}

/** A nest of objects with one key each, its innermost value replaced. */
function replaceLeaf(nest: ConfigLayer, value: unknown): ConfigLayer {
  return Object.fromEntries(
    Object.entries(nest).map(([key, inner]) => [
      key,
      inner === null ? value : replaceLeaf(inner as ConfigLayer, value),
    ]),
  );
}

function badSweep(where: string, what: string): SomaError {
  return new SomaError({
    code: "BAD_SWEEP",
    kind: "usage",
    what: `${where}: ${what}`,
    next: "see docs/sweeps.md for what a sweep file looks like",
  });
}
