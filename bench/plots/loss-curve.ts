/** The course of a training run: loss, and beneath it what validation said. */
import {
  ACCENT,
  drawing,
  element,
  GRID,
  heading,
  INK,
  MUTED,
  path,
  text,
  tickLabel,
  ticks,
} from "../../base/svg.ts";

/** A line of a run's metrics.jsonl, as far as it is drawn. */
export interface CurveLine {
  readonly kind: string;
  readonly step: number;
  readonly [name: string]: unknown;
}

const WIDTH = 860;
const LEFT = 64;
const RIGHT = 28;
const TOP = 98;
const LOSS_HEIGHT = 260;
const RECALL_HEIGHT = 150;
const GAP = 62;
/** Steps over which the smooth line averages, as a share of all logged ones. */
const SMOOTHING = 0.03;

/** @returns undefined if fewer than two losses were logged */
export function lossCurve(lines: readonly CurveLine[], title: string): string | undefined {
  const losses = series(lines, { kind: "train", name: "loss" });
  if (losses.length < 2) return undefined;
  const recalls = series(lines, { kind: "validation", name: "recall10" });
  const stepMax = Math.max(...losses.map(([step]) => step), ...recalls.map(([step]) => step));
  const withRecall = recalls.length > 0;
  const height = TOP + LOSS_HEIGHT + (withRecall ? GAP + RECALL_HEIGHT : 0) + 52;
  const values = losses.map(([, loss]) => loss);
  // The first few losses may be far above the rest: the axis ends at the largest, begins at 0 if that is near.
  const low = Math.min(...values);
  const high = Math.max(...values);
  const lossPanel = panel({
    top: TOP,
    height: LOSS_HEIGHT,
    xMax: stepMax,
    yMin: low < 0.35 * high ? Math.min(0, low) : low,
    yMax: high,
    label: "training loss",
  });
  const parts = [
    lossPanel.axes,
    line(losses.map(lossPanel.place), { stroke: "#9cc7e4", "stroke-width": 1 }),
    line(smooth(losses).map(lossPanel.place), { stroke: ACCENT, "stroke-width": 2 }),
  ];
  if (withRecall) {
    const recallPanel = panel({
      top: TOP + LOSS_HEIGHT + GAP,
      height: RECALL_HEIGHT,
      xMax: stepMax,
      yMin: 0,
      yMax: 100,
      label: "validation R@10, percent",
    });
    const placed = recalls.map(recallPanel.place);
    const best = recalls.reduce((a, b) => (b[1] > a[1] ? b : a));
    const [bestX, bestY] = recallPanel.place(best);
    parts.push(
      recallPanel.axes,
      line(placed, { stroke: ACCENT, "stroke-width": 2 }),
      ...placed.map(([cx, cy]) => element("circle", { cx, cy, r: 3, fill: ACCENT })),
      element("circle", { cx: bestX, cy: bestY, r: 6, fill: "none", stroke: INK }),
      text(
        Math.min(bestX, WIDTH - RIGHT - 44),
        bestY < TOP + LOSS_HEIGHT + GAP + 26 ? bestY + 22 : bestY - 12,
        `best ${best[1].toFixed(1)}`,
        { anchor: "middle", bold: true },
      ),
    );
  }
  parts.push(text(WIDTH - RIGHT, height - 14, "step", { fill: MUTED, anchor: "end" }));
  const last = losses.at(-1);
  const subtitle = `loss ${(smooth(losses).at(-1)?.[1] ?? 0).toFixed(3)} at step ${last?.[0] ?? 0}; thin: as logged, thick: running mean`;
  return drawing(WIDTH, height, heading(title, subtitle), ...parts);
}

export type Point = readonly [number, number];

export interface SeriesOf {
  /** Which lines: "train" or "validation". */
  readonly kind: string;
  /** Which of their numbers. */
  readonly name: string;
  /** Along what. Default: steps. */
  readonly x?: "step" | "seconds";
}

/** Steps (or seconds) and finite values of one name; a run that was resumed may log a step twice, the later line counts. */
export function series(lines: readonly CurveLine[], { kind, name, x = "step" }: SeriesOf): Point[] {
  const points = new Map<number, Point>();
  for (const entry of lines) {
    const [at, value] = [entry[x], entry[name]];
    if (entry.kind !== kind || typeof at !== "number" || typeof value !== "number") continue;
    if (Number.isFinite(at) && Number.isFinite(value)) points.set(entry.step, [at, value]);
  }
  return [...points.values()].sort((a, b) => a[0] - b[0]);
}

/** Mean of a window centred on each point, narrower at the ends. */
export function smooth(points: readonly Point[]): Point[] {
  const half = Math.max(1, Math.round((SMOOTHING * points.length) / 2));
  return points.map(([step], i) => {
    const reach = Math.min(half, i, points.length - 1 - i);
    const window = points.slice(i - reach, i + reach + 1);
    return [step, window.reduce((sum, [, value]) => sum + value, 0) / window.length];
  });
}

interface PanelOptions {
  readonly top: number;
  readonly height: number;
  readonly xMax: number;
  readonly yMin: number;
  readonly yMax: number;
  readonly label: string;
}

function panel(options: PanelOptions): { axes: string; place: (point: Point) => Point } {
  const { top, height, xMax, yMin, yMax } = options;
  const width = WIDTH - LEFT - RIGHT;
  const span = yMax > yMin ? yMax - yMin : 1;
  const place = ([x, y]: Point): Point => [
    LEFT + (x / Math.max(1, xMax)) * width,
    top + height - ((y - yMin) / span) * height,
  ];
  const horizontal = ticks(yMin, yMin + span, 5).flatMap((value) => {
    const [, y] = place([0, value]);
    return [
      element("line", { x1: LEFT, x2: LEFT + width, y1: y, y2: y, stroke: GRID }),
      text(LEFT - 8, y + 4, tickLabel(value), { fill: MUTED, anchor: "end", size: 11 }),
    ];
  });
  const vertical = ticks(0, xMax, 8).map((value) => {
    const [x] = place([value, yMin]);
    return text(x, top + height + 18, tickLabel(value), {
      fill: MUTED,
      anchor: "middle",
      size: 11,
    });
  });
  const axes = [
    text(LEFT, top - 10, options.label, { bold: true }),
    ...horizontal,
    ...vertical,
    element("line", {
      x1: LEFT,
      x2: LEFT + width,
      y1: top + height,
      y2: top + height,
      stroke: MUTED,
    }),
  ].join("");
  return { axes, place };
}

function line(points: readonly Point[], style: Readonly<Record<string, string | number>>): string {
  return element("path", { d: path(points), fill: "none", "stroke-linejoin": "round", ...style });
}
