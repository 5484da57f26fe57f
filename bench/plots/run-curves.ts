/** Runs side by side: their training losses in one panel, a figure of their validations in the other. */
import {
  categoryStyle,
  drawing,
  element,
  fitText,
  GRID,
  heading,
  marker,
  MUTED,
  path,
  text,
  tickLabel,
  ticks,
} from "../../base/svg.ts";
import { series, smooth, type CurveLine, type Point } from "./loss-curve.ts";

export interface RunCurve {
  readonly name: string;
  readonly lines: readonly CurveLine[];
}

export interface RunCurvesOptions {
  /** What runs along the horizontal axis. */
  readonly x: "step" | "seconds";
  /** Name of a figure in the validation lines; undefined: the losses alone. */
  readonly metric: string | undefined;
}

const PANEL_WIDTH = 430;
const PANEL_HEIGHT = 300;
const LEFT = 64;
const TOP = 98;
const GAP = 76;
const RIGHT = 28;
const LINE = 18; // pixels between two lines of the legend

interface Panel {
  readonly label: string;
  /** One a run; empty where it has none. */
  readonly curves: readonly (readonly Point[])[];
  readonly marked: boolean;
}

/** @returns undefined if no run has logged two losses and none has been validated twice */
export function runCurves(
  runs: readonly RunCurve[],
  { x, metric }: RunCurvesOptions,
): string | undefined {
  const panels: Panel[] = [
    {
      label: "training loss, running mean",
      curves: runs.map(({ lines }) => smooth(series(lines, { kind: "train", name: "loss", x }))),
      marked: false,
    },
    ...(metric === undefined
      ? []
      : [
          {
            label: `validation ${metric}`,
            curves: runs.map(({ lines }) => series(lines, { kind: "validation", name: metric, x })),
            marked: true,
          },
        ]),
  ].filter(({ curves }) => curves.some((points) => points.length >= 2));
  if (panels.length === 0) return undefined;
  const width = LEFT + panels.length * (PANEL_WIDTH + GAP) - GAP + RIGHT;
  const height = TOP + PANEL_HEIGHT + 56 + runs.length * LINE;
  const xMax = Math.max(...panels.flatMap(({ curves }) => curves.flat().map(([at]) => at)));
  return drawing(
    width,
    height,
    heading(`${runs.length} runs`, `over ${x === "step" ? "steps" : "seconds of training"}`),
    ...panels.map((panel, i) => drawPanel(panel, LEFT + i * (PANEL_WIDTH + GAP), xMax)),
    ...runs.map(({ name }, i) => {
      const y = TOP + PANEL_HEIGHT + 52 + i * LINE;
      const last = panels
        .flatMap(({ curves, label }) => {
          const end = curves[i]?.at(-1);
          return end === undefined ? [] : [`${label.split(",")[0] ?? label} ${rounded(end[1])}`];
        })
        .join(", ");
      return (
        marker(LEFT + 4, y - 4, 9, categoryStyle(i)) +
        text(LEFT + 16, y, fitText(`${name}: ${last}`, width - LEFT - 40), { size: 12 })
      );
    }),
  );
}

function drawPanel({ label, curves, marked }: Panel, left: number, xMax: number): string {
  const values = curves.flat().map(([, y]) => y);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high > low ? high - low : 1;
  const bottom = TOP + PANEL_HEIGHT;
  const place = ([x, y]: Point): Point => [
    left + (x / Math.max(xMax, Number.MIN_VALUE)) * PANEL_WIDTH,
    bottom - ((y - low) / span) * PANEL_HEIGHT,
  ];
  const grid = ticks(low, low + span, 5).flatMap((value) => {
    const [, y] = place([0, value]);
    return [
      element("line", { x1: left, x2: left + PANEL_WIDTH, y1: y, y2: y, stroke: GRID }),
      text(left - 8, y + 4, tickLabel(value), { fill: MUTED, anchor: "end", size: 11 }),
    ];
  });
  const numbers = ticks(0, xMax, 6).map((value) => {
    const [x] = place([value, low]);
    return text(x, bottom + 18, tickLabel(value), { fill: MUTED, anchor: "middle", size: 11 });
  });
  const drawn = curves.map((points, i) => {
    const style = categoryStyle(i);
    const placed = points.map(place);
    const line = element("path", {
      d: path(placed),
      fill: "none",
      stroke: style.color,
      "stroke-width": 2,
      "stroke-linejoin": "round",
    });
    return line + (marked ? placed.map(([x, y]) => marker(x, y, 6, style)).join("") : "");
  });
  return [
    text(left, TOP - 10, label, { bold: true }),
    ...grid,
    ...numbers,
    element("line", { x1: left, x2: left + PANEL_WIDTH, y1: bottom, y2: bottom, stroke: MUTED }),
    ...drawn,
  ].join("");
}

/** Three digits that count. */
function rounded(value: number): string {
  return String(Number(value.toPrecision(3)));
}
