/** How time grows with size: a panel a dimension, both axes logarithmic, so that a power law is a straight line. */
import {
  ACCENT,
  drawing,
  element,
  GRID,
  heading,
  marker,
  MUTED,
  path,
  text,
  tickLabel,
  WRONG,
} from "../../base/svg.ts";

export interface GrowthCurve {
  readonly name: string;
  /** Ours is drawn to stand out. */
  readonly ours: boolean;
  /** Both numbers above 0, sizes ascending. */
  readonly points: readonly (readonly [size: number, value: number])[];
  /** Of the law that was fitted; absent if there was none. */
  readonly exponent: number | undefined;
}

export interface GrowthCurvesOptions {
  readonly title: string;
  readonly subtitle: string;
  /** Of the values, e.g. "ms a step": one scale for all panels. Absent: each panel has its own, and its title says of what. */
  readonly unit?: string;
  readonly panels: readonly {
    /** Default: the dimension. */
    readonly title?: string;
    /** Of the sizes, e.g. "tokens". */
    readonly dimension: string;
    /** What was held still, e.g. "width 192, batch 8". */
    readonly held: string;
    readonly curves: readonly GrowthCurve[];
  }[];
}

const PANEL_WIDTH = 292;
const PANEL_HEIGHT = 260;
const GAP = 62;
const LEFT = 64;
const TOP = 116;
const BOTTOM = 78;
const LINE = 16; // pixels between two lines of text

type Point = readonly [number, number];

export function growthCurves({ title, subtitle, unit, panels }: GrowthCurvesOptions): string {
  const curveCount = Math.max(1, ...panels.map(({ curves }) => curves.length));
  const width = LEFT + panels.length * (PANEL_WIDTH + GAP) - GAP + 28;
  const height = TOP + PANEL_HEIGHT + BOTTOM + curveCount * LINE;
  const valuesOf = ({ curves }: (typeof panels)[number]): readonly number[] =>
    curves.flatMap(({ points }) => points.map(([, y]) => y));
  // Of one unit, one scale for all panels: their heights can be compared.
  const shared = unit === undefined ? undefined : roundedRange(panels.flatMap(valuesOf));
  const parts = panels.flatMap((panel, i) => {
    const left = LEFT + i * (PANEL_WIDTH + GAP);
    const yRange = shared ?? roundedRange(valuesOf(panel));
    const sizes = panel.curves.flatMap(({ points }) => points.map(([x]) => x));
    const xRange: Point = sizes.length === 0 ? [1, 2] : [Math.min(...sizes), Math.max(...sizes)];
    const place = ([x, y]: Point): Point => [
      left + share(x, xRange) * PANEL_WIDTH,
      TOP + (1 - share(y, yRange)) * PANEL_HEIGHT,
    ];
    return [
      text(left, TOP - 26, panel.title ?? panel.dimension, { bold: true }),
      text(left, TOP - 10, panel.held, { fill: MUTED, size: 11 }),
      ...grid(yRange, sizes, { left, place }),
      ...panel.curves.flatMap((curve) => drawCurve(curve, place)),
      ...panel.curves.map((curve, c) => legend(curve, panel.dimension, left, c)),
    ];
  });
  return drawing(
    width,
    height,
    heading(title, subtitle),
    text(LEFT, height - 14, `${unit === undefined ? "" : `${unit}; `}both axes logarithmic`, {
      fill: MUTED,
    }),
    ...parts,
  );
}

/** Where `value` lies between the ends of a range, 0 … 1, by its logarithm. */
function share(value: number, [low, high]: Point): number {
  return high > low ? Math.log(value / low) / Math.log(high / low) : 0.5;
}

/** The nearest 1, 2 or 5 times a power of ten below the least and above the largest value. */
function roundedRange(values: readonly number[]): Point {
  if (values.length === 0) return [1, 10];
  const steps = roundNumbers(Math.min(...values) / 5, Math.max(...values) * 5);
  const low = steps.findLast((step) => step <= Math.min(...values)) ?? 1;
  const high = steps.find((step) => step >= Math.max(...values)) ?? 10;
  return high > low ? [low, high] : [low / 2, high * 2];
}

/** All 1, 2 and 5 times powers of ten from `low` to `high`. */
function roundNumbers(low: number, high: number): number[] {
  const numbers: number[] = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const digit of [1, 2, 5]) {
      const number = Number(`${digit}e${power}`);
      if (number >= low && number <= high) numbers.push(number);
    }
  }
  return numbers;
}

function grid(
  yRange: Point,
  sizes: readonly number[],
  { left, place }: { readonly left: number; readonly place: (point: Point) => Point },
): string[] {
  const right = left + PANEL_WIDTH;
  const bottom = TOP + PANEL_HEIGHT;
  const horizontal = roundNumbers(...yRange).flatMap((value) => {
    const [, y] = place([1, value]);
    return [
      element("line", { x1: left, x2: right, y1: y, y2: y, stroke: GRID }),
      text(left - 8, y + 4, tickLabel(value), { fill: MUTED, anchor: "end", size: 11 }),
    ];
  });
  const vertical = [...new Set(sizes)].map((size) => {
    const [x] = place([size, yRange[0]]);
    return text(x, bottom + 18, tickLabel(size), { fill: MUTED, anchor: "middle", size: 11 });
  });
  const base = element("line", { x1: left, x2: right, y1: bottom, y2: bottom, stroke: MUTED });
  return [...horizontal, ...vertical, base];
}

function drawCurve(curve: GrowthCurve, place: (point: Point) => Point): string[] {
  const { color, shape } = styleOf(curve);
  const placed = curve.points.map(place);
  return [
    element("path", {
      d: path(placed),
      fill: "none",
      stroke: color,
      "stroke-width": curve.ours ? 2 : 1.5,
      "stroke-dasharray": curve.ours ? undefined : "5 3",
    }),
    ...placed.map(([x, y]) => marker(x, y, 7, { color, shape })),
  ];
}

function legend(curve: GrowthCurve, dimension: string, left: number, index: number): string {
  const y = TOP + PANEL_HEIGHT + 40 + index * LINE;
  const law = curve.exponent === undefined ? "" : `: ${dimension}^${curve.exponent.toFixed(2)}`;
  return (
    marker(left + 4, y - 4, 7, styleOf(curve)) +
    text(left + 14, y, `${curve.name}${law}`, { size: 11, bold: curve.ours })
  );
}

function styleOf({ ours }: GrowthCurve): { color: string; shape: "circle" | "square" } {
  return ours ? { color: ACCENT, shape: "circle" } : { color: WRONG, shape: "square" };
}
