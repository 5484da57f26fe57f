/** Ours against the floors: a panel a measure, a bar an encoder, all on one scale from 0 to 100 %. */
import {
  ACCENT,
  drawing,
  element,
  fitText,
  heading,
  INK,
  MUTED,
  NEUTRAL,
  text,
} from "../../base/svg.ts";

export interface BarsOptions {
  readonly title: string;
  readonly subtitle: string;
  /** From top to bottom; the last one is ours. */
  readonly encoders: readonly string[];
  readonly panels: readonly {
    readonly title: string;
    /** A share 0 … 1 an encoder; undefined where it does not apply. */
    readonly values: readonly (number | undefined)[];
  }[];
}

const NAME_WIDTH = 128;
const PANEL_WIDTH = 176;
const BAR_WIDTH = 116; // of 100 %
const ROW = 26;
const PANELS_PER_ROW = 4;
const TOP = 76;
const MARGIN = 24;

export function bars({ title, subtitle, encoders, panels }: BarsOptions): string {
  const columns = Math.min(PANELS_PER_ROW, Math.max(1, panels.length));
  const rowHeight = encoders.length * ROW + 58;
  const width = 2 * MARGIN + NAME_WIDTH + columns * PANEL_WIDTH;
  const height = TOP + Math.ceil(panels.length / columns) * rowHeight + 4;
  const drawn = panels.flatMap((panel, index) => {
    const column = index % columns;
    const x = MARGIN + NAME_WIDTH + column * PANEL_WIDTH;
    const y = TOP + Math.floor(index / columns) * rowHeight;
    const floor = Math.max(0, ...panel.values.slice(0, -1).map((value) => value ?? 0));
    return [
      ...(column === 0 ? names(encoders, y + 30) : []),
      text(x, y + 14, fitText(panel.title, PANEL_WIDTH - 12, 13), { size: 13, bold: true }),
      ...encoders.flatMap((_, i) =>
        bar(panel.values[i], { x, y: y + 30 + i * ROW, ours: i === encoders.length - 1 }),
      ),
      ...(floor > 0 ? [bestFloor(x + floor * BAR_WIDTH, y + 26, encoders.length * ROW)] : []),
    ];
  });
  return drawing(width, height, heading(title, subtitle), ...drawn);
}

function names(encoders: readonly string[], y: number): string[] {
  return encoders.map((name, i) =>
    text(MARGIN + NAME_WIDTH - 12, y + i * ROW + 13, fitText(name, NAME_WIDTH - 14), {
      anchor: "end",
      bold: i === encoders.length - 1,
    }),
  );
}

function bar(
  value: number | undefined,
  at: { readonly x: number; readonly y: number; readonly ours: boolean },
): string[] {
  const track = element("rect", {
    x: at.x,
    y: at.y + 1,
    width: BAR_WIDTH,
    height: ROW - 9,
    fill: "#f4f6f8",
  });
  if (value === undefined) return [track, text(at.x + 4, at.y + 13, "–", { fill: MUTED })];
  return [
    track,
    element("rect", {
      x: at.x,
      y: at.y + 1,
      width: Math.max(1, value * BAR_WIDTH),
      height: ROW - 9,
      fill: at.ours ? ACCENT : NEUTRAL,
    }),
    text(at.x + BAR_WIDTH + 6, at.y + 13.5, (100 * value).toFixed(1), {
      bold: at.ours,
      fill: at.ours ? INK : MUTED,
    }),
  ];
}

/** A line at the best floor, so that the eye sees by how much ours passes it. */
function bestFloor(x: number, y: number, height: number): string {
  return element("line", {
    x1: x,
    x2: x,
    y1: y,
    y2: y + height,
    stroke: INK,
    "stroke-width": 1,
    "stroke-dasharray": "3 3",
  });
}
