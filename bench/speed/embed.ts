/**
 * Times the embedding of one batch of whole inputs by a trained checkpoint: tokens in, embeddings in plain memory out.
 * What comes before, decoding and cutting, is no part of it; cutting pictures is timed by itself.
 */
import { setImmediate } from "node:timers/promises";
import { assert, present, SomaError } from "../../base/errors.ts";
import { SILENT, type Progress } from "../../base/progress.ts";
import { fusedKernels, readValues, startBackend, tf } from "../../models/backend.ts";
import { packTokens, type TokenBatch } from "../../models/batch.ts";
import { loadCheckpoint } from "../../models/checkpoint.ts";
import type { EncoderConfig } from "../../models/config.ts";
import type { Precision } from "../../models/precision.ts";
import { noTower, type TransformerEncoder } from "../../models/transformer.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { seededRng, type Rng } from "../../tokenizers/random.ts";
import type { Image, MaskedTokens } from "../../tokenizers/tokenizer.ts";
import { PATCH_SIDE } from "../../tokenizers/units.ts";
import { setThreads } from "./engine.ts";
import { median } from "./statistics.ts";

/** Length of the texts, where the tower reads as long ones. */
const TEXT_TOKENS_DEFAULT = 32;
/** Bytes drawn for all pictures of a batch: they repeat, each picture beginning elsewhere. */
const DRAWN_BYTES = 1 << 16;
/** How often the loop lets signals and the progress line have a turn; a turn after every batch took a tenth of the time. */
const PAUSE_EVERY_MS = 20;
/** Batches cut to see what cutting costs. */
const CUTS = 5;

export interface EmbedWork {
  readonly modality: "image" | "text";
  readonly batch: number;
  /** Of a picture's side, in pixels, or of a text, in tokens; default: what the tower was trained for, at most 32 tokens. */
  readonly size?: number;
  readonly seed: number;
}

export interface EmbedOptions {
  /** Time that counts. */
  readonly seconds: number;
  /** Batches before. */
  readonly warmup: number;
  readonly progress?: Progress;
}

export interface EmbedResult {
  readonly engine: string;
  readonly threads: number;
  readonly examplesPerSecond: number;
  /** Median of the batches that count. */
  readonly batchMs: number;
  readonly peakRssMiB: number;
  readonly tensorsLeaked: number;
  readonly modality: "image" | "text";
  readonly batch: number;
  /** Pixels of a picture's side, or tokens of a text. */
  readonly size: number;
  /** Of each input. */
  readonly tokens: number;
  readonly dimension: number;
  readonly seconds: number;
  readonly batches: number;
  /** Pictures: decoded pixels into a batch of patches. Not in the other times; texts are drawn as tokens. */
  readonly tokenizeMs: number | null;
  readonly fused: readonly string[];
}

/** A checkpoint and the batch that it embeds. */
export class EmbedBench {
  readonly encoder: TransformerEncoder;
  readonly batch: TokenBatch;
  private readonly work: EmbedWork;
  private readonly size: number;
  private readonly engine: { readonly detail: string; readonly threads: number };

  private constructor(
    encoder: TransformerEncoder,
    work: EmbedWork,
    engine: { readonly detail: string; readonly threads: number },
  ) {
    this.encoder = encoder;
    this.work = work;
    this.engine = engine;
    this.size = sizeOf(encoder.config, work);
    this.batch = drawBatch(encoder.config, work, this.size);
  }

  /**
   * Starts the backend. `dispose()` must follow.
   * @throws SomaError as `loadCheckpoint`; MODALITY_NOT_TRAINED, BAD_FLAG (usage)
   */
  static async open(
    checkpoint: string,
    work: EmbedWork,
    engine: { readonly threads?: number; readonly precision: Precision },
  ): Promise<EmbedBench> {
    setThreads(engine.threads);
    const backend = await startBackend({ precision: engine.precision });
    const { encoder } = await loadCheckpoint(checkpoint);
    try {
      return new EmbedBench(encoder, work, backend);
    } catch (error) {
      encoder.dispose();
      throw error;
    }
  }

  /** Float32Array [batch × dimension] */
  embed(): Float32Array {
    return readValues(() => this.encoder.forward(this.batch));
  }

  async measure({ seconds, warmup, progress = SILENT }: EmbedOptions): Promise<EmbedResult> {
    for (let i = 0; i < warmup; i++) this.embed();
    const tensorsBefore = tf.memory().numTensors;
    const timesMs: number[] = [];
    const startMs = performance.now();
    let pauseMs = startMs + PAUSE_EVERY_MS;
    const elapsedS = (): number => (performance.now() - startMs) / 1000;
    do {
      const beforeMs = performance.now();
      this.embed();
      const nowMs = performance.now();
      timesMs.push(nowMs - beforeMs);
      if (nowMs >= pauseMs) {
        progress.update({ done: elapsedS(), total: seconds, count: timesMs.length });
        await setImmediate();
        pauseMs = performance.now() + PAUSE_EVERY_MS;
      }
    } while (elapsedS() < seconds);
    const tookS = elapsedS();
    progress.finish();
    const { modality, batch } = this.work;
    return {
      engine: this.engine.detail,
      threads: this.engine.threads,
      examplesPerSecond: (batch * timesMs.length) / tookS,
      batchMs: median(timesMs),
      peakRssMiB: process.resourceUsage().maxRSS / 1024,
      tensorsLeaked: tf.memory().numTensors - tensorsBefore,
      modality,
      batch,
      size: this.size,
      tokens: this.batch.units,
      dimension: this.encoder.config.dimension,
      seconds: tookS,
      batches: timesMs.length,
      tokenizeMs: modality === "image" ? this.timeCutting() : null,
      fused: fusedKernels(),
    };
  }

  dispose(): void {
    this.encoder.dispose();
  }

  private timeCutting(): number {
    const pictures = drawPictures(this.work, this.size);
    const timesMs = Array.from({ length: CUTS }, () => {
      const startMs = performance.now();
      packTokens(pictures.map((picture) => ({ tokens: patchify(picture) })));
      return performance.now() - startMs;
    });
    return median(timesMs);
  }
}

function sizeOf({ image, text }: EncoderConfig, { modality, size }: EmbedWork): number {
  if (modality === "image") {
    if (image === undefined) throw noTower("pictures");
    const sideMax = Math.floor(Math.sqrt(image.maxPatches)) * PATCH_SIDE;
    const side = size ?? sideMax;
    if (side % PATCH_SIDE === 0 && side <= sideMax) return side;
    throw badSize(side, `a multiple of ${PATCH_SIDE} pixels up to ${sideMax}`);
  }
  if (text === undefined) throw noTower("text");
  const length = size ?? Math.min(TEXT_TOKENS_DEFAULT, text.maxTokens);
  if (length <= text.maxTokens) return length;
  throw badSize(length, `at most the ${text.maxTokens} tokens that it reads`);
}

function badSize(size: number, wanted: string): SomaError {
  return new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: `this encoder was not trained for inputs of --size ${size}`,
    next: `give ${wanted}`,
  });
}

function drawBatch(config: EncoderConfig, work: EmbedWork, size: number): TokenBatch {
  if (work.modality === "image") {
    const pictures = drawPictures(work, size);
    return packTokens(pictures.map((picture) => ({ tokens: patchify(picture) })));
  }
  const { vocabularySize } = present(config.text, "sizeOf has seen to the tower");
  const rng = drawing(work);
  const texts = Array.from({ length: work.batch }, (): MaskedTokens => {
    const ids = Int32Array.from({ length: size }, () => rng.uniform(vocabularySize));
    return { tokens: { kind: "ids", modality: "text", ids } };
  });
  return packTokens(texts);
}

/** Noise; what a picture shows changes no time. */
function drawPictures(work: EmbedWork, side: number): Image[] {
  const rng = drawing(work);
  const drawn = Uint8Array.from({ length: DRAWN_BYTES }, () => rng.uniform(256));
  return Array.from({ length: work.batch }, () => {
    const start = rng.uniform(DRAWN_BYTES);
    const pixels = Uint8Array.from(
      { length: 3 * side * side },
      (_, i) => drawn[(start + i) % DRAWN_BYTES] ?? 0,
    );
    return { width: side, height: side, pixels };
  });
}

function drawing({ seed }: EmbedWork): Rng {
  return seededRng(seed, "bench/embed");
}

/** The content of a batch as its bytes, for another engine. */
export function rawInput(batch: TokenBatch): {
  readonly bytes: Uint8Array;
  readonly type: "uint8" | "int32";
  readonly shape: readonly number[];
} {
  const { size, units } = batch;
  if (batch.kind === "ids") {
    const bytes = new Uint8Array(batch.ids.buffer, batch.ids.byteOffset, batch.ids.byteLength);
    return { bytes, type: "int32", shape: [size, units] };
  }
  assert(batch.patches instanceof Uint8Array, "packTokens leaves patches as bytes");
  return { bytes: batch.patches, type: "uint8", shape: [size, units, batch.patchBytes] };
}
