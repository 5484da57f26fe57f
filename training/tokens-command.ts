/**
 * `soma tokens`: a dataset as an encoder reads it, cut by our own rules, for training that goes on elsewhere
 * (docs/beyond-one-machine.md). Text as ids, pictures as raw patches; one JSON line for each input.
 */
import { SomaError } from "../base/errors.ts";
import { SILENT, terminalProgress } from "../base/progress.ts";
import { printJson, say } from "../base/terminal.ts";
import { loadImages } from "../datasets/images.ts";
import { loadDataset } from "../datasets/registry.ts";
import { requireSplit, requireSplitName } from "../datasets/split.ts";
import { readCheckpoint } from "../models/checkpoint-folder.ts";
import { loadTextTokenizer } from "../tokenizers/text/sentencepiece.ts";
import { inputsOf, type ExampleInput } from "./inputs.ts";
import { openLineFile } from "./line-file.ts";

export interface TokensFlags {
  readonly manifest?: string;
  readonly dataset?: string;
  readonly split?: string;
  readonly out: string;
  readonly skipCorrupt?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Examples whose pictures are held in memory at once. */
const CHUNK_EXAMPLES = 4096;
/** A picture's line has up to 200 kB. */
const LINES_AT_ONCE = 128;

/** @throws SomaError for every refusal; the output file then does not appear, or stays as it was */
export async function tokensCommand(checkpoint: string, flags: TokensFlags): Promise<void> {
  const source = flags.manifest ?? flags.dataset;
  if (source === undefined || (flags.manifest !== undefined && flags.dataset !== undefined)) {
    throw new SomaError({
      code: "BAD_FLAG",
      kind: "usage",
      what: "one of --manifest and --dataset says what to read",
      next: "e.g. --manifest data.jsonl, or --dataset emoji",
    });
  }
  const split = flags.split === undefined ? undefined : requireSplitName(flags.split);
  const tell = flags.quiet === true ? (): void => undefined : say;
  const { config, digest, tokenizerPath } = await readCheckpoint(checkpoint);
  const dataset = await loadDataset(source, { warn: tell });
  const examples = split === undefined ? dataset.examples : requireSplit(dataset, split);
  const tokenizer =
    tokenizerPath === undefined ? undefined : await loadTextTokenizer(tokenizerPath);

  const progress =
    flags.quiet === true ? SILENT : terminalProgress({ label: "tokens", unit: "example" });
  const rows: Record<string, number> = {};
  const file = await openLineFile(flags.out);
  try {
    for (let start = 0; start < examples.length; start += CHUNK_EXAMPLES) {
      const chunk = examples.slice(start, start + CHUNK_EXAMPLES);
      const images =
        config.image === undefined
          ? undefined
          : await loadImages(dataset, chunk, {
              maxPatches: config.image.maxPatches,
              trim: config.image.trim,
              skipCorrupt: flags.skipCorrupt === true,
              warn: tell,
            });
      const inputs = chunk.flatMap((example) => inputsOf(example, { images, tokenizer }, config));
      for (const { modality } of inputs) rows[modality] = (rows[modality] ?? 0) + 1;
      for (let at = 0; at < inputs.length; at += LINES_AT_ONCE)
        await file.write(
          inputs
            .slice(at, at + LINES_AT_ONCE)
            .map(tokensLine)
            .join(""),
        );
      progress.update({ done: start + chunk.length, total: examples.length });
    }
    progress.finish();
    if (Object.keys(rows).length === 0) {
      throw new SomaError({
        code: "NOTHING_TO_READ",
        kind: "usage",
        what: `none of the ${examples.length} examples has anything that this encoder reads`,
        next: "use a checkpoint that was trained on the modality of the dataset",
      });
    }
    await file.close();
  } catch (error) {
    progress.finish();
    await file.abandon();
    throw error;
  }
  const kinds = Object.entries(rows).map(([modality, count]) => `${count} ${modality}`);
  tell(`${flags.out}: ${kinds.join(", ")} rows of tokens`);
  if (flags.json === true) {
    const { name, digest: dataDigest } = dataset;
    printJson({
      schemaVersion: 1,
      out: flags.out,
      checkpoint: digest,
      dataset: name,
      dataDigest,
      rows,
    });
  }
}

function tokensLine({ example, modality, input }: ExampleInput): string {
  const { id, group, split, label } = example;
  const { tokens } = input;
  const units =
    tokens.kind === "ids"
      ? { ids: Array.from(tokens.ids) }
      : {
          columns: tokens.grid.columns,
          rows: tokens.grid.rows,
          patches: Buffer.from(tokens.patches).toString("base64"),
        };
  return `${JSON.stringify({ id, group, split, label, modality, ...units })}\n`;
}
