/** Bulk embedding: a checkpoint and a dataset in, a file with one row per example and modality out. */
import { extname } from "node:path";
import { SomaError } from "../base/errors.ts";
import { writeFileAtomic } from "../base/files.ts";
import { nearestName } from "../base/nearest.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import type { Dataset, Example } from "../datasets/dataset.ts";
import type { EmbeddingRow } from "../datasets/embeddings.ts";
import type { ImageStore } from "../datasets/image-store.ts";
import { loadImages } from "../datasets/images.ts";
import type { EmbedOptions } from "../models/embedding.ts";
import type { EncoderSession } from "../models/session.ts";
import { patchify } from "../tokenizers/image/patches.ts";
import type { MaskedTokens } from "../tokenizers/tokenizer.ts";
import { openLineFile } from "./line-file.ts";

/** Examples whose pictures are held in memory at once. */
const CHUNK_EXAMPLES = 4096;

export interface EmbedDatasetOptions extends EmbedOptions {
  /** Inputs handed to the encoder at once. */
  readonly batchSize: number;
  /** Leave out examples that cannot be read instead of throwing. */
  readonly skipCorrupt: boolean;
  readonly progress?: Progress;
  readonly warn?: (sentence: string) => void;
}

export interface EmbeddedCounts {
  readonly rowCount: number;
  /** Rows by modality. */
  readonly modalities: Readonly<Record<string, number>>;
  /** Examples or parts of examples that were left out, e.g. texts for an encoder without a text tower. */
  readonly skippedCount: number;
}

/** Takes rows in order, then is closed or abandoned. */
export interface RowSink {
  write(rows: readonly EmbeddingRow[]): Promise<void>;
  /** Puts the file in its place. */
  close(): Promise<void>;
  /** Leaves no trace. */
  abandon(): Promise<void>;
}

/**
 * Embed `examples` in order: an example with text and picture gives two rows, text first.
 * @throws SomaError IMAGES_CORRUPT (corrupt), EMPTY_TEXT (usage) naming the example, unless skipped;
 *   NOTHING_TO_EMBED (usage) if no row comes out
 */
export async function embedDataset(
  session: EncoderSession,
  dataset: Dataset,
  examples: readonly Example[],
  sink: RowSink,
  options: EmbedDatasetOptions,
): Promise<EmbeddedCounts> {
  const { batchSize, skipCorrupt, progress = SILENT, warn = () => undefined } = options;
  const reads = new Set(session.modalities);
  const modalities: Record<string, number> = {};
  let skippedCount = 0;
  let pending: { id: string; modality: string; input: MaskedTokens }[] = [];
  const flush = async (): Promise<void> => {
    const embeddings = await session.embedTokens(
      pending.map(({ input }) => input),
      options,
    );
    const rows = pending.flatMap(({ id, modality }, i): EmbeddingRow[] => {
      const embedding = embeddings[i];
      return embedding === undefined ? [] : [{ id, modality, embedding }];
    });
    for (const { modality } of rows) modalities[modality] = (modalities[modality] ?? 0) + 1;
    pending = [];
    await sink.write(rows);
  };

  const imageTower = session.config.image;
  for (let start = 0; start < examples.length; start += CHUNK_EXAMPLES) {
    const chunk = examples.slice(start, start + CHUNK_EXAMPLES);
    const images: ImageStore | undefined =
      imageTower === undefined
        ? undefined
        : await loadImages(dataset, chunk, {
            maxPatches: imageTower.maxPatches,
            trim: imageTower.trim,
            skipCorrupt,
            warn,
          });
    for (const [i, example] of chunk.entries()) {
      if (example.text !== undefined) {
        const input = reads.has("text") ? textInput(session, example, skipCorrupt) : undefined;
        if (input === undefined) skippedCount++;
        else pending.push({ id: example.id, modality: "text", input });
      }
      if (example.image !== undefined) {
        if (images?.has(example.id) === true) {
          const input = { tokens: patchify(images.get(example.id)) };
          pending.push({ id: example.id, modality: "image", input });
        } else {
          skippedCount++;
        }
      }
      if (pending.length >= batchSize) await flush();
      progress.update({ done: start + i + 1, total: examples.length });
    }
  }
  if (pending.length > 0) await flush();
  const rowCount = Object.values(modalities).reduce((sum, count) => sum + count, 0);
  if (rowCount > 0) return { rowCount, modalities, skippedCount };
  throw new SomaError({
    code: "NOTHING_TO_EMBED",
    kind: "usage",
    what: `none of the ${examples.length} examples has ${session.modalities.join(" or ")} that this encoder reads`,
    next: "use a checkpoint that was trained on the modality of the dataset",
  });
}

function textInput(
  session: EncoderSession,
  example: Example,
  skipCorrupt: boolean,
): MaskedTokens | undefined {
  try {
    return { tokens: session.tokenizeText(example.text ?? "") };
  } catch (error) {
    if (!(error instanceof SomaError)) throw error;
    if (skipCorrupt) return undefined;
    throw new SomaError(
      {
        code: error.code,
        kind: error.kind,
        what: `example "${example.id}": ${error.message}`,
        next: "correct it, or leave such examples out with --skip-corrupt",
      },
      { cause: error },
    );
  }
}

export type EmbeddingFormat = ".jsonl" | ".arrow" | ".parquet" | ".npy";
const FORMATS: readonly EmbeddingFormat[] = [".jsonl", ".arrow", ".parquet", ".npy"];

/** The format that a file name asks for. @throws SomaError FORMAT_UNKNOWN (usage) naming the nearest */
export function formatOf(path: string): EmbeddingFormat {
  const extension = extname(path).toLowerCase();
  const format = FORMATS.find((known) => known === extension);
  if (format !== undefined) return format;
  const nearest = nearestName(extension, FORMATS);
  throw new SomaError({
    code: "FORMAT_UNKNOWN",
    kind: "usage",
    what: `${path} has no format that embeddings are written in`,
    next: nearest === undefined ? `end it in ${FORMATS.join(", ")}` : `did you mean ${nearest}?`,
  });
}

/**
 * Where rows go: a file that appears whole or not at all. JSON lines are streamed, the other formats are made in
 * memory. Beside a .npy, which has room for numbers only, stands `.ids.jsonl` with id and modality of each row.
 * @throws SomaError FORMAT_UNKNOWN (usage), DISK_FULL (resources), WRITE_FAILED (failure)
 */
export async function openSink(path: string, dimension: number): Promise<RowSink> {
  const format = formatOf(path);
  return format === ".jsonl" ? openJsonLines(path) : new MemorySink(path, format, dimension);
}

async function openJsonLines(path: string): Promise<RowSink> {
  const file = await openLineFile(path);
  return {
    write: (rows) => file.write(rows.map(jsonLine).join("")),
    close: () => file.close(),
    abandon: () => file.abandon(),
  };
}

function jsonLine({ id, modality, embedding }: EmbeddingRow): string {
  // Nine digits name every float32 exactly; as doubles they would be written with twice as many.
  const values = Array.from(embedding, (value) => Number(value.toPrecision(9)));
  return `${JSON.stringify({ id, modality, embedding: values })}\n`;
}

class MemorySink implements RowSink {
  private readonly rows: EmbeddingRow[] = [];
  private readonly path: string;
  private readonly format: Exclude<EmbeddingFormat, ".jsonl">;
  private readonly dimension: number;

  constructor(path: string, format: Exclude<EmbeddingFormat, ".jsonl">, dimension: number) {
    this.path = path;
    this.format = format;
    this.dimension = dimension;
  }

  async write(rows: readonly EmbeddingRow[]): Promise<void> {
    this.rows.push(...rows);
  }

  async close(): Promise<void> {
    const { rows, path, dimension } = this;
    switch (this.format) {
      case ".arrow": {
        const { writeEmbeddingsArrow } = await import("../datasets/arrow.ts");
        return writeFileAtomic(path, writeEmbeddingsArrow(rows, dimension));
      }
      case ".parquet": {
        const { writeEmbeddingsParquet } = await import("../datasets/parquet.ts");
        return writeFileAtomic(path, writeEmbeddingsParquet(rows));
      }
      case ".npy": {
        const { writeNpy } = await import("../datasets/npy.ts");
        const values = new Float32Array(rows.length * dimension);
        for (const [i, { embedding }] of rows.entries()) values.set(embedding, i * dimension);
        const ids = rows.map(({ id, modality }) => `${JSON.stringify({ id, modality })}\n`);
        await writeFileAtomic(path.replace(/\.npy$/i, ".ids.jsonl"), ids.join(""));
        return writeFileAtomic(
          path,
          writeNpy({ values, rowCount: rows.length, columnCount: dimension }),
        );
      }
    }
  }

  async abandon(): Promise<void> {
    this.rows.length = 0;
  }
}
