/** Retrieval as one sees it: a query and its five nearest, framed by whether they are right. */
import {
  drawing,
  element,
  fitText,
  heading,
  INK,
  MUTED,
  RIGHT,
  text,
  WRONG,
} from "../../base/svg.ts";

/** A picture (a data: URL) or a text. */
export type Shown =
  | { readonly kind: "picture"; readonly url: string }
  | { readonly kind: "text"; readonly text: string };

export interface SheetRow {
  readonly query: Shown;
  readonly nearest: readonly { readonly item: Shown; readonly right: boolean }[];
  /** Place of the nearest right one, 1 = first, 0 = there is none; shown where it is beyond the row. */
  readonly rank: number;
}

export interface SheetOptions {
  readonly title: string;
  readonly subtitle: string;
  /** Names above the query and above the candidates. */
  readonly columns: readonly [query: string, candidates: string];
  readonly rows: readonly SheetRow[];
}

const TOP = 100;
const MARGIN = 24;
const CELL = 92;
const PICTURE = 76;
const TEXT_WIDTH = 190;
const GAP = 34;

export function retrievalSheet({ title, subtitle, columns, rows }: SheetOptions): string {
  const sizeOf = (items: readonly Shown[]): number =>
    items.some(({ kind }) => kind === "text") ? TEXT_WIDTH : CELL;
  const queryWidth = sizeOf(rows.map(({ query }) => query));
  const cellWidth = sizeOf(rows.flatMap(({ nearest }) => nearest.map(({ item }) => item)));
  const count = Math.max(0, ...rows.map(({ nearest }) => nearest.length));
  const rowHeight = cellWidth === TEXT_WIDTH && queryWidth === TEXT_WIDTH ? 62 : CELL + 4;
  const start = MARGIN + queryWidth + GAP;
  const width = Math.max(560, start + count * cellWidth + 74 + MARGIN);
  const height = TOP + rows.length * rowHeight + 20;
  const drawn = rows.flatMap((row, i) => {
    const y = TOP + i * rowHeight;
    const middle = y + (rowHeight - 4) / 2;
    return [
      cell(row.query, { x: MARGIN, y, width: queryWidth, height: rowHeight - 4 }),
      element("path", {
        d: `M${start - GAP + 6} ${middle}h${GAP - 18}m-5 -4l5 4l-5 4`,
        fill: "none",
        stroke: MUTED,
        "stroke-width": 1.5,
      }),
      ...row.nearest.map(({ item, right }, at) =>
        cell(item, {
          x: start + at * cellWidth,
          y,
          width: cellWidth,
          height: rowHeight - 4,
          right,
        }),
      ),
      ...(row.rank > row.nearest.length || row.rank === 0
        ? [
            text(
              start + count * cellWidth + 8,
              middle + 4,
              row.rank === 0 ? "none is right" : `right at ${row.rank}`,
              {
                fill: MUTED,
                size: 11,
              },
            ),
          ]
        : []),
    ];
  });
  return drawing(
    width,
    height,
    heading(title, subtitle),
    text(MARGIN + 4, TOP - 12, fitText(columns[0], queryWidth + GAP - 8), { fill: MUTED }),
    text(start + 4, TOP - 12, columns[1], { fill: MUTED }),
    ...drawn,
  );
}

interface CellBox {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Undefined for the query, which has no frame. */
  readonly right?: boolean;
}

/** Right and wrong differ in colour, in the frame's dashes and by a sign, so that no reader needs the colour. */
function cell(item: Shown, box: CellBox): string {
  const { x, y, width, height, right } = box;
  const parts: string[] = [];
  if (item.kind === "picture") {
    const size = Math.min(PICTURE, width - 12, height - 10);
    parts.push(
      element("image", {
        x: x + (width - size) / 2,
        y: y + (height - size) / 2,
        width: size,
        height: size,
        href: item.url,
      }),
    );
  } else {
    parts.push(...wrapped(item.text, x + 10, y + height / 2, width - 20));
  }
  if (right !== undefined) {
    parts.push(
      element("rect", {
        x: x + 3,
        y: y + 2,
        width: width - 6,
        height: height - 4,
        rx: 5,
        fill: "none",
        stroke: right ? RIGHT : WRONG,
        "stroke-width": right ? 3 : 1.5,
        "stroke-dasharray": right ? undefined : "5 4",
      }),
    );
    if (right) {
      parts.push(
        element("circle", { cx: x + width - 9, cy: y + 9, r: 8, fill: RIGHT }),
        element("path", {
          d: `M${x + width - 13} ${y + 9}l3 3l5 -6`,
          fill: "none",
          stroke: "#ffffff",
          "stroke-width": 2,
        }),
      );
    }
  }
  return parts.join("");
}

/** At most three lines of text around the height `middle`. */
function wrapped(content: string, x: number, middle: number, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of content.split(/\s+/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (fitText(longer, width) === longer) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    line = word;
  }
  lines.push(line);
  const shown = lines.slice(0, 3).map((one) => fitText(one, width));
  if (lines.length > 3) shown[2] = fitText(`${lines[2] ?? ""} ${lines[3] ?? ""}`, width);
  return shown.map((one, i) =>
    text(x, middle + 4 + (i - (shown.length - 1) / 2) * 15, one, { fill: INK }),
  );
}
