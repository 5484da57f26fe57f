/** From a config to everything that the loop needs: backend, data, tokenizer, encoder, objective, validation set. */
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import type { Dataset, Example } from "../datasets/dataset.ts";
import type { ImageStore } from "../datasets/image-store.ts";
import { loadImages } from "../datasets/images.ts";
import { loadDataset } from "../datasets/registry.ts";
import { requireSplit } from "../datasets/split.ts";
import { startBackend, type BackendInfo, type Variable } from "../models/backend.ts";
import { Scope } from "../models/module.ts";
import { TransformerEncoder } from "../models/transformer.ts";
import { seededRng } from "../tokenizers/random.ts";
import { loadTextTokenizer } from "../tokenizers/text/sentencepiece.ts";
import type { MaskedTokens } from "../tokenizers/tokenizer.ts";
import { stateOf, type WeightedLoss } from "./combine.ts";
import type { TrainConfig } from "./config.ts";
import { makeValidationSet, type ValidationSet } from "./evaluate.ts";
import { inputsOf, type Sources } from "./inputs.ts";
import type { InputJob } from "./input/job.ts";
import type { Objective } from "./objective.ts";
import { SAMPLERS } from "./objectives/samplers.ts";
import type { SampleExample, Sampler, SamplerFactory } from "./sampler.ts";

export interface Experiment {
  readonly config: TrainConfig;
  readonly backend: BackendInfo;
  readonly dataset: Dataset;
  readonly encoder: TransformerEncoder;
  /** What draws the batches of a step: for each objective its own. */
  readonly samplers: readonly Sampler[];
  /** For other threads to draw the same; undefined if an objective is not one of ours. */
  readonly inputJob: InputJob | undefined;
  /** Of each objective, in the order of `samplers`. */
  readonly losses: readonly WeightedLoss[];
  /** Of the encoder, then of the objectives ("objective.…"): all that is optimised, by name. */
  readonly parameters: ReadonlyMap<string, Variable>;
  /** Undefined if the dataset has nothing to validate on. */
  readonly validation: ValidationSet | undefined;
  /** A fixed batch of training examples whose embeddings are watched for collapse. */
  readonly watched: readonly MaskedTokens[];
  /** Frees every variable. */
  dispose(): void;
}

export interface ExperimentOptions {
  readonly objectives: Readonly<Record<string, Objective>>;
  /** Shows the decoding of pictures; called when it begins. */
  readonly progress?: () => Progress;
  readonly warn?: (sentence: string) => void;
  /** Instead of loading `config.dataset`. */
  readonly dataset?: Dataset;
}

/**
 * Load data and build the encoder; the caller disposes.
 * @throws SomaError OBJECTIVE_UNKNOWN, NO_OBJECTIVE, ONE_PROCESS_ONLY, SPLIT_EMPTY, NOTHING_TO_READ (usage), and what loading throws
 */
export async function openExperiment(
  config: TrainConfig,
  options: ExperimentOptions,
): Promise<Experiment> {
  const chosen = chosenObjectives(config, options.objectives);
  const backend = await startBackend({ precision: config.precision });
  const warn = options.warn === undefined ? {} : { warn: options.warn };
  const loaded = options.dataset ?? (await loadDataset(config.dataset, warn));
  const seen = loaded.examples.filter(({ split }) => split !== "test");

  const { image, text } = config.encoder;
  const progress = (image === undefined ? undefined : options.progress?.()) ?? SILENT;
  const images =
    image === undefined
      ? undefined
      : await loadImages(loaded, seen, {
          maxPatches: image.maxPatches,
          trim: image.trim,
          skipCorrupt: config.skipCorrupt,
          progress,
          ...warn,
        });
  progress.finish();
  const dataset = withoutPictures(loaded, new Set(images?.skipped.map(({ id }) => id)), options);
  const train = requireSplit(dataset, "train");
  const tokenizer = text === undefined ? undefined : await loadTextTokenizer();
  const sources: Sources = { images, tokenizer };

  const encoder = new TransformerEncoder(config.encoder, seededRng(config.seed, "weights"));
  const scope = Scope.root(seededRng(config.seed, "objective-weights"));
  const { seed, batchSize } = config;
  const members = chosen.map(({ name, weight, settings, objective }) => {
    const drawing = {
      dataset,
      images,
      tokenizer,
      encoder: config.encoder,
      seed,
      batchSize,
      settings,
    };
    const sampler = objective.sampler(drawing);
    const own = scope.child("objective").child(name);
    const context = { encoder: config.encoder, scope: own, settings };
    const loss: WeightedLoss =
      "loss" in objective
        ? { name, weight, lossOf: objective.loss(context) }
        : { name, weight, pass: objective.pass({ ...context, trunk: encoder, seed }) };
    return { sampler, loss };
  });
  return {
    config,
    backend,
    dataset,
    encoder,
    samplers: members.map(({ sampler }) => sampler),
    inputJob: inputJob(config, dataset, images, chosen),
    losses: members.map(({ loss }) => loss),
    parameters: new Map([...encoder.parameters(), ...scope.parameters()]),
    validation: makeValidationSet(dataset, sources, config.encoder, config.validation.groups),
    watched: watchedInputs(train, sources, config),
    dispose() {
      for (const { loss } of members) stateOf(loss)?.dispose();
      encoder.dispose();
      scope.dispose();
    },
  };
}

/** The dataset without the pictures that were skipped: nothing downstream asks for them. */
function withoutPictures(
  dataset: Dataset,
  skipped: ReadonlySet<string>,
  { warn }: ExperimentOptions,
): Dataset {
  if (skipped.size === 0) return dataset;
  warn?.(`${skipped.size} pictures cannot be decoded and are left out`);
  const examples = dataset.examples.flatMap((example): Example[] => {
    if (!skipped.has(example.id)) return [example];
    const rest: { -readonly [Key in keyof Example]: Example[Key] } = { ...example };
    delete rest.image;
    return rest.text === undefined ? [] : [rest];
  });
  return { ...dataset, examples };
}

interface ChosenObjective {
  readonly name: string;
  readonly weight: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly objective: Objective;
}

function chosenObjectives(
  config: TrainConfig,
  known: Readonly<Record<string, Objective>>,
): readonly ChosenObjective[] {
  const chosen: ChosenObjective[] = [];
  for (const [name, { weight, ...settings }] of Object.entries(config.objectives)) {
    const objective = Object.hasOwn(known, name) ? known[name] : undefined;
    if (objective === undefined) {
      const names = Object.keys(known);
      const nearest = nearestName(name, names);
      throw new SomaError({
        code: "OBJECTIVE_UNKNOWN",
        kind: "usage",
        what: `there is no objective "${name}"`,
        next: nearest === undefined ? `there are ${names.join(", ")}` : `did you mean ${nearest}?`,
      });
    }
    if (weight > 0) chosen.push({ name, weight, settings, objective });
  }
  const single = chosen.find(({ objective }) => "pass" in objective);
  if (single !== undefined && config.workers > 1) {
    throw new SomaError({
      code: "ONE_PROCESS_ONLY",
      kind: "usage",
      what: `the objective ${single.name} runs the encoder itself and cannot share its batches among ${config.workers} processes`,
      next: "train with --workers 1",
    });
  }
  if (chosen.length > 0) return chosen;
  throw new SomaError({
    code: "NO_OBJECTIVE",
    kind: "usage",
    what: "the config has no objective with a weight above 0",
    next: "e.g. --set objectives.contrastive.weight=1",
  });
}

/** What another thread needs to draw as this one: only what the encoder reads of the train split. */
function inputJob(
  config: TrainConfig,
  dataset: Dataset,
  images: ImageStore | undefined,
  chosen: readonly ChosenObjective[],
): InputJob | undefined {
  const registered: Readonly<Record<string, SamplerFactory>> = SAMPLERS;
  if (chosen.some(({ name, objective }) => registered[name] !== objective.sampler))
    return undefined;
  const { encoder, seed, batchSize } = config;
  const examples = dataset.examples.flatMap(({ image, text, ...rest }): SampleExample[] => {
    const seen = {
      ...(encoder.image === undefined || image === undefined ? {} : { image: true }),
      ...(encoder.text === undefined || text === undefined ? {} : { text }),
    };
    return rest.split === "train" && Object.keys(seen).length > 0 ? [{ ...rest, ...seen }] : [];
  });
  return {
    members: chosen.map(({ name, settings }) => ({ name, settings })),
    dataset: { name: dataset.name, examples },
    pictures: images?.share(examples.map(({ id }) => id)),
    encoder,
    seed,
    batchSize,
  };
}

/** The same examples whatever the objective: of one modality, the first that the encoder reads. */
function watchedInputs(
  train: readonly Example[],
  sources: Sources,
  config: TrainConfig,
): readonly MaskedTokens[] {
  const order = seededRng(config.seed, "watched").sample(train.length, train.length);
  const inputs: MaskedTokens[] = [];
  let watched: string | undefined;
  for (const index of order) {
    if (inputs.length === config.collapse.examples) break;
    const example = train[index];
    if (example === undefined) continue;
    for (const { modality, input } of inputsOf(example, sources, config.encoder)) {
      watched ??= modality;
      if (modality === watched) inputs.push(input);
    }
  }
  if (inputs.length > 0) return inputs;
  throw new SomaError({
    code: "NOTHING_TO_READ",
    kind: "usage",
    what: `the train split has nothing that this encoder reads (${Object.keys(config.encoder)
      .filter((key) => key === "image" || key === "text")
      .join(", ")})`,
    next: "choose a recipe for the modality of the dataset",
  });
}
