/** Weights between an encoder and a checkpoint folder. Shapes and names are checked against the architecture. */
import { readFile } from "node:fs/promises";

import { nearestName } from "../base/nearest.ts";
import type { FolderWriteOptions } from "../base/folders.ts";
import { seededRng } from "../tokenizers/random.ts";
import { checkTextModel, textModelPath } from "../tokenizers/text/model-file.ts";
import { tf, type Variable } from "./backend.ts";
import type { ModelCard } from "./card.ts";
import {
  corrupt,
  readCheckpoint,
  WEIGHTS_FILE,
  writeCheckpoint,
  type Checkpoint,
} from "./checkpoint-folder.ts";
import type { EncoderConfig } from "./config.ts";
import type { HostTensor } from "./safetensors.ts";
import { TransformerEncoder } from "./transformer.ts";

/** What is saved: an encoder as it stands, or given weights (a moving average) of an architecture. */
export type CheckpointSource =
  | { readonly encoder: TransformerEncoder; readonly card: ModelCard }
  | {
      readonly config: EncoderConfig;
      readonly tensors: ReadonlyMap<string, HostTensor>;
      readonly card: ModelCard;
    };

/**
 * Save a checkpoint folder whole; a crash or a full disk leaves the one that stood there before.
 * @returns the checkpoint's digest, SHA-256 hex
 * @throws SomaError NOT_FINITE (failure), DISK_FULL (resources), WRITE_FAILED (failure)
 */
export async function saveCheckpoint(
  directory: string,
  source: CheckpointSource,
  options: FolderWriteOptions = {},
): Promise<string> {
  const config = "encoder" in source ? source.encoder.config : source.config;
  const tensors = "encoder" in source ? await readWeights(source.encoder) : source.tensors;
  const content = { config, tensors, card: source.card };
  if (config.text === undefined) return writeCheckpoint(directory, content, options);
  const path = textModelPath();
  checkTextModel(path);
  return writeCheckpoint(directory, { ...content, tokenizerModel: await readFile(path) }, options);
}

/**
 * An encoder with the checkpoint's weights; the caller disposes it. `startBackend()` must have been awaited.
 * @param path  a checkpoint folder or a run folder
 * @throws SomaError NO_CHECKPOINT (notFound), CORRUPT_CHECKPOINT or CORRUPT_SAFETENSORS (corrupt),
 *   TOKENIZER_CHANGED (refused)
 */
export async function loadCheckpoint(
  path: string,
): Promise<{ readonly encoder: TransformerEncoder; readonly checkpoint: Checkpoint }> {
  const checkpoint = await readCheckpoint(path);
  const encoder = new TransformerEncoder(checkpoint.config, seededRng(0, "overwritten"));
  try {
    loadWeights(encoder, checkpoint.tensors, `${checkpoint.directory}/${WEIGHTS_FILE}`);
  } catch (error) {
    encoder.dispose();
    throw error;
  }
  return { encoder, checkpoint };
}

/** Anything with named parameters: an encoder, an objective's own modules. */
export interface Parameterised {
  parameters(): ReadonlyMap<string, Variable>;
}

/** A copy of every parameter in plain memory, by name. */
export async function readWeights(model: Parameterised): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  for (const [name, variable] of model.parameters()) {
    // The plain JavaScript backend hands out the array it computes on.
    const data = Float32Array.from(await variable.data());
    tensors.set(name, { shape: [...variable.shape], data });
  }
  return tensors;
}

/**
 * Set every parameter of `model`. All is checked first: a refusal leaves the model as it was.
 * @param where  the file that the tensors came from, for messages
 * @throws SomaError CORRUPT_CHECKPOINT (corrupt) for a missing or unknown name, a wrong shape, a value not finite
 */
export function loadWeights(
  model: Parameterised,
  tensors: ReadonlyMap<string, HostTensor>,
  where: string,
): void {
  const parameters = model.parameters();
  for (const [name, variable] of parameters) checkTensor(name, variable, tensors.get(name), where);
  for (const name of tensors.keys()) {
    if (parameters.has(name)) continue;
    const nearest = nearestName(name, [...parameters.keys()]);
    const hint = nearest === undefined ? "" : `, the nearest it knows is "${nearest}"`;
    throw corrupt(where, `the architecture has no parameter "${name}"${hint}`);
  }
  for (const [name, variable] of parameters) {
    const tensor = tensors.get(name);
    if (tensor === undefined) continue;
    // assign() shares the new tensor's memory; tidy drops the second name for it.
    tf.tidy(() => {
      variable.assign(tf.tensor(tensor.data, [...tensor.shape], "float32"));
    });
  }
}

function checkTensor(
  name: string,
  variable: Variable,
  tensor: HostTensor | undefined,
  where: string,
): asserts tensor is HostTensor {
  if (tensor === undefined) throw corrupt(where, `the parameter "${name}" is missing`);
  const { shape, data } = tensor;
  if (shape.length !== variable.shape.length || shape.some((n, i) => n !== variable.shape[i])) {
    throw corrupt(
      where,
      `"${name}" has shape [${shape.join(", ")}], the architecture needs [${variable.shape.join(", ")}]`,
    );
  }
  if (!data.every(Number.isFinite))
    throw corrupt(where, `"${name}" holds a value that is not finite`);
}
