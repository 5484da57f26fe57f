/** What `soma embed` and `soma export` do between their flags and the work. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";
import { writeFolderAtomic } from "../base/folders.ts";
import { SILENT, terminalProgress } from "../base/progress.ts";
import { printJson, say } from "../base/terminal.ts";
import { loadDataset } from "../datasets/registry.ts";
import { requireSplit, requireSplitName } from "../datasets/split.ts";
import { describeBackend, startBackend } from "../models/backend.ts";
import {
  CARD_FILE,
  CONFIG_FILE,
  readCheckpoint,
  TOKENIZER_FILE,
  WEIGHTS_FILE,
} from "../models/checkpoint-folder.ts";
import { EncoderSession } from "../models/session.ts";
import { embedDataset, formatOf, openSink } from "./embed.ts";
import { wholeNumber } from "./train-command.ts";

export interface EmbedFlags {
  readonly manifest?: string;
  readonly dataset?: string;
  readonly split?: string;
  readonly out: string;
  readonly dimension?: string;
  readonly batch: string;
  readonly normalize?: boolean;
  readonly skipCorrupt?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** @throws SomaError for every refusal; the output file then does not appear, or stays as it was */
export async function embedCommand(checkpoint: string, flags: EmbedFlags): Promise<void> {
  const source = flags.manifest ?? flags.dataset;
  if (source === undefined || (flags.manifest !== undefined && flags.dataset !== undefined)) {
    throw new SomaError({
      code: "BAD_FLAG",
      kind: "usage",
      what: "one of --manifest and --dataset says what to embed",
      next: "e.g. --manifest data.jsonl, or --dataset emoji",
    });
  }
  formatOf(flags.out); // a wrong name is said before the work, not after it
  const batchSize = wholeNumber(flags.batch, "--batch");
  const split = flags.split === undefined ? undefined : requireSplitName(flags.split);
  const quiet = flags.quiet === true;
  const tell = quiet ? (): void => undefined : say;

  const session = await EncoderSession.open(checkpoint);
  try {
    const dimension =
      flags.dimension === undefined
        ? session.dimension
        : wholeNumber(flags.dimension, "--dimension");
    const dataset = await loadDataset(source, { warn: tell });
    const examples = split === undefined ? dataset.examples : requireSplit(dataset, split);
    const sink = await openSink(flags.out, dimension);
    const progress = quiet ? SILENT : terminalProgress({ label: "embed", unit: "example" });
    const startedMs = performance.now();
    try {
      const counts = await embedDataset(session, dataset, examples, sink, {
        dimension,
        normalize: flags.normalize === true,
        batchSize,
        skipCorrupt: flags.skipCorrupt === true,
        progress,
        warn: tell,
      });
      await sink.close();
      const seconds = (performance.now() - startedMs) / 1000;
      const { rowCount, modalities, skippedCount } = counts;
      progress.finish();
      const kinds = Object.entries(modalities).map(([modality, count]) => `${count} ${modality}`);
      tell(`${flags.out}: ${kinds.join(", ")} embeddings of ${dimension} dimensions`);
      if (skippedCount > 0) {
        tell(`${skippedCount} inputs left out: not read by this encoder, or not readable at all`);
      }
      if (flags.json === true) {
        printJson({
          schemaVersion: 1,
          out: flags.out,
          checkpoint: session.checkpoint?.directory ?? checkpoint,
          digest: session.checkpoint?.digest ?? null,
          rows: rowCount,
          modalities,
          skipped: skippedCount,
          dimension,
          seconds,
          backend: describeBackend(await startBackend()),
        });
      }
    } catch (error) {
      progress.finish();
      await sink.abandon();
      throw error;
    }
  } finally {
    session.dispose();
  }
}

export interface ExportFlags {
  readonly out: string;
  readonly format: string;
  readonly json?: boolean;
}

/**
 * Copy a checkpoint, every digest checked before and after.
 * @throws SomaError FORMAT_UNKNOWN, OUT_EXISTS (usage), and what `readCheckpoint` refuses
 */
export async function exportCommand(path: string, flags: ExportFlags): Promise<void> {
  if (flags.format !== "safetensors") {
    throw new SomaError({
      code: "FORMAT_UNKNOWN",
      kind: "usage",
      what: `there is no export format "${flags.format}"`,
      next: "the one there is, safetensors, is read by Python and by soma",
    });
  }
  const existing = await readdir(flags.out).catch(() => []);
  if (existing.length > 0) {
    throw new SomaError({
      code: "OUT_EXISTS",
      kind: "usage",
      what: `${flags.out} is not empty`,
      next: "give a new folder, or remove what is in it",
    });
  }
  const { directory, name, digest } = await readCheckpoint(path);
  const files = new Map<string, Uint8Array>();
  for (const file of [WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, CARD_FILE]) {
    const content = await readFile(join(directory, file)).catch(() => undefined);
    if (content !== undefined) files.set(file, content);
  }
  await writeFolderAtomic(flags.out, files);
  const copy = await readCheckpoint(flags.out);
  say(
    `${name} (${copy.digest.slice(0, 12)}) from ${directory} to ${flags.out}: ${[...files.keys()].join(", ")}`,
  );
  if (flags.json === true) {
    printJson({
      schemaVersion: 1,
      out: flags.out,
      from: directory,
      name,
      digest,
      files: [...files.keys()],
    });
  }
}
