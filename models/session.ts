/**
 * EncoderSession: a checkpoint that answers. Texts, pictures or tokens in, embeddings out; in this process, no
 * sockets. Inputs are grouped by kind and length into batches under a token budget, one batch at a time.
 */
import { setImmediate } from "node:timers/promises";
import { assert, SomaError } from "../base/errors.ts";
import { decodeImage, type DecodeOptions } from "../tokenizers/image/decode.ts";
import { patchify } from "../tokenizers/image/patches.ts";
import { MODALITIES } from "../tokenizers/modality.ts";
import type { IdTokens, MaskedTokens, PatchTokens } from "../tokenizers/tokenizer.ts";
import { unitCount } from "../tokenizers/tokenizer.ts";
import type { TextTokenizer } from "../tokenizers/text/sentencepiece.ts";
import { startBackend, tf, type BackendName } from "./backend.ts";
import { packTokens } from "./batch.ts";
import { modalities } from "./card.ts";
import { loadCheckpoint } from "./checkpoint.ts";
import type { Checkpoint } from "./checkpoint-folder.ts";
import type { EncoderConfig } from "./config.ts";
import { assertCut, cutEmbedding, type EmbedOptions } from "./embedding.ts";
import type { Embedding, Encoder } from "./encoder.ts";
import { namingTensors } from "./memory-error.ts";
import { noTower, type TransformerEncoder } from "./transformer.ts";

/** Tokens of one batch at most, padding counted: bounds memory and the time that one batch takes. */
export const BATCH_TOKENS_DEFAULT = 16_384;

/** Spaces, controls and invisible marks alone: byte fallback makes tokens of them, but they say nothing. */
const NOTHING_TO_READ = /^[\p{Z}\p{Cc}\p{Cf}]*$/u;

export interface SessionOptions {
  /** The tensor backend to begin with; see `startBackend`. */
  readonly backend?: BackendName;
  /** Tokens of one batch at most, padding counted; an input longer than this still gets a batch of its own. */
  readonly maxBatchTokens?: number;
}

export class EncoderSession implements Encoder {
  readonly encoder: TransformerEncoder;
  /** What was opened; absent for a session over an encoder in memory. */
  readonly checkpoint: Checkpoint | undefined;
  private readonly tokenizer: TextTokenizer | undefined;
  private readonly maxBatchTokens: number;
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    encoder: TransformerEncoder,
    checkpoint: Checkpoint | undefined,
    tokenizer: TextTokenizer | undefined,
    maxBatchTokens: number,
  ) {
    this.encoder = encoder;
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
    this.maxBatchTokens = maxBatchTokens;
  }

  /**
   * Open a checkpoint or run folder, starting the backend. `dispose()` frees it.
   * @throws SomaError for a folder that is missing or damaged; see `loadCheckpoint`
   */
  static async open(path: string, options: SessionOptions = {}): Promise<EncoderSession> {
    await startBackend(options.backend === undefined ? {} : { prefer: options.backend });
    const { encoder, checkpoint } = await loadCheckpoint(path);
    try {
      const tokenizer = await textTokenizerOf(encoder.config, checkpoint.tokenizerPath);
      const { maxBatchTokens = BATCH_TOKENS_DEFAULT } = options;
      return new EncoderSession(encoder, checkpoint, tokenizer, maxBatchTokens);
    } catch (error) {
      encoder.dispose();
      throw error;
    }
  }

  /** A session over an encoder in memory, such as one in training. The encoder stays the caller's: do not dispose the session. */
  static async over(
    encoder: TransformerEncoder,
    options: SessionOptions = {},
  ): Promise<EncoderSession> {
    await startBackend(options.backend === undefined ? {} : { prefer: options.backend });
    const tokenizer = await textTokenizerOf(encoder.config);
    const { maxBatchTokens = BATCH_TOKENS_DEFAULT } = options;
    return new EncoderSession(encoder, undefined, tokenizer, maxBatchTokens);
  }

  get config(): EncoderConfig {
    return this.encoder.config;
  }

  /** Length of an embedding that is not cut. */
  get dimension(): number {
    return this.encoder.config.dimension;
  }

  /** What the encoder reads. */
  get modalities(): readonly ("image" | "text")[] {
    return modalities(this.encoder.config);
  }

  /** One embedding [dimension] per input, in order; not normalised, not cut. */
  async embed(inputs: readonly MaskedTokens[]): Promise<readonly Embedding[]> {
    return this.embedTokens(inputs, { normalize: false });
  }

  /**
   * One embedding per input, in order. Inputs may mix kinds.
   * @throws SomaError BAD_DIMENSION, BAD_TOKENS, MODALITY_NOT_TRAINED (usage), NOT_FINITE (failure)
   */
  async embedTokens(
    inputs: readonly MaskedTokens[],
    options: EmbedOptions = {},
  ): Promise<Embedding[]> {
    if (options.dimension !== undefined) assertCut(this.config, options.dimension);
    for (const input of inputs) this.assertReadable(input);
    const embeddings: Embedding[] = new Array<Embedding>(inputs.length);
    for (const positions of planBatches(inputs, this.maxBatchTokens)) {
      const batch = positions
        .map((position) => inputs[position])
        .filter((input) => input !== undefined);
      const rows = await this.inTurn(() => this.forward(batch));
      positions.forEach((position, row) => {
        const full = rows.subarray(row * this.dimension, (row + 1) * this.dimension);
        embeddings[position] = cutEmbedding(full, options);
      });
    }
    return embeddings;
  }

  /** @throws SomaError as `tokenizeText` and `embedTokens` */
  async embedTexts(texts: readonly string[], options: EmbedOptions = {}): Promise<Embedding[]> {
    return this.embedTokens(
      texts.map((text) => ({ tokens: this.tokenizeText(text) })),
      options,
    );
  }

  /** Embed encoded pictures (jpeg, png, webp). @throws SomaError as `tokenizeImage` and `embedTokens` */
  async embedImages(
    pictures: readonly Uint8Array[],
    options: EmbedOptions = {},
  ): Promise<Embedding[]> {
    const inputs: MaskedTokens[] = [];
    // One after another: a stranger's picture may take 200 MB while it is decoded.
    for (const bytes of pictures) inputs.push({ tokens: await this.tokenizeImage(bytes) });
    return this.embedTokens(inputs, options);
  }

  /**
   * The tokens of a text, cut to what the encoder reads.
   * @throws SomaError MODALITY_NOT_TRAINED (usage), EMPTY_TEXT (usage) for a text with nothing to read in it,
   *   TEXT_TOO_LARGE (refused)
   */
  tokenizeText(text: string): IdTokens {
    const tower = this.config.text;
    if (tower === undefined || this.tokenizer === undefined) throw noTower("text");
    const { inputBytesMax } = MODALITIES.text;
    const sizeBytes = Buffer.byteLength(text);
    if (sizeBytes > inputBytesMax) {
      throw new SomaError({
        code: "TEXT_TOO_LARGE",
        kind: "refused",
        what: `a text has ${sizeBytes} bytes, the limit is ${inputBytesMax}`,
        next: "split it, or give its beginning: only the first tokens are read",
      });
    }
    const ids = NOTHING_TO_READ.test(text) ? new Int32Array(0) : this.tokenizer.encode(text);
    if (ids.length === 0) {
      throw new SomaError({
        code: "EMPTY_TEXT",
        kind: "usage",
        what: "the text is empty, or nothing but spaces and control characters",
        next: "give at least one letter, digit or sign",
      });
    }
    return { kind: "ids", modality: "text", ids: ids.slice(0, tower.maxTokens) };
  }

  /** Tokens of a whole text, also of those that `tokenizeText` cuts. @throws SomaError MODALITY_NOT_TRAINED (usage) */
  countTokens(text: string): number {
    if (this.tokenizer === undefined) throw noTower("text");
    return this.tokenizer.encode(text).length;
  }

  /**
   * The patches of an encoded picture, on the grid that the encoder was trained for.
   * @throws SomaError MODALITY_NOT_TRAINED (usage), or what `decodeImage` refuses
   */
  async tokenizeImage(
    bytes: Uint8Array,
    options: Pick<DecodeOptions, "trusted"> = {},
  ): Promise<PatchTokens> {
    const tower = this.config.image;
    if (tower === undefined) throw noTower("pictures");
    return patchify(
      await decodeImage(bytes, { ...options, maxPatches: tower.maxPatches, trim: tower.trim }),
    );
  }

  /** Free the weights. Nothing may be embedded after. */
  dispose(): void {
    this.encoder.dispose();
  }

  /** Embeddings [batch × dimension] of inputs of one kind. */
  private async forward(inputs: readonly MaskedTokens[]): Promise<Float32Array> {
    const units = paddedUnits(Math.max(...inputs.map(({ tokens }) => unitCount(tokens))));
    const batch = packTokens(this.padRows(inputs, units), units);
    const output = namingTensors(() => tf.tidy(() => this.encoder.forward(batch)));
    try {
      const rows = await output.data();
      assert(rows.length === batch.size * this.dimension, "one embedding per input");
      return rows as Float32Array;
    } finally {
      output.dispose();
    }
  }

  /** The inputs, with the last one repeated up to a size that comes up often, within the budget. */
  private padRows(inputs: readonly MaskedTokens[], units: number): readonly MaskedTokens[] {
    const size = paddedSize(inputs.length);
    const last = inputs.at(-1);
    if (last === undefined || size * units > this.maxBatchTokens) return inputs;
    return [...inputs, ...new Array<MaskedTokens>(size - inputs.length).fill(last)];
  }

  /** Run `work` after all earlier work: one batch at a time on the backend, other events of the process between two. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(() => setImmediate()).then(work);
    this.turn = result.catch(() => undefined); // the caller of that work has its error
    return result;
  }

  /** Tokens may come from a client: an id outside the vocabulary must not reach a gather. */
  private assertReadable({ tokens }: MaskedTokens): void {
    const refuse = (what: string, next: string): SomaError =>
      new SomaError({ code: "BAD_TOKENS", kind: "usage", what, next });
    if (unitCount(tokens) === 0) {
      throw refuse("an input has no tokens", "give at least one");
    }
    if (tokens.kind === "patches") {
      if (this.config.image === undefined) throw noTower("pictures");
      assert(
        tokens.patches.length === unitCount(tokens) * tokens.patchBytes,
        "patches fill their grid",
      );
      return;
    }
    const tower = this.config.text;
    if (tower === undefined) throw noTower("text");
    if (tokens.ids.length > tower.maxTokens) {
      throw refuse(
        `an input has ${tokens.ids.length} tokens`,
        `this encoder reads at most ${tower.maxTokens}`,
      );
    }
    const outside = tokens.ids.find((id) => id < 0 || id >= tower.vocabularySize);
    if (outside !== undefined) {
      throw refuse(`there is no token ${outside}`, `ids are 0 to ${tower.vocabularySize - 1}`);
    }
  }
}

/** Loaded here because an encoder of pictures alone needs none of it. @param path  default: the network's own model */
async function textTokenizerOf(
  config: EncoderConfig,
  path?: string,
): Promise<TextTokenizer | undefined> {
  if (config.text === undefined) return undefined;
  const { loadTextTokenizer } = await import("../tokenizers/text/sentencepiece.ts");
  return loadTextTokenizer(path);
}

/**
 * TensorFlow keeps a compiled kernel for each shape that it meets (170 MB more after 10,000 requests of mixed
 * lengths and batch sizes, and a slow first time for each). So lengths are rounded up to a multiple of this, and
 * sizes to 1, 2, 3, 4, 6, 8, 12, 16, 24, …: some 15 % more work for a hundred shapes instead of thousands.
 */
const UNITS_STEP = 8;

/** The length that a sequence of `units` is padded to. */
export function paddedUnits(units: number): number {
  return Math.ceil(units / UNITS_STEP) * UNITS_STEP;
}

/** The least of 1, 2, 3, 4, 6, 8, 12, 16, … (2^n and 3·2^n) that is not under `size`. */
export function paddedSize(size: number): number {
  const power = 2 ** Math.ceil(Math.log2(size));
  return size <= power * 0.75 && power >= 4 ? power * 0.75 : power;
}

/**
 * Positions of the inputs, batch by batch: one kind and patch size each, similar lengths together, at most
 * `maxBatchTokens` tokens once padded to the longest. Each position appears once.
 */
export function planBatches(
  inputs: readonly MaskedTokens[],
  maxBatchTokens: number,
): readonly (readonly number[])[] {
  const groups = new Map<string, { position: number; units: number }[]>();
  inputs.forEach(({ tokens }, position) => {
    const key = tokens.kind === "ids" ? "ids" : `patches of ${tokens.patchBytes}`;
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push({ position, units: paddedUnits(unitCount(tokens)) });
  });
  const batches: number[][] = [];
  for (const group of groups.values()) {
    group.sort((a, b) => a.units - b.units || a.position - b.position);
    let batch: number[] = [];
    for (const { position, units } of group) {
      // Ascending lengths: the one that is added is the longest, and all are padded to it.
      if (batch.length > 0 && (batch.length + 1) * units > maxBatchTokens) {
        batches.push(batch);
        batch = [];
      }
      batch.push(position);
    }
    batches.push(batch);
  }
  return batches;
}
