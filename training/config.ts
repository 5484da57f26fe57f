/**
 * One experiment, typed and checked: everything that decides what `soma train` does. Layers, strongest first:
 * flags and `--set`, SOMA_* variables, the config file, the recipe, the defaults below.
 */
import { extname } from "node:path";
import { readFile } from "node:fs/promises";
import { SomaError } from "../base/errors.ts";
import { parseConfig, z } from "../base/schema.ts";
import { parseYaml } from "../base/yaml.ts";
import { parseEncoderConfig, type EncoderConfig } from "../models/config.ts";
import { PRECISIONS } from "../models/precision.ts";

const share = z.number().min(0).max(1);
const positive = z.number().positive();
const count = z.int().positive();
/** Every how many steps; 0 = never. */
const every = z.int().nonnegative();

/** Beyond this, meeting costs more than sharing saves, and shared memory grows past a container's. */
const WORKERS_MAX = 64;
/** More threads than any sampler here can use. */
const INPUT_WORKERS_MAX = 16;

const validation = z.strictObject({
  /** Seconds of the loop between validations; 0 = by steps only. */
  everySeconds: z.number().nonnegative(),
  everySteps: every,
  /** Groups compared, at most: recall depends on it, so compare runs of one setting. */
  groups: z.int().nonnegative(),
});

const collapse = z.strictObject({
  everySteps: every,
  /** Examples whose embeddings are looked at. */
  examples: z.int().min(8).max(256),
  /** The alarm sounds below these; see training/collapse.ts. */
  effectiveRankMin: z.number().nonnegative(),
  spreadMin: z.number().nonnegative(),
});

const trainConfig = z.strictObject({
  recipe: z.string(),
  /** Registered name, or path of a manifest or folder. */
  dataset: z.string(),
  /** Leave out pictures that cannot be decoded instead of refusing the dataset. */
  skipCorrupt: z.boolean(),
  seed: z.int().nonnegative(),
  /** Wall time of the loop, validation and checkpoints included, start-up not. Or `steps`; with both, whichever ends first. */
  seconds: positive.optional(),
  /** Updates of the weights. */
  steps: count.optional(),
  /** Groups in a batch. */
  batchSize: z.int().min(2),
  /** Batches whose gradients are averaged into one update. */
  accumulate: count,
  /** Peak of the schedule. */
  learningRate: positive,
  /** Share of the training in which the learning rate climbs from zero. */
  warmupFraction: share,
  /** Learning rate at the end, as a share of the peak. */
  learningRateFloor: share,
  /** Decoupled, on matrices only: what a weight loses a step is learning rate × this × weight. */
  weightDecay: z.number().nonnegative(),
  /** Decay of the moving averages of the gradient and of its square. */
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]),
  epsilon: positive,
  /** Gradients longer than this, over all parameters, are shortened to it; 0 = never. */
  clipNorm: z.number().nonnegative(),
  /** Decay of the averaged weights that are evaluated and saved as the encoder; 0 = the weights themselves. */
  ema: z.number().min(0).lt(1),
  /** Name → its weight in the total loss (0 leaves it out) and the objective's own settings. */
  objectives: z.record(z.string(), z.looseObject({ weight: z.number().nonnegative() })),
  /** An EncoderConfig, checked by models/config.ts. */
  encoder: z.record(z.string(), z.unknown()),
  validation,
  collapse,
  logEverySteps: count,
  checkpointEverySeconds: z.number().nonnegative(),
  /**
   * Threads that draw batches ahead of the training; 0 = the training thread itself. "auto" is one, or none for a run of
   * a few steps. The result does not depend on it.
   */
  inputWorkers: z.union([z.literal("auto"), z.int().min(0).max(INPUT_WORKERS_MAX)], {
    error: `must be "auto" or a whole number from 0 to ${INPUT_WORKERS_MAX}`,
  }),
  /** Processes that share each batch, with the cores divided among them; the loss is that of one, up to rounding. */
  workers: z.int().min(1).max(WORKERS_MAX),
  precision: z.enum(PRECISIONS),
});

/** What one layer may say: any part of it. */
const configLayer = trainConfig
  .extend({
    objectives: z.record(z.string(), z.looseObject({})),
    validation: validation.partial(),
    collapse: collapse.partial(),
  })
  .partial();

export type TrainConfig = Omit<z.output<typeof trainConfig>, "encoder"> & {
  readonly encoder: EncoderConfig;
};

/** Any part of a TrainConfig: what one layer says. */
export type ConfigLayer = Readonly<Record<string, unknown>>;

export const DEFAULTS = {
  seed: 1,
  skipCorrupt: false,
  batchSize: 128,
  accumulate: 1,
  learningRate: 1e-3,
  warmupFraction: 0.05,
  learningRateFloor: 0,
  weightDecay: 0.05,
  betas: [0.9, 0.98],
  epsilon: 1e-8,
  clipNorm: 1,
  ema: 0,
  objectives: {},
  validation: { everySeconds: 30, everySteps: 0, groups: 256 },
  collapse: { everySteps: 50, examples: 64, effectiveRankMin: 3, spreadMin: 0.05 },
  logEverySteps: 10,
  checkpointEverySeconds: 60,
  inputWorkers: "auto",
  workers: 1,
  precision: "float32",
} as const satisfies ConfigLayer;

/** A layer and what to call it in an error. */
export interface NamedLayer {
  readonly where: string;
  readonly values: ConfigLayer;
}

/**
 * Merge layers, weakest first, over the defaults, and check the result. Objects merge key by key, anything else
 * replaces. A layer that gives only one of `steps` and `seconds` takes back the other one of the layers below.
 * @throws SomaError UNKNOWN_KEY, BAD_CONFIG (usage) naming the layer that brought the key
 */
export function resolveConfig(layers: readonly NamedLayer[]): TrainConfig {
  let merged: ConfigLayer = DEFAULTS;
  for (const { values, where } of layers) {
    parseConfig(configLayer, structuredClone(values), where);
    merged = mergeLayer(merged, values);
  }
  const parsed = parseConfig(trainConfig, structuredClone(merged), "the training config");
  const encoder = parseEncoderConfig(parsed.encoder, "the training config: encoder");
  const config: TrainConfig = { ...parsed, encoder };
  if (config.steps === undefined && config.seconds === undefined) {
    throw new SomaError({
      code: "NO_BUDGET",
      kind: "usage",
      what: "neither steps nor seconds say how long to train",
      next: "give --seconds N or --steps N",
    });
  }
  return config;
}

/** `over` laid over `base`, neither mutated. */
export function mergeLayer(base: ConfigLayer, over: ConfigLayer): ConfigLayer {
  const merged: Record<string, unknown> = { ...base };
  if ("steps" in over !== "seconds" in over) {
    delete merged["steps"];
    delete merged["seconds"];
  }
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isPlain(below) && isPlain(value) ? mergeLayer(below, value) : value;
  }
  return merged;
}

/** The file of `--config`: YAML, or JSON by its name. @throws SomaError CONFIG_NOT_FOUND, BAD_YAML, BAD_CONFIG */
export async function readConfigFile(path: string): Promise<NamedLayer> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new SomaError(
      {
        code: "CONFIG_NOT_FOUND",
        kind: "notFound",
        what: `cannot read the config file ${path}`,
        next: "check the path",
      },
      { cause },
    );
  }
  const values = extname(path) === ".json" ? parseJson(text, path) : parseYaml(text, path);
  // An empty file sets nothing.
  if (values === null || values === undefined) return { where: path, values: {} };
  if (isPlain(values)) return { where: path, values };
  throw new SomaError({
    code: "BAD_CONFIG",
    kind: "usage",
    what: `${path} holds no keys and values`,
    next: "see `soma train RECIPE --print-config` for what a config looks like",
  });
}

/** What the environment sets: SOMA_BATCH_SIZE=64 is batchSize 64. Only keys with a single value have a variable. */
export function environmentLayer(env: Readonly<Record<string, string | undefined>>): NamedLayer {
  const values: Record<string, unknown> = {};
  for (const key of ENVIRONMENT_KEYS) {
    const text = env[environmentName(key)];
    if (text !== undefined && text !== "") values[key] = parseValue(text, undefined);
  }
  return { where: "the environment (SOMA_*)", values };
}

/* prettier-ignore */
const ENVIRONMENT_KEYS = [
  "dataset", "seed", "seconds", "steps", "batchSize", "accumulate", "learningRate", "warmupFraction",
  "learningRateFloor", "weightDecay", "clipNorm", "ema", "logEverySteps", "checkpointEverySeconds",
  "inputWorkers", "workers", "precision",
] as const satisfies readonly (keyof TrainConfig)[];

/** The variables that `environmentLayer` reads. */
export function configVariables(): readonly string[] {
  return ENVIRONMENT_KEYS.map(environmentName);
}

function environmentName(key: string): string {
  return `SOMA_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/**
 * The layer of one `--set path.to.key=value`. The value is read as YAML (1e-3 is a number, [1, 2] a list),
 * but stays text where `below` has text.
 * @throws SomaError BAD_SET (usage)
 */
export function settingLayer(assignment: string, below: ConfigLayer): NamedLayer {
  const equals = assignment.indexOf("=");
  const path = assignment.slice(0, Math.max(0, equals)).split(".");
  if (equals <= 0 || path.some((key) => key === "" || key === "__proto__")) {
    throw new SomaError({
      code: "BAD_SET",
      kind: "usage",
      what: `--set ${assignment} is not of the form key=value or path.to.key=value`,
      next: "e.g. --set encoder.dimension=256",
    });
  }
  let current: unknown = below;
  for (const key of path) current = isPlain(current) ? current[key] : undefined;
  let values: unknown = parseValue(assignment.slice(equals + 1), current);
  for (const key of path.toReversed()) values = { [key]: values };
  return { where: `--set ${assignment}`, values: values as ConfigLayer };
}

function parseValue(text: string, current: unknown): unknown {
  return typeof current === "string" ? text : parseYaml(text, `value "${text}"`);
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : "";
    throw new SomaError(
      {
        code: "BAD_CONFIG",
        kind: "usage",
        what: `${path} is not JSON: ${reason}`,
        next: "correct the file and run again",
      },
      { cause },
    );
  }
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
