/** A map of embeddings, coloured by label: which concepts lie together. */
import { displayLabel } from "./labels.ts";
import {
  categoryStyle,
  drawing,
  element,
  fitText,
  GRID,
  heading,
  marker,
  MUTED,
  text,
} from "../../base/svg.ts";

export interface MapOptions {
  readonly title: string;
  readonly subtitle: string;
  /** One [x, y] a point, any scale. */
  readonly points: readonly (readonly [number, number])[];
  /** A label a point; undefined = none. */
  readonly labels: readonly (string | undefined)[];
}

const WIDTH = 960;
const HEIGHT = 680;
const LEGEND_WIDTH = 220;
const TOP = 72;
const MARGIN = 24;
/** Labels in the legend; the rest are drawn in grey as "other". */
const LABELS_MAX = 36;
const OTHER = "#c3cad2";

export function embeddingMap({ title, subtitle, points, labels }: MapOptions): string {
  const counts = new Map<string, number>();
  for (const label of labels) {
    if (label !== undefined) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  // The most frequent first: of too many labels, the rare ones are grey.
  const shown = [...counts]
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, LABELS_MAX)
    .map(([label]) => label)
    .sort();
  const styles = new Map(shown.map((label, index) => [label, categoryStyle(index)]));
  const other = { color: OTHER, shape: "circle" } as const;

  const width = WIDTH - LEGEND_WIDTH - 2 * MARGIN;
  const height = HEIGHT - TOP - MARGIN;
  const place = scaleInto(points, { x: MARGIN, y: TOP, width, height, padding: 14 });
  const size = points.length > 1000 ? 6 : 8;
  const dots = points.map((point, i) => {
    const [x, y] = place(point);
    return marker(x, y, size, styles.get(labels[i] ?? "") ?? other);
  });
  const legendX = WIDTH - LEGEND_WIDTH;
  const spacing = Math.min(24, (height - 10) / Math.max(1, shown.length + 1));
  const legend = shown.flatMap((label, index) => {
    const y = TOP + 10 + index * spacing;
    const style = styles.get(label) ?? other;
    const name = fitText(displayLabel(label), LEGEND_WIDTH - 80);
    return [
      marker(legendX + 10, y, 11, style),
      text(legendX + 24, y + 4, name),
      text(WIDTH - MARGIN, y + 4, String(counts.get(label) ?? 0), { fill: MUTED, anchor: "end" }),
    ];
  });
  const rest = points.length - shown.reduce((sum, label) => sum + (counts.get(label) ?? 0), 0);
  if (rest > 0 && shown.length > 0) {
    const y = TOP + 10 + shown.length * spacing;
    legend.push(
      marker(legendX + 10, y, 11, other),
      text(legendX + 24, y + 4, "other"),
      text(WIDTH - MARGIN, y + 4, String(rest), { fill: MUTED, anchor: "end" }),
    );
  }
  return drawing(
    WIDTH,
    HEIGHT,
    heading(title, subtitle),
    element("rect", { x: MARGIN, y: TOP, width, height, fill: "none", stroke: GRID, rx: 6 }),
    ...dots,
    ...legend,
  );
}

/** Points moved and scaled, both axes alike, into the middle of a frame. */
function scaleInto(
  points: readonly (readonly [number, number])[],
  frame: {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
    readonly padding: number;
  },
): (point: readonly [number, number]) => readonly [number, number] {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    bottom = Math.min(bottom, y);
    top = Math.max(top, y);
  }
  const scale = Math.min(
    (frame.width - 2 * frame.padding) / Math.max(right - left, 1e-9),
    (frame.height - 2 * frame.padding) / Math.max(top - bottom, 1e-9),
  );
  const middleX = frame.x + frame.width / 2;
  const middleY = frame.y + frame.height / 2;
  return ([x, y]) => [
    middleX + (x - (left + right) / 2) * scale,
    middleY - (y - (bottom + top) / 2) * scale,
  ];
}
