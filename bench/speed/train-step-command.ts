/** `soma bench train-step`: one step here, or in turn with PyTorch, or over sizes. */
import { availableParallelism, cpus } from "node:os";
import { SomaError } from "../../base/errors.ts";
import { SILENT, terminalProgress, type Progress } from "../../base/progress.ts";
import { printJson, say, table } from "../../base/terminal.ts";
import { runForJson, somaInvocation } from "./child.ts";
import { PRECISIONS } from "./engine.ts";
import { oneOf, positiveInteger } from "./flags.ts";
import { PAIRS_DEFAULT, runPairs } from "./paired.ts";
import {
  missingPyTorch,
  peerPython,
  PYTORCH_INSTALL,
  runPyTorchStep,
  stepFlags,
  type PeerStep,
  type StepSettings,
} from "./pytorch.ts";
import { median, ratioOf, type Ratio } from "./statistics.ts";
import { measureTrainStep, type TrainStepResult } from "./train-step.ts";

export interface TrainStepFlags {
  readonly width: string;
  readonly layers: string;
  readonly heads: string;
  readonly tokens: string;
  readonly batch: string;
  readonly steps: string;
  readonly warmup: string;
  readonly seed: string;
  readonly threads?: string;
  readonly precision: string;
  /** true: the Python that SOMA_PEER_PYTHON names, else python3. */
  readonly peer?: string | true;
  readonly pairs?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** What stands in the document when a peer was asked for. */
export type PeerComparison =
  | {
      readonly kind: "measured";
      readonly pairs: number;
      /** Medians over the peer's runs. */
      readonly peer: PeerStep;
      /** The peer's figure over ours, pair by pair: above 1, ours is faster or smaller. */
      readonly ratios: {
        readonly step: Ratio;
        readonly forward: Ratio;
        readonly peakRss: Ratio;
      };
      readonly runs: {
        readonly ours: readonly TrainStepResult[];
        readonly peer: readonly PeerStep[];
      };
    }
  | { readonly kind: "missing"; readonly reason: string; readonly install: string };

export async function trainStepCommand(flags: TrainStepFlags): Promise<void> {
  const settings = settingsOf(flags);
  const progress = (label: string, unit: string): Progress =>
    flags.quiet === true ? SILENT : terminalProgress({ label, unit });
  const python = flags.peer === true ? peerPython() : flags.peer;
  const missing = python === undefined ? undefined : await missingPyTorch(python);
  if (missing !== undefined) say(`${missing}; to compare: ${PYTORCH_INSTALL}`);
  if (python === undefined || missing !== undefined) {
    const { threads, ...rest } = settings;
    const result = await measureTrainStep({
      ...rest,
      ...(threads === undefined ? {} : { threads }),
      progress: progress("train step", "step"),
    });
    const comparison: PeerComparison | undefined =
      missing === undefined
        ? undefined
        : { kind: "missing", reason: missing, install: PYTORCH_INSTALL };
    tell(result, comparison, flags);
    return;
  }
  const pairs = flags.pairs === undefined ? PAIRS_DEFAULT : positiveInteger(flags.pairs, "--pairs");
  const runs = await runPairs(
    pairs,
    {
      ours: async () =>
        (await runForJson(
          somaInvocation("bench", "train-step", ...stepFlags(settings), "--json", "--quiet"),
        )) as TrainStepResult,
      peer: () => runPyTorchStep(python, settings),
    },
    progress("train step, ours and PyTorch in turn", "run"),
  );
  const first = runs.ours[0];
  if (first === undefined) return;
  tell(summary(runs.ours, first), compare(runs.ours, runs.peer), flags);
}

/** @throws SomaError BAD_FLAG (usage) */
function settingsOf(flags: TrainStepFlags): StepSettings {
  const number = (name: "width" | "layers" | "heads" | "tokens" | "batch" | "steps"): number =>
    positiveInteger(flags[name], `--${name}`);
  const width = number("width");
  const heads = number("heads");
  if (width % heads !== 0) {
    throw new SomaError({
      code: "BAD_FLAG",
      kind: "usage",
      what: `a width of ${width} cannot be split among ${heads} heads`,
      next: "make --width a multiple of --heads",
    });
  }
  return {
    width,
    heads,
    layers: number("layers"),
    tokens: number("tokens"),
    batch: number("batch"),
    steps: number("steps"),
    warmup: positiveInteger(flags.warmup, "--warmup"),
    seed: positiveInteger(flags.seed, "--seed"),
    precision: oneOf(flags.precision, "--precision", PRECISIONS),
    // Both sides are told, as each has a default of its own.
    threads:
      flags.threads === undefined
        ? availableParallelism()
        : positiveInteger(flags.threads, "--threads"),
  };
}

/** Medians over runs; what leaked, the most of any. */
function summary(runs: readonly TrainStepResult[], first: TrainStepResult): TrainStepResult {
  return {
    ...first,
    stepMs: median(runs.map(({ stepMs }) => stepMs)),
    forwardMs: median(runs.map(({ forwardMs }) => forwardMs)),
    peakRssMiB: median(runs.map(({ peakRssMiB }) => peakRssMiB)),
    tensorsLeaked: Math.max(...runs.map(({ tensorsLeaked }) => tensorsLeaked)),
  };
}

function compare(
  ours: readonly TrainStepResult[],
  peer: readonly PeerStep[],
): PeerComparison | undefined {
  const first = peer[0];
  if (first === undefined) return undefined;
  const figures = <K extends "stepMs" | "forwardMs" | "peakRssMiB">(
    runs: readonly Record<K, number>[],
    name: K,
  ): number[] => runs.map((run) => run[name]);
  const ratio = (name: "stepMs" | "forwardMs" | "peakRssMiB"): Ratio =>
    ratioOf(figures(peer, name), figures(ours, name));
  return {
    kind: "measured",
    pairs: peer.length,
    peer: {
      ...first,
      stepMs: median(figures(peer, "stepMs")),
      forwardMs: median(figures(peer, "forwardMs")),
      peakRssMiB: median(figures(peer, "peakRssMiB")),
    },
    ratios: { step: ratio("stepMs"), forward: ratio("forwardMs"), peakRss: ratio("peakRssMiB") },
    runs: { ours, peer },
  };
}

function tell(
  result: TrainStepResult,
  comparison: PeerComparison | undefined,
  flags: TrainStepFlags,
): void {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.versions.node}`;
  const date = new Date().toISOString();
  if (flags.json === true) {
    printJson({
      ...result,
      ...(comparison === undefined ? {} : { comparison }),
      machine,
      date,
    });
    return;
  }
  say(describe(result, comparison?.kind === "measured" ? comparison : undefined));
  say(`${machine}, ${date}`);
}

function describe(
  result: TrainStepResult,
  comparison: Extract<PeerComparison, { kind: "measured" }> | undefined,
): string {
  const spread = ({ median: middle, min, max }: Ratio): string =>
    `${middle.toFixed(2)} × (${min.toFixed(2)} to ${max.toFixed(2)})`;
  const rows: [string, number, number | undefined, Ratio | undefined, number][] = [
    ["step, ms", result.stepMs, comparison?.peer.stepMs, comparison?.ratios.step, 1],
    ["forward, ms", result.forwardMs, comparison?.peer.forwardMs, comparison?.ratios.forward, 1],
    [
      "peak memory, MiB",
      result.peakRssMiB,
      comparison?.peer.peakRssMiB,
      comparison?.ratios.peakRss,
      0,
    ],
  ];
  const header =
    comparison === undefined
      ? ["train step", result.engine]
      : ["train step", result.engine, comparison.peer.engine, "peer / ours, pair by pair"];
  return table(header, [
    ...rows.map(([name, ours, peer, ratio, digits]) => [
      name,
      ours.toFixed(digits),
      ...(peer === undefined || ratio === undefined ? [] : [peer.toFixed(digits), spread(ratio)]),
    ]),
    ["tensors leaked", String(result.tensorsLeaked)],
    ["threads", String(result.threads)],
    ["weights", String(result.weights)],
    ["loss, first and last", `${result.loss.first.toFixed(3)} → ${result.loss.last.toFixed(3)}`],
    ["resident memory, MiB", memoryCourse(result)],
  ]);
}

/** "512 → 514 over 10000 steps" */
function memoryCourse({ memory, steps }: TrainStepResult): string {
  const [first, last] = [memory[0]?.rssMiB ?? Number.NaN, memory.at(-1)?.rssMiB ?? Number.NaN];
  return `${first.toFixed(0)} → ${last.toFixed(0)} over ${steps} steps`;
}
