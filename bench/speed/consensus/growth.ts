/** How the cost of consensus grows with the committee: sizes one after another, a power law for each figure. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { SomaError } from "../../../base/errors.ts";
import type { Progress } from "../../../base/progress.ts";
import { growthCurves, type GrowthCurve } from "../../plots/growth-curves.ts";
import { fitPowerLaw, type PowerLaw } from "../statistics.ts";
import type { CommitteeCost, CommitteeRun } from "./committee-cost.ts";
import { benchFailed } from "./failure.ts";

export const COMMITTEE_SIZES: readonly number[] = [4, 10, 25, 50, 100];
/** Rounds before anything counts, at least: the first ones are collected by then, and the DAGs are as large as they get. */
const WARM_UP_ROUNDS_MIN = 70;
/** Rounds that count: fewer where they cost more, which is by the square of the size and more. */
const ROUNDS_MIN = 10;
const ROUNDS_MAX = 1000;
const ROUNDS_TIMES_SQUARE = 100_000;
/** Points of the fit of large sizes, where what every block costs whatever its size no longer counts. */
const TAIL_POINTS = 3;
/** CPU for a committed block may grow as the references that it carries do, one for each validator. */
const EXPONENT_MAX = 1;

/** The same for every size, whatever it is: see node/simulation/workload.ts. */
export const GROWTH_LOAD =
  "20 batches a virtual second to validators in turn by lot, of 1 to 3 transactions of 4 to 63 bytes";

export const GROWTH_FIGURES = {
  cpuMsPerRound: "CPU, ms a round",
  cpuMicrosPerBlock: "CPU, µs a committed block",
  messagesPerRound: "messages sent a round",
  kibPerRound: "KiB sent a round",
  heapMiB: "objects alive, MiB",
} as const;
export type GrowthFigure = keyof typeof GROWTH_FIGURES;
const FIGURES = Object.keys(GROWTH_FIGURES) as readonly GrowthFigure[];

export type GrowthFigures = Readonly<Record<GrowthFigure, number>>;

export interface GrowthPoint {
  readonly validators: number;
  readonly rounds: number;
  /** That each validator committed. */
  readonly committedBlocks: number;
  readonly refsPerBlock: number;
  readonly each: GrowthFigures;
  readonly all: GrowthFigures;
  /** Peak of the process, simulated disks included. */
  readonly rssMiB: number;
}

export interface GrowthLaw extends PowerLaw {
  /** Of the three largest sizes alone; absent below three. */
  readonly tailExponent?: number;
}

export interface ConsensusGrowth {
  readonly points: readonly GrowthPoint[];
  /** Figure ≈ factor · validators^exponent; absent below two points. */
  readonly laws?: {
    readonly each: Readonly<Record<GrowthFigure, GrowthLaw>>;
    readonly all: Readonly<Record<GrowthFigure, GrowthLaw>>;
  };
  /** CPU of one validator for a committed block: its exponent, over all sizes and over the largest, is at most 1. */
  readonly isCpuWithinRefs?: boolean;
  /** Where the series ended before its time: out of memory, most likely. */
  readonly failure?: { readonly validators: number; readonly reason: string };
}

export interface GrowthOptions {
  /** Ascending. */
  readonly sizes: readonly number[];
  /** That count at each size; default: fewer for larger ones. */
  readonly rounds: number | undefined;
  readonly seed: number;
}

type Measure = (run: CommitteeRun) => Promise<CommitteeCost>;

/** @param measure one committee, see `measureInChild` */
export async function measureConsensusGrowth(
  { sizes, rounds, seed }: GrowthOptions,
  measure: Measure,
  progress: Progress,
): Promise<ConsensusGrowth> {
  const points: GrowthPoint[] = [];
  let failure: ConsensusGrowth["failure"];
  for (const validators of sizes) {
    const note = `${validators} validators`;
    progress.update({ done: points.length, total: sizes.length, note });
    const counted = rounds ?? roundsFor(validators);
    const warmUpRounds = Math.max(WARM_UP_ROUNDS_MIN, Math.ceil(counted / 4));
    try {
      points.push(pointOf(await measure({ validators, warmUpRounds, rounds: counted, seed })));
    } catch (error) {
      if (!(error instanceof SomaError) || error.kind !== "failure") throw error;
      failure = { validators, reason: error.message };
      break; // larger ones would not fit either
    }
  }
  progress.update({ done: sizes.length, total: sizes.length });
  progress.finish();
  return { points, ...lawsOf(points), ...(failure === undefined ? {} : { failure }) };
}

function roundsFor(validators: number): number {
  return Math.round(
    Math.min(ROUNDS_MAX, Math.max(ROUNDS_MIN, ROUNDS_TIMES_SQUARE / validators ** 2)),
  );
}

function pointOf(cost: CommitteeCost): GrowthPoint {
  const { validators, rounds, committedBlocks, refsPerBlock, rssMiB } = cost;
  const all: GrowthFigures = {
    cpuMsPerRound: cost.cpuMs / rounds,
    cpuMicrosPerBlock: (1000 * cost.cpuMs) / committedBlocks,
    messagesPerRound: cost.messages / rounds,
    kibPerRound: cost.bytes / 1024 / rounds,
    heapMiB: cost.heapMiB,
  };
  const rounded = (scale: number): GrowthFigures =>
    byFigure((name) => Number((all[name] * scale).toPrecision(4)));
  return {
    validators,
    rounds,
    committedBlocks,
    refsPerBlock: Number(refsPerBlock.toFixed(2)),
    each: rounded(1 / validators),
    all: rounded(1),
    rssMiB: Math.round(rssMiB),
  };
}

function byFigure<T>(make: (name: GrowthFigure) => T): Record<GrowthFigure, T> {
  return Object.fromEntries(FIGURES.map((name) => [name, make(name)])) as Record<GrowthFigure, T>;
}

function lawsOf(points: readonly GrowthPoint[]): Pick<ConsensusGrowth, "laws" | "isCpuWithinRefs"> {
  if (points.length < 2) return {};
  const fit = (of: "each" | "all", name: GrowthFigure): GrowthLaw => {
    const curve = points.map((point): [number, number] => [point.validators, point[of][name]]);
    return {
      ...fitPowerLaw(curve),
      ...(curve.length < TAIL_POINTS
        ? {}
        : { tailExponent: fitPowerLaw(curve.slice(-TAIL_POINTS)).exponent }),
    };
  };
  const each = byFigure((name) => fit("each", name));
  const all = byFigure((name) => fit("all", name));
  const { exponent, tailExponent = exponent } = each.cpuMicrosPerBlock;
  return {
    laws: { each, all },
    isCpuWithinRefs: Math.max(exponent, tailExponent) <= EXPONENT_MAX,
  };
}

/** In a process of its own. @throws SomaError BENCH_FAILED (failure); the signal's reason */
export function measureInChild(run: CommitteeRun, signal: AbortSignal): Promise<CommitteeCost> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL("./growth-child.js", import.meta.url)), {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      execArgv: [...process.execArgv, "--expose-gc"],
    });
    const abort = (): void => {
      child.kill("SIGKILL");
    };
    signal.addEventListener("abort", abort);
    let cost: CommitteeCost | undefined;
    child.on("message", (message) => {
      cost = message as CommitteeCost;
    });
    child.on("exit", (code, killer) => {
      signal.removeEventListener("abort", abort);
      if (signal.aborted) reject(signal.reason as SomaError);
      else if (cost !== undefined) resolve(cost);
      else
        reject(
          benchFailed(
            `the simulation of ${run.validators} validators has ended with ${killer ?? code ?? "nothing"}`,
          ),
        );
    });
    child.send(run);
  });
}

/** The drawing of all figures, as SVG: a panel each. */
export function drawConsensusGrowth({ points, laws }: ConsensusGrowth, note: string): string {
  const curve = (of: "each" | "all", name: GrowthFigure): GrowthCurve => ({
    name: of === "each" ? "one validator" : "all together",
    ours: of === "each",
    points: points.map((point): [number, number] => [point.validators, point[of][name]]),
    exponent: laws?.[of][name].exponent,
  });
  return growthCurves({
    title: "How consensus grows with the committee",
    subtitle: note,
    panels: FIGURES.map((name) => ({
      title: GROWTH_FIGURES[name],
      dimension: "validators",
      held: "no faults, the same load",
      curves: [curve("each", name), curve("all", name)],
    })),
  });
}
