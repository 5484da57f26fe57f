/** From a config to everything that the loop needs: backend, data, tokenizer, encoder, objective, validation set. */
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import type { Dataset, Example } from "../datasets/dataset.ts";
import { loadImages } from "../datasets/images.ts";
import { loadDataset } from "../datasets/registry.ts";
import { requireSplit } from "../datasets/split.ts";
import { startBackend, type BackendInfo, type Variable } from "../models/backend.ts";
import { Scope } from "../models/module.ts";
import { TransformerEncoder } from "../models/transformer.ts";
import { seededRng } from "../tokenizers/random.ts";
import { loadTextTokenizer } from "../tokenizers/text/sentencepiece.ts";
import type { MaskedTokens } from "../tokenizers/tokenizer.ts";
import { combineObjectives, type WeightedObjective } from "./combine.ts";
import type { TrainConfig } from "./config.ts";
import { makeValidationSet, type ValidationSet } from "./evaluate.ts";
import { inputsOf, type Sources } from "./inputs.ts";
import type { Objective, ObjectiveFactory } from "./objective.ts";

export interface Experiment {
  readonly config: TrainConfig;
  readonly backend: BackendInfo;
  readonly dataset: Dataset;
  readonly encoder: TransformerEncoder;
  readonly objective: Objective;
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
  readonly objectives: Readonly<Record<string, ObjectiveFactory>>;
  /** Shows the decoding of pictures; called when it begins. */
  readonly progress?: () => Progress;
  readonly warn?: (sentence: string) => void;
  /** Instead of loading `config.dataset`. */
  readonly dataset?: Dataset;
}

/**
 * Load data and build the encoder; the caller disposes.
 * @throws SomaError OBJECTIVE_UNKNOWN, NO_OBJECTIVE, SPLIT_EMPTY, NOTHING_TO_READ (usage), and what loading throws
 */
export async function openExperiment(
  config: TrainConfig,
  options: ExperimentOptions,
): Promise<Experiment> {
  const factories = chosenObjectives(config, options.objectives);
  const backend = await startBackend();
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
  const members = factories.map(({ name, weight, settings, factory }): WeightedObjective => {
    const objective = factory({
      dataset,
      images,
      tokenizer,
      encoder,
      scope: scope.child("objective").child(name),
      seed: config.seed,
      batchSize: config.batchSize,
      settings,
    });
    return { objective, weight };
  });
  return {
    config,
    backend,
    dataset,
    encoder,
    objective: combineObjectives(members),
    parameters: new Map([...encoder.parameters(), ...scope.parameters()]),
    validation: makeValidationSet(dataset, sources, config.encoder, config.validation.groups),
    watched: watchedInputs(train, sources, config),
    dispose() {
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
  readonly factory: ObjectiveFactory;
}

function chosenObjectives(
  config: TrainConfig,
  known: Readonly<Record<string, ObjectiveFactory>>,
): readonly ChosenObjective[] {
  const chosen: ChosenObjective[] = [];
  for (const [name, { weight, ...settings }] of Object.entries(config.objectives)) {
    const factory = Object.hasOwn(known, name) ? known[name] : undefined;
    if (factory === undefined) {
      const names = Object.keys(known);
      const nearest = nearestName(name, names);
      throw new SomaError({
        code: "OBJECTIVE_UNKNOWN",
        kind: "usage",
        what: `there is no objective "${name}"`,
        next: nearest === undefined ? `there are ${names.join(", ")}` : `did you mean ${nearest}?`,
      });
    }
    if (weight > 0) chosen.push({ name, weight, settings, factory });
  }
  if (chosen.length > 0) return chosen;
  throw new SomaError({
    code: "NO_OBJECTIVE",
    kind: "usage",
    what: "the config has no objective with a weight above 0",
    next: "e.g. --set objectives.contrastive.weight=1",
  });
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
