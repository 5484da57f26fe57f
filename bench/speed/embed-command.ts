/** `soma bench embed`: a trained checkpoint's embeddings a second, here or in turn with onnxruntime. */
import { availableParallelism } from "node:os";
import { SILENT, terminalProgress, type Progress } from "../../base/progress.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { readCheckpoint } from "../../models/checkpoint-folder.ts";
import { runForJson, somaInvocation } from "./child.ts";
import { EmbedBench, type EmbedResult, type EmbedWork } from "./embed.ts";
import { PRECISIONS, type Precision } from "../../models/precision.ts";
import { badFlag, oneOf, positiveInteger } from "./flags.ts";
import { circumstances, unrest, type Circumstances } from "./machine.ts";
import {
  findOnnxRuntime,
  ONNXRUNTIME_INSTALL,
  openPeer,
  type PeerEmbed,
  type PeerModel,
} from "./onnxruntime.ts";
import { PAIRS_DEFAULT, runPairs } from "./paired.ts";
import { median, ratioOf, spread, type Ratio } from "./statistics.ts";

export interface EmbedBenchFlags {
  readonly checkpoint: string;
  readonly modality?: string;
  readonly batch: string;
  readonly size?: string;
  readonly seconds: string;
  readonly seed: string;
  readonly threads?: string;
  readonly precision: string;
  readonly peer?: boolean;
  readonly peerModules: string;
  readonly pairs?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const MODALITIES = ["image", "text"] as const;
/** Batches before those that count. */
const WARM_UP = 3;

/** What stands in the document when the peer was asked for. */
type EmbedComparison =
  | {
      readonly kind: "measured";
      readonly pairs: number;
      /** Medians over the peer's runs. */
      readonly peer: PeerEmbed;
      /** Largest difference of any number of the embeddings, over the largest of ours. */
      readonly difference: number;
      /** Pair by pair; above 1, ours is faster or smaller. */
      readonly ratios: { readonly examplesPerSecond: Ratio; readonly peakRss: Ratio };
      readonly runs: { readonly ours: readonly EmbedResult[]; readonly peer: readonly PeerEmbed[] };
    }
  | { readonly kind: "missing"; readonly reason: string; readonly install: string };

interface Settings {
  readonly checkpoint: string;
  readonly work: EmbedWork;
  readonly seconds: number;
  readonly threads: number;
  readonly precision: Precision;
  readonly pairs: number;
}

export async function embedBenchCommand(flags: EmbedBenchFlags): Promise<void> {
  const settings = await settingsOf(flags);
  const where = circumstances();
  const warning = unrest(where);
  if (warning !== undefined && flags.quiet !== true) say(warning);
  const entry = flags.peer === true ? findOnnxRuntime(flags.peerModules) : undefined;
  const { checkpoint, work, seconds, threads, precision } = settings;
  const bench = await EmbedBench.open(checkpoint, work, { threads, precision });
  try {
    if (entry !== undefined) {
      const peer = await openPeer(
        entry,
        await readCheckpoint(checkpoint),
        bench.batch,
        bench.embed(),
        threads,
      );
      const compared = await compare(
        settings,
        peer,
        progressOf(flags, "ours and the peer in turn"),
      );
      tell(compared.result, compared.comparison, where, flags);
      return;
    }
    const result = await bench.measure({
      seconds,
      warmup: WARM_UP,
      progress: progressOf(flags, "embed"),
    });
    if (flags.peer !== true) {
      tell(result, undefined, where, flags);
      return;
    }
    const reason = "onnxruntime-node is not installed";
    say(`${reason}; to compare: ${ONNXRUNTIME_INSTALL}`);
    tell(result, { kind: "missing", reason, install: ONNXRUNTIME_INSTALL }, where, flags);
  } finally {
    bench.dispose();
  }
}

/** @throws SomaError BAD_FLAG (usage), or what `readCheckpoint` refuses */
async function settingsOf(flags: EmbedBenchFlags): Promise<Settings> {
  const precision = oneOf(flags.precision, "--precision", PRECISIONS);
  if (flags.peer === true && precision !== "float32") {
    throw badFlag("--precision", precision, "leave it out with --peer, which computes in float32");
  }
  const { config } = await readCheckpoint(flags.checkpoint);
  const first = config.image === undefined ? "text" : "image";
  return {
    checkpoint: flags.checkpoint,
    work: {
      modality: oneOf(flags.modality ?? first, "--modality", MODALITIES),
      batch: positiveInteger(flags.batch, "--batch"),
      seed: positiveInteger(flags.seed, "--seed"),
      ...(flags.size === undefined ? {} : { size: positiveInteger(flags.size, "--size") }),
    },
    seconds: positiveInteger(flags.seconds, "--seconds"),
    threads: positiveInteger(flags.threads ?? String(availableParallelism()), "--threads"),
    precision,
    pairs: flags.pairs === undefined ? PAIRS_DEFAULT : positiveInteger(flags.pairs, "--pairs"),
  };
}

function progressOf(flags: EmbedBenchFlags, label: string): Progress {
  return flags.quiet === true ? SILENT : terminalProgress({ label, unit: "run" });
}

/** Closes the peer. */
async function compare(
  settings: Settings,
  peer: PeerModel,
  progress: Progress,
): Promise<{ result: EmbedResult; comparison: EmbedComparison }> {
  const { seconds, pairs } = settings;
  try {
    const runs = await runPairs(
      pairs,
      {
        ours: () => runOurs(settings),
        peer: () => peer.run({ seconds, warmup: WARM_UP }),
      },
      progress,
    );
    const figures = (name: "examplesPerSecond" | "batchMs" | "peakRssMiB") => ({
      ours: runs.ours.map((run) => run[name]),
      peer: runs.peer.map((run) => run[name]),
    });
    const [speed, times, memory] = [
      figures("examplesPerSecond"),
      figures("batchMs"),
      figures("peakRssMiB"),
    ];
    const medians = (side: "ours" | "peer") => ({
      examplesPerSecond: median(speed[side]),
      batchMs: median(times[side]),
      peakRssMiB: median(memory[side]),
    });
    return {
      result: { ...runs.ours[0], ...medians("ours") },
      comparison: {
        kind: "measured",
        pairs,
        peer: { ...runs.peer[0], ...medians("peer") },
        difference: peer.difference,
        ratios: {
          examplesPerSecond: ratioOf(speed.ours, speed.peer),
          peakRss: ratioOf(memory.peer, memory.ours),
        },
        runs,
      },
    };
  } finally {
    await peer.close();
  }
}

/** Ours in a process of its own. */
async function runOurs(settings: Settings): Promise<EmbedResult> {
  const { checkpoint, work, seconds, threads, precision } = settings;
  const flags = { checkpoint, ...work, seconds, threads, precision };
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const invocation = somaInvocation("bench", "embed", ...words, "--json", "--quiet");
  return (await runForJson(invocation)) as EmbedResult;
}

function tell(
  result: EmbedResult,
  comparison: EmbedComparison | undefined,
  where: Circumstances,
  flags: EmbedBenchFlags,
): void {
  if (flags.json === true) {
    printJson({ ...result, ...(comparison === undefined ? {} : { comparison }), ...where });
    return;
  }
  const measured = comparison?.kind === "measured" ? comparison : undefined;
  const row = (title: string, ours: string, peer = "", ratio = ""): string[] =>
    measured === undefined ? [title, ours] : [title, ours, peer, ratio];
  const speed = (value: number): string => value.toFixed(0);
  const { ratios, peer, difference } = measured ?? {};
  const shown = (ratio: Ratio | undefined): string => (ratio === undefined ? "" : spread(ratio));
  say(
    table(row("embed", result.engine, peer?.engine, "ours against the peer, pair by pair"), [
      row(
        "examples a second",
        speed(result.examplesPerSecond),
        speed(peer?.examplesPerSecond ?? NaN),
        shown(ratios?.examplesPerSecond),
      ),
      row("a batch, ms", result.batchMs.toFixed(2), peer?.batchMs.toFixed(2)),
      row(
        "peak memory, MiB",
        speed(result.peakRssMiB),
        speed(peer?.peakRssMiB ?? NaN),
        shown(ratios?.peakRss),
      ),
      row("tensors leaked", String(result.tensorsLeaked)),
      row("threads", String(result.threads), String(peer?.threads)),
      row("inputs", `${result.batch} × ${result.tokens} tokens (${result.modality})`),
      ...(result.tokenizeMs === null
        ? []
        : [row("cutting a batch, ms", result.tokenizeMs.toFixed(2))]),
      ...(difference === undefined ? [] : [row("difference", difference.toExponential(1))]),
    ]),
  );
  say(`${where.machine}, ${where.date}`);
}
