/**
 * How a training step grows with tokens, width and batch. Each size is measured in a process of its own, so that its
 * peak of memory is its own; with a peer the two take turns.
 */
import { SomaError } from "../../base/errors.ts";
import type { Progress } from "../../base/progress.ts";
import { growthCurves, type GrowthCurve } from "../plots/growth-curves.ts";
import type { PeerStep, StepSettings } from "./pytorch.ts";
import { fitPowerLaw, type PowerLaw } from "./statistics.ts";

export type Axis = "tokens" | "width" | "batch";

/** What is measured of a step on either side. */
export type StepFigures = Pick<PeerStep, "engine" | "stepMs" | "forwardMs" | "peakRssMiB">;

/** Numbers of a head: width grows by heads of this size, as in the models that are in use. */
const HEAD_WIDTH = 64;
/** Points of the fit of large sizes, where what every call costs no longer counts. */
const TAIL_POINTS = 3;

export const SIZES: Readonly<Record<Axis, readonly number[]>> = {
  tokens: [16, 32, 64, 128, 256, 512, 1024],
  width: [64, 128, 192, 256, 384, 512, 768],
  batch: [1, 2, 4, 8, 16, 32, 64, 128, 256],
};

export interface GrowthSeries {
  readonly points: readonly (StepFigures & { readonly size: number })[];
  /** Step time over all sizes; absent below two points. */
  readonly fit?: PowerLaw;
  /** Over the largest three. */
  readonly tailFit?: PowerLaw;
  /** Where the series ended before its time: out of memory, most likely. */
  readonly failure?: { readonly size: number; readonly reason: string };
}

export interface GrowthAxis {
  readonly axis: Axis;
  /** What stood still, and for width the numbers of a head. */
  readonly held: Readonly<Record<string, number>>;
  readonly ours: GrowthSeries;
  readonly peer?: GrowthSeries;
}

type Measure = (settings: StepSettings) => Promise<StepFigures>;

/** @param sizes  ascending, of each axis */
export async function measureGrowth(
  base: StepSettings,
  measures: { readonly ours: Measure; readonly peer?: Measure },
  progress: Progress,
  sizes: Readonly<Record<Axis, readonly number[]>> = SIZES,
): Promise<readonly GrowthAxis[]> {
  const total = Object.values(sizes).reduce((sum, of) => sum + of.length, 0);
  let done = 0;
  const axes: GrowthAxis[] = [];
  for (const axis of ["tokens", "width", "batch"] as const) {
    const ours = new Series(measures.ours);
    const peer = measures.peer === undefined ? undefined : new Series(measures.peer);
    for (const size of sizes[axis]) {
      progress.update({ done: done++, total, note: `${axis} ${size}` });
      const settings = settingsAt(base, axis, size);
      await ours.add(size, settings);
      await peer?.add(size, settings);
    }
    axes.push({
      axis,
      held: heldOf(base, axis),
      ours: ours.result(),
      ...(peer === undefined ? {} : { peer: peer.result() }),
    });
  }
  progress.update({ done: total, total });
  progress.finish();
  return axes;
}

function settingsAt(base: StepSettings, axis: Axis, size: number): StepSettings {
  if (axis !== "width") return { ...base, [axis]: size };
  return { ...base, width: size, heads: Math.max(1, Math.floor(size / HEAD_WIDTH)) };
}

function heldOf(
  { width, tokens, batch, layers }: StepSettings,
  axis: Axis,
): Record<string, number> {
  const sizes = Object.entries({ width, tokens, batch }).filter(([name]) => name !== axis);
  return { ...Object.fromEntries(sizes), layers };
}

/** Points of one side along one axis, until one fails. */
class Series {
  private readonly measure: Measure;
  private readonly points: (StepFigures & { size: number })[] = [];
  private failure: GrowthSeries["failure"];

  constructor(measure: Measure) {
    this.measure = measure;
  }

  async add(size: number, settings: StepSettings): Promise<void> {
    if (this.failure !== undefined) return; // larger still would not fit either
    try {
      this.points.push({ size, ...(await this.measure(settings)) });
    } catch (error) {
      if (!(error instanceof SomaError)) throw error;
      this.failure = { size, reason: error.message };
    }
  }

  result(): GrowthSeries {
    const { points, failure } = this;
    const times = points.map(({ size, stepMs }): [number, number] => [size, stepMs]);
    return {
      points,
      ...(times.length < 2
        ? {}
        : { fit: fitPowerLaw(times), tailFit: fitPowerLaw(times.slice(-TAIL_POINTS)) }),
      ...(failure === undefined ? {} : { failure }),
    };
  }
}

/** The drawing of all axes, as SVG. */
export function drawGrowth(axes: readonly GrowthAxis[], note: string): string {
  const curveOf = (series: GrowthSeries, ours: boolean): GrowthCurve => ({
    name: ours ? "Soma" : "PyTorch",
    ours,
    points: series.points.map(({ size, stepMs }): [number, number] => [size, stepMs]),
    exponent: series.fit?.exponent,
  });
  return growthCurves({
    title: "How a training step grows",
    subtitle: note,
    unit: "ms a step",
    panels: axes.map(({ axis, held, ours, peer }) => ({
      dimension: axis,
      held: Object.entries(held)
        .map(([name, value]) => `${name} ${value}`)
        .join(", "),
      curves: [curveOf(ours, true), ...(peer === undefined ? [] : [curveOf(peer, false)])],
    })),
  });
}
