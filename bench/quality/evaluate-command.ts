/** What `soma evaluate` does between its flags and the numbers. */
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/files.ts";
import { SILENT, terminalProgress } from "../../base/progress.ts";
import { printJson, say } from "../../base/terminal.ts";
import type { Split } from "../../datasets/dataset.ts";
import { loadDataset } from "../../datasets/registry.ts";
import { requireSplitName } from "../../datasets/split.ts";
import { resolveCheckpoint } from "../../models/checkpoint-folder.ts";
import { EncoderSession } from "../../models/session.ts";
import { readConfigFile } from "../../training/config.ts";
import {
  evaluateSession,
  evaluateStored,
  type EvaluateOptions,
  type Evaluated,
} from "./evaluation.ts";
import { cutsTable, floorsTable } from "./report.ts";
import { readStoredEmbeddings } from "./stored.ts";

/** Flags as commander gives them. */
export interface EvaluateFlags {
  readonly dataset?: string;
  readonly split: string;
  readonly embeddings?: readonly string[];
  readonly cuts?: string;
  readonly textVariants?: string;
  readonly limit?: string;
  readonly floors: boolean;
  readonly skipCorrupt?: boolean;
  readonly plots?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** @throws SomaError for every refusal */
export async function evaluateCommand(
  checkpoint: string | undefined,
  flags: EvaluateFlags,
): Promise<void> {
  if ((checkpoint === undefined) === (flags.embeddings === undefined)) {
    throw new SomaError({
      code: "NOTHING_TO_JUDGE",
      kind: "usage",
      what:
        checkpoint === undefined
          ? "neither a checkpoint nor embeddings are given"
          : "both a checkpoint and embeddings are given",
      next: "give a checkpoint or run folder, or --embeddings FILE",
    });
  }
  const split = judgedSplit(flags.split);
  const limit = flags.limit === undefined ? undefined : wholeNumber(flags.limit, "--limit");
  const cuts = (flags.cuts?.split(",") ?? []).map((text) => wholeNumber(text, "--cuts"));
  const quiet = flags.quiet === true;
  const name = flags.dataset ?? (await datasetOfRun(checkpoint));
  const options: EvaluateOptions = {
    dataset: await loadDataset(name, {}),
    split,
    floors: flags.floors,
    skipCorrupt: flags.skipCorrupt === true,
    ...(limit === undefined ? {} : { limit }),
    ...(flags.textVariants === undefined
      ? {}
      : { textVariants: flags.textVariants.split(",").map((variant) => variant.trim()) }),
    progress: quiet ? SILENT : terminalProgress({ label: "pictures", unit: "picture" }),
    onStage: quiet
      ? () => undefined
      : (stage) => {
          say(`evaluate: ${stage}`);
        },
  };
  let judged: Evaluated;
  if (flags.embeddings !== undefined) {
    const stored = await readStoredEmbeddings(flags.embeddings);
    judged = await evaluateStored(
      stored,
      { name: flags.embeddings.map((path) => basename(path)).join(" + "), cuts },
      options,
    );
  } else {
    const session = await EncoderSession.open(checkpoint ?? "");
    try {
      judged = await evaluateSession(session, options);
    } finally {
      session.dispose();
    }
  }
  const { evaluation } = judged;
  if (flags.plots !== undefined) {
    await writeFileAtomic(
      join(flags.plots, "eval.json"),
      `${JSON.stringify(evaluation, undefined, 2)}\n`,
    );
    const { drawPlots } = await import("../plots/plots.ts");
    const run = checkpoint === undefined ? undefined : await runFolderOf(checkpoint);
    const drawn = await drawPlots(judged, { folder: flags.plots, run });
    for (const path of drawn.paths) say(path);
    for (const note of drawn.notes) say(note);
  }
  if (flags.json === true) printJson(evaluation);
  else process.stdout.write(`${tables(judged)}\n`);
}

function tables({ evaluation }: Evaluated): string {
  const { dataset, encoder, notes, seconds } = evaluation;
  const rows = Object.entries(dataset.rows).map(
    ([modality, { fit, test, variants }]) =>
      `${modality}: ${test} rows judged (${variants.join(", ")}), ${fit} training rows`,
  );
  const cuts = cutsTable(evaluation);
  return [
    `${encoder.name} on ${dataset.name}, ${dataset.split} split; shares in percent, whole embeddings of ${encoder.dimension}`,
    ...rows,
    ...notes,
    "",
    floorsTable(evaluation),
    ...(cuts === undefined ? [] : ["", "at each Matryoshka cut", "", cuts]),
    "",
    `${seconds.toFixed(1)} s`,
  ].join("\n");
}

/** Training rows are what neighbours and probes know; judging them says nothing. */
function judgedSplit(name: string): Split {
  const split = requireSplitName(name);
  if (split !== "train") return split;
  throw new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: "the train split cannot be judged: k-NN and the linear probe learn from it",
    next: "give --split test or --split validation",
  });
}

/** The dataset that a run was trained on. @throws SomaError NO_CHECKPOINT (notFound), NO_DATASET (usage) */
async function datasetOfRun(checkpoint: string | undefined): Promise<string> {
  if (checkpoint !== undefined) await resolveCheckpoint(checkpoint);
  const run = checkpoint === undefined ? undefined : await runFolderOf(checkpoint);
  const named =
    run === undefined
      ? undefined
      : (await readConfigFile(join(run, "config.yaml"))).values["dataset"];
  if (typeof named === "string") return named;
  throw new SomaError({
    code: "NO_DATASET",
    kind: "usage",
    what: "no dataset is named",
    next: "give --dataset NAME or --dataset PATH; only a run folder knows its own",
  });
}

/** The path itself if it is a run, the run that a checkpoint lies in, or undefined. */
async function runFolderOf(checkpoint: string): Promise<string | undefined> {
  for (const candidate of [checkpoint, join(checkpoint, "..", "..")]) {
    const config = await stat(join(candidate, "config.yaml")).catch(() => undefined);
    if (config !== undefined) return candidate;
  }
  return undefined;
}

/** @throws SomaError BAD_FLAG (usage) unless `text` is a whole number ≥ 1 */
export function wholeNumber(text: string, flag: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= 1) return value;
  throw new SomaError({
    code: "BAD_FLAG",
    kind: "usage",
    what: `${flag} ${text} is not a whole number of at least 1`,
    next: `give a number such as ${flag} 64`,
  });
}
