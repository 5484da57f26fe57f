/**
 * A checkpoint is a folder in the shape of a Hugging Face model: model.safetensors, config.json, tokenizer.model
 * (if it reads text) and README.md, the model card. config.json pins the SHA-256 of the weights and the tokenizer,
 * and its own, so that a damaged or mixed-up folder is refused instead of giving wrong embeddings.
 * This file knows no tensor library; checkpoint.ts moves weights into and out of an encoder.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { assert, SomaError } from "../base/errors.ts";
import { settleFolder, writeFolderAtomic, type FolderWriteOptions } from "../base/folders.ts";
import { parseConfig, z } from "../base/schema.ts";
import { SOMA_VERSION } from "../base/version.ts";
import { MODALITIES } from "../tokenizers/modality.ts";
import { modalities, renderCard, type ModelCard } from "./card.ts";
import { parseEncoderConfig, type EncoderConfig } from "./config.ts";
import { readSafetensors, writeSafetensors, type HostTensor } from "./safetensors.ts";

export const WEIGHTS_FILE = "model.safetensors";
export const CONFIG_FILE = "config.json";
export const TOKENIZER_FILE = "tokenizer.model";
export const CARD_FILE = "README.md";

/** Bytes of a config.json at most; an honest one has about 1 KiB. */
const CONFIG_BYTES_MAX = 1 << 20;

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, "is not a SHA-256 in hex");

const checkpointConfig = z.strictObject({
  model_type: z.literal("soma"),
  name: z.string().min(1).max(200),
  soma_version: z.string(),
  /** Checked by `parseEncoderConfig`. */
  encoder: z.unknown(),
  /** Modality → tokenizer and its version, as they were in force when the weights were trained. */
  tokenizers: z.strictObject({ image: z.string().optional(), text: z.string().optional() }),
  files: z.strictObject({
    [WEIGHTS_FILE]: sha256Hex,
    [TOKENIZER_FILE]: sha256Hex.optional(),
  }),
  /** SHA-256 of this document without this key, as JSON without spaces. */
  digest: sha256Hex,
});

/** A checkpoint in plain memory, every digest checked. */
export interface Checkpoint {
  readonly directory: string;
  /** What clients call the model. */
  readonly name: string;
  readonly config: EncoderConfig;
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** SHA-256 hex over config and files: equal digests are equal models. */
  readonly digest: string;
  readonly somaVersion: string;
  /** Path of tokenizer.model; absent if the encoder reads no text. */
  readonly tokenizerPath?: string;
}

export interface CheckpointContent {
  readonly config: EncoderConfig;
  /** Every parameter of the architecture by name: the live weights, or their moving average. */
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly card: ModelCard;
  /** Content of the SentencePiece model; needed exactly if the encoder reads text. */
  readonly tokenizerModel?: Uint8Array;
}

/**
 * Write the folder whole: a crash or a full disk at any point leaves the checkpoint that stood there before.
 * @returns the checkpoint's digest
 * @throws SomaError NOT_FINITE (failure), DISK_FULL (resources), WRITE_FAILED (failure)
 */
export async function writeCheckpoint(
  directory: string,
  content: CheckpointContent,
  options: FolderWriteOptions = {},
): Promise<string> {
  const { config, tensors, card, tokenizerModel } = content;
  assert(
    (tokenizerModel !== undefined) === (config.text !== undefined),
    "a checkpoint holds a text tokenizer exactly if its encoder reads text",
  );
  const broken = firstNotFinite(tensors);
  if (broken !== undefined) {
    throw new SomaError({
      code: "NOT_FINITE",
      kind: "failure",
      what: `${broken} holds a value that is not finite, so ${directory} is not written`,
      next: "train with a lower learning rate or clip the gradients; the last good checkpoint is kept",
    });
  }
  const weights = writeSafetensors(tensors, { format: "soma" });
  const unsigned = {
    model_type: "soma",
    name: card.name,
    soma_version: SOMA_VERSION,
    encoder: config,
    tokenizers: Object.fromEntries(
      modalities(config).map((modality) => [modality, tokenizerInForce(modality)]),
    ),
    files: {
      [WEIGHTS_FILE]: sha256(weights),
      ...(tokenizerModel === undefined ? {} : { [TOKENIZER_FILE]: sha256(tokenizerModel) }),
    },
  };
  const digest = sha256(JSON.stringify(unsigned));
  const files = new Map<string, Uint8Array | string>([
    [WEIGHTS_FILE, weights],
    [CONFIG_FILE, `${JSON.stringify({ ...unsigned, digest }, undefined, 2)}\n`],
    [CARD_FILE, renderCard(card, config)],
  ]);
  if (tokenizerModel !== undefined) files.set(TOKENIZER_FILE, tokenizerModel);
  await writeFolderAtomic(directory, files, options);
  return digest;
}

/**
 * Read a checkpoint and check all of it that can be checked without the architecture.
 * @param path  a checkpoint folder, or a run folder (see `resolveCheckpoint`)
 * @throws SomaError NO_CHECKPOINT (notFound), CORRUPT_CHECKPOINT or CORRUPT_SAFETENSORS (corrupt),
 *   TOKENIZER_CHANGED (refused)
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const directory = await resolveCheckpoint(path);
  const document = await readConfig(directory);
  checkTokenizers(directory, document);
  const weightsPath = join(directory, WEIGHTS_FILE);
  const weights = await readPinned(weightsPath, document.files[WEIGHTS_FILE]);
  const tokenizerDigest = document.files[TOKENIZER_FILE];
  const tokenizerPath = join(directory, TOKENIZER_FILE);
  if (tokenizerDigest !== undefined) await readPinned(tokenizerPath, tokenizerDigest);
  return {
    directory,
    name: document.name,
    config: document.encoder,
    tensors: readSafetensors(weights, weightsPath).tensors,
    digest: document.digest,
    somaVersion: document.soma_version,
    ...(tokenizerDigest === undefined ? {} : { tokenizerPath }),
  };
}

/**
 * The checkpoint folder that a path means: of a run folder (one that has checkpoints/), checkpoints/best if it
 * stands, else checkpoints/last; any other folder is meant itself. Finishes a swap that a crash cut in half.
 * @throws SomaError NO_CHECKPOINT (notFound)
 */
export async function resolveCheckpoint(path: string): Promise<string> {
  await settleFolder(path);
  if (!(await isDirectory(path))) {
    throw noCheckpoint(`there is no folder ${path}`);
  }
  const checkpoints = join(path, "checkpoints");
  if (!(await isDirectory(checkpoints))) {
    const files = await readdir(path);
    // One of the two alone is a damaged checkpoint; neither is another folder.
    if (files.includes(CONFIG_FILE) || files.includes(WEIGHTS_FILE)) return path;
    throw noCheckpoint(`the folder ${path} holds no checkpoint`);
  }
  for (const name of ["best", "last"]) {
    const candidate = join(checkpoints, name);
    await settleFolder(candidate);
    if (await isDirectory(candidate)) return candidate;
  }
  throw noCheckpoint(`the run ${path} has saved no checkpoint`);
}

interface CheckpointDocument extends Omit<z.output<typeof checkpointConfig>, "encoder"> {
  readonly encoder: EncoderConfig;
}

async function readConfig(directory: string): Promise<CheckpointDocument> {
  const path = join(directory, CONFIG_FILE);
  const bytes = await readOrRefuse(path);
  if (bytes.length > CONFIG_BYTES_MAX) throw corrupt(path, `it has ${bytes.length} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw corrupt(path, "it is not JSON");
  }
  let document: CheckpointDocument;
  try {
    const outer = parseConfig(checkpointConfig, value, path);
    document = { ...outer, encoder: parseEncoderConfig(outer.encoder, `${path}: encoder`) };
  } catch (error) {
    if (!(error instanceof SomaError)) throw error;
    const hint = error.next?.startsWith("did you mean") === true ? ` (${error.next})` : "";
    throw new SomaError({ ...corruptFailure(), what: `${error.message}${hint}` }, { cause: error });
  }
  const { digest, ...unsigned } = value as Record<string, unknown>;
  if (sha256(JSON.stringify(unsigned)) !== digest) {
    throw corrupt(path, "it is not what was saved: its digest differs");
  }
  const { encoder, files } = document;
  if ((encoder.text !== undefined) !== (files[TOKENIZER_FILE] !== undefined)) {
    throw corrupt(path, "an encoder of text needs a tokenizer, and no other may have one");
  }
  return document;
}

/** Tokens cut by another rule than the weights were trained on give wrong embeddings without a word. */
function checkTokenizers(directory: string, { encoder, tokenizers }: CheckpointDocument): void {
  for (const modality of modalities(encoder)) {
    const trained = tokenizers[modality] ?? "none";
    const inForce = tokenizerInForce(modality);
    if (trained === inForce) continue;
    throw new SomaError({
      code: "TOKENIZER_CHANGED",
      kind: "refused",
      what: `${directory} was trained with the ${modality} tokenizer ${trained}, this program has ${inForce}`,
      next: "use the release of soma that trained it, or train it again",
    });
  }
}

function tokenizerInForce(modality: "image" | "text"): string {
  const { tokenizer, version } = MODALITIES[modality];
  return `${tokenizer}/${version}`;
}

async function readPinned(path: string, digest: string): Promise<Uint8Array> {
  const bytes = await readOrRefuse(path);
  if (sha256(bytes) !== digest) {
    throw corrupt(path, `its SHA-256 is not the one in ${CONFIG_FILE}: truncated or tampered with`);
  }
  return bytes;
}

async function readOrRefuse(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
    throw corrupt(path, code === "ENOENT" ? "it is missing" : `it cannot be read (${code})`);
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

function firstNotFinite(tensors: ReadonlyMap<string, HostTensor>): string | undefined {
  for (const [name, { data }] of tensors) if (!data.every(Number.isFinite)) return name;
  return undefined;
}

function sha256(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}

/** The refusal of a damaged checkpoint; `path` names the file. */
export function corrupt(path: string, what: string): SomaError {
  return new SomaError({ ...corruptFailure(), what: `${path}: ${what}` });
}

function corruptFailure(): { code: string; kind: "corrupt"; next: string } {
  return {
    code: "CORRUPT_CHECKPOINT",
    kind: "corrupt",
    next: "restore the folder from a copy, use the run's other checkpoint, or train it again",
  };
}

function noCheckpoint(what: string): SomaError {
  return new SomaError({
    code: "NO_CHECKPOINT",
    kind: "notFound",
    what,
    next: "give the folder of a checkpoint or of a run, or make one with `soma train`",
  });
}
