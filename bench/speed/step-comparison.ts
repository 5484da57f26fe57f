/** A training step here beside the same in PyTorch, and both as a table. */
import type { Progress } from "../../base/progress.ts";
import { table } from "../../base/terminal.ts";
import { runForJson, somaInvocation } from "./child.ts";
import { runPairs } from "./paired.ts";
import { runPyTorchStep, stepFlags, type PeerStep, type StepSettings } from "./pytorch.ts";
import { median, ratioOf, spread, type Ratio } from "./statistics.ts";
import type { TrainStepResult } from "./train-step.ts";

/** The figures that are compared. */
const FIGURES = ["stepMs", "forwardMs", "peakRssMiB"] as const;
type Figure = (typeof FIGURES)[number];

/** What stands in the document when a peer was asked for. */
export type PeerComparison =
  | MeasuredComparison
  | { readonly kind: "missing"; readonly reason: string; readonly install: string };

export interface MeasuredComparison {
  readonly kind: "measured";
  readonly pairs: number;
  /** Medians over the peer's runs. */
  readonly peer: PeerStep;
  /** The peer's figure over ours, pair by pair: above 1, ours is faster or smaller. */
  readonly ratios: Readonly<Record<Figure, Ratio>>;
  readonly runs: {
    readonly ours: readonly TrainStepResult[];
    readonly peer: readonly PeerStep[];
  };
}

/** Our step in a process of its own. @throws SomaError CHILD_FAILED */
export async function runOurStep(settings: StepSettings): Promise<TrainStepResult> {
  const words = ["bench", "train-step", ...stepFlags(settings), "--json", "--quiet"];
  return (await runForJson(somaInvocation(...words))) as TrainStepResult;
}

/** Medians over the runs of each side, and their ratios. @throws SomaError CHILD_FAILED */
export async function compareSteps(
  settings: StepSettings,
  peer: { readonly python: string; readonly pairs: number },
  progress: Progress,
): Promise<{ readonly result: TrainStepResult; readonly comparison: MeasuredComparison }> {
  const runs = await runPairs(
    peer.pairs,
    {
      ours: () => runOurStep(settings),
      peer: () => runPyTorchStep(peer.python, settings),
    },
    progress,
  );
  return {
    result: {
      ...runs.ours[0],
      ...medians(runs.ours),
      tensorsLeaked: Math.max(...runs.ours.map(({ tensorsLeaked }) => tensorsLeaked)),
    },
    comparison: {
      kind: "measured",
      pairs: runs.peer.length,
      peer: { ...runs.peer[0], ...medians(runs.peer) },
      ratios: eachFigure((name) =>
        ratioOf(
          runs.peer.map((run) => run[name]),
          runs.ours.map((run) => run[name]),
        ),
      ),
      runs,
    },
  };
}

function medians(runs: readonly Readonly<Record<Figure, number>>[]): Record<Figure, number> {
  return eachFigure((name) => median(runs.map((run) => run[name])));
}

function eachFigure<T>(value: (name: Figure) => T): Record<Figure, T> {
  return Object.fromEntries(FIGURES.map((name) => [name, value(name)])) as Record<Figure, T>;
}

export function describeSteps(
  result: TrainStepResult,
  comparison: MeasuredComparison | undefined,
): string {
  const row = (title: string, name: Figure, digits: number): string[] => [
    title,
    result[name].toFixed(digits),
    ...(comparison === undefined
      ? []
      : [comparison.peer[name].toFixed(digits), spread(comparison.ratios[name])]),
  ];
  const { first, last } = result.loss;
  const [start, end] = [result.memory[0], result.memory.at(-1)];
  return table(
    [
      "train step",
      result.engine,
      ...(comparison === undefined ? [] : [comparison.peer.engine, "peer / ours, pair by pair"]),
    ],
    [
      row("step, ms", "stepMs", 1),
      row("forward, ms", "forwardMs", 1),
      row("peak memory, MiB", "peakRssMiB", 0),
      ["tensors leaked", String(result.tensorsLeaked)],
      ["threads", String(result.threads)],
      ["our own kernels", result.fused.length === 0 ? "none" : String(result.fused.length)],
      ["weights", String(result.weights)],
      ["loss", `${first.toFixed(3)} → ${last.toFixed(3)}`],
      [
        `memory over ${result.steps} steps, MiB`,
        `${(start?.rssMiB ?? NaN).toFixed(0)} → ${(end?.rssMiB ?? NaN).toFixed(0)}`,
      ],
    ],
  );
}
