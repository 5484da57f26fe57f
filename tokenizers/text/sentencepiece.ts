/**
 * Text as SentencePiece ids: the one door of sentencepiece-js, a compiled copy of Google's C++ library.
 * Ids equal `spm_encode --output_format=id` on any line; test/vectors/spm-lines.json holds some hundred.
 * Source: seed "Modality-Specific Tokenization and Masking Ratios"; protocol part 2.
 */
import { createRequire } from "node:module";
import { assert } from "../../base/errors.ts";
import { MODALITIES } from "../modality.ts";
import type { IdTokens, Tokenizer } from "../tokenizer.ts";
import { decodeText } from "./decode.ts";
import {
  checkTextModel,
  SPECIAL_IDS,
  TEXT_MODEL_SHA256,
  textModelPath,
  VOCABULARY_SIZE,
} from "./model-file.ts";

/** The part of the library we use. It is CommonJS, without types. */
interface Processor {
  load(path: string): Promise<void>;
  encodeIds(text: string): number[];
  decodeIds(ids: readonly number[]): string;
}

/** Loaded once per process: `loadTextTokenizer`. All methods are synchronous; nothing grows with use. */
export class TextTokenizer implements Tokenizer<string> {
  readonly modality = "text";
  readonly vocabularySize = VOCABULARY_SIZE;
  readonly specialIds = SPECIAL_IDS;
  /** SHA-256 of the model, hex: goes into checkpoints. */
  readonly sha256 = TEXT_MODEL_SHA256;
  private readonly processor: Processor;
  private readonly pieceTexts: readonly string[];

  constructor(processor: Processor, pieces: readonly string[]) {
    this.processor = processor;
    this.pieceTexts = pieces;
  }

  /** Strict UTF-8 up to 1 MiB. @throws SomaError as `decodeText` */
  async decode(bytes: Uint8Array): Promise<string> {
    return decodeText(bytes);
  }

  /** The first 512 ids: what the network means by this text. May be short: `assertUnits` is the network's rule. */
  tokenize(text: string): IdTokens {
    return {
      kind: "ids",
      modality: "text",
      ids: this.encode(text).slice(0, MODALITIES.text.unitsMax),
    };
  }

  /**
   * All ids of `text`, none added at either end. Line ends are characters like others; `spm_encode` would have
   * split there. Half of a surrogate pair, which no file can hold, counts as U+FFFD.
   * @returns Int32Array [units], empty for text of spaces alone
   */
  encode(text: string): Int32Array {
    // Left alone, the library would join half a pair with whatever character follows it.
    return Int32Array.from(this.processor.encodeIds(text.replace(/\p{Surrogate}/gu, "\ufffd")));
  }

  /**
   * The text that ids stand for: its NFKC form, runs of spaces joined. Special ids vanish, but for `unknown`, which
   * is shown as " ⁇ "; so does a byte order mark in front.
   */
  decodeIds(ids: ArrayLike<number>): string {
    const checked = Array.from(ids);
    for (const id of checked) assertId(id);
    return this.processor.decodeIds(checked);
  }

  /** How the vocabulary writes a piece: "▁he", "<0x0A>", "[MASK]". */
  piece(id: number): string {
    assertId(id);
    return this.pieceTexts[id] ?? "";
  }
}

let loading: Promise<Processor> | undefined;

/**
 * The text tokenizer. Only the pinned model is taken, so all callers share one copy of the library (about
 * 20 MB), whatever path they name.
 * @param path a copy of the model, e.g. a checkpoint's; the package's own if left out
 * @throws SomaError TOKENIZER_NOT_FOUND (not found) or TOKENIZER_CORRUPT (corrupt)
 */
export async function loadTextTokenizer(path = textModelPath()): Promise<TextTokenizer> {
  const pieces = checkTextModel(path);
  loading ??= loadProcessor(path).catch((error: unknown) => {
    loading = undefined; // a file that vanished meanwhile must not spoil later calls
    throw error;
  });
  return new TextTokenizer(await loading, pieces);
}

async function loadProcessor(path: string): Promise<Processor> {
  const library = createRequire(import.meta.url)("sentencepiece-js") as {
    SentencePieceProcessor: new () => Processor;
  };
  const processor = new library.SentencePieceProcessor();
  await withoutNewListeners(() => processor.load(path));
  return processor;
}

/**
 * The library's start-up code adds process-wide listeners that throw every uncaught error again, which would
 * replace our exit codes and crash reports by its own.
 */
async function withoutNewListeners(work: () => Promise<void>): Promise<void> {
  const events = ["uncaughtException", "unhandledRejection"] as const;
  const before = new Set(events.flatMap((event) => process.rawListeners(event)));
  await work();
  for (const event of events) {
    for (const listener of process.rawListeners(event)) {
      if (!before.has(listener)) process.off(event, listener as (...args: unknown[]) => void);
    }
  }
}

function assertId(id: number): void {
  assert(
    Number.isInteger(id) && id >= 0 && id < VOCABULARY_SIZE,
    `${id} is not an id of the vocabulary`,
  );
}
