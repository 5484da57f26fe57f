/** The objective over the runs of a sweep, in their order: a marker a run, a line from a trial's shorter runs to its longer. */
import {
  ACCENT,
  categoryStyle,
  drawing,
  element,
  GRID,
  heading,
  INK,
  marker,
  MUTED,
  path,
  text,
  tickLabel,
  ticks,
} from "../../base/svg.ts";

export interface SweepPoint {
  readonly trial: number;
  /** Which rung of the halving, from 0. */
  readonly rung: number;
  /** Undefined: the run failed. */
  readonly value: number | undefined;
}

export interface SweepPlotOptions {
  readonly title: string;
  readonly objective: string;
  /** Of each rung, e.g. "30 steps". */
  readonly budgets: readonly string[];
  /** In the order in which they ran. */
  readonly points: readonly SweepPoint[];
  /** The trial that won, if one has. */
  readonly best: number | undefined;
}

const WIDTH = 860;
const LEFT = 64;
const RIGHT = 28;
const TOP = 98;
const HEIGHT = 320;

/** @returns undefined if no run has a value */
export function sweepPlot(options: SweepPlotOptions): string | undefined {
  const { title, objective, budgets, points, best } = options;
  const values = points.flatMap(({ value }) => (value === undefined ? [] : [value]));
  if (values.length === 0) return undefined;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high > low ? high - low : 1;
  const bottom = TOP + HEIGHT;
  const xOf = (index: number): number =>
    LEFT + ((index + 0.5) / points.length) * (WIDTH - LEFT - RIGHT);
  const yOf = (value: number): number => bottom - 14 - ((value - low) / span) * (HEIGHT - 28);
  const grid = ticks(low, low + span, 5).flatMap((value) => [
    element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: yOf(value), y2: yOf(value), stroke: GRID }),
    text(LEFT - 8, yOf(value) + 4, tickLabel(value), { fill: MUTED, anchor: "end", size: 11 }),
  ]);
  const trials = [...new Set(points.map(({ trial }) => trial))];
  const lines = trials.map((trial) => {
    const own = points.flatMap(({ trial: one, value }, i) =>
      one === trial && value !== undefined ? [[xOf(i), yOf(value)] as const] : [],
    );
    const isBest = trial === best;
    return element("path", {
      d: path(own),
      fill: "none",
      stroke: isBest ? ACCENT : GRID,
      "stroke-width": isBest ? 2 : 1.5,
    });
  });
  const marks = points.map(({ trial, rung, value }, i) => {
    if (value === undefined) {
      return text(xOf(i), bottom - 2, "×", { anchor: "middle", fill: MUTED, size: 14 });
    }
    const ring = { cx: xOf(i), cy: yOf(value), r: 8, fill: "none", stroke: INK };
    return (
      marker(xOf(i), yOf(value), 9, categoryStyle(rung)) +
      (trial === best ? element("circle", ring) : "")
    );
  });
  const legend = budgets.map((budget, rung) => {
    const x = LEFT + rung * 130;
    return marker(x + 4, bottom + 40, 9, categoryStyle(rung)) + text(x + 14, bottom + 44, budget);
  });
  const subtitle = `best ${objective} of each run, in the order in which they ran; ringed: the trial that won; ×: failed`;
  return drawing(
    WIDTH,
    bottom + 64,
    heading(title, subtitle),
    text(LEFT, TOP - 10, objective, { bold: true }),
    ...grid,
    element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: bottom, y2: bottom, stroke: MUTED }),
    text(WIDTH - RIGHT, bottom + 20, "runs", { fill: MUTED, anchor: "end" }),
    ...lines,
    ...marks,
    ...legend,
  );
}
