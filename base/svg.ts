/**
 * A small writer of SVG: elements, text, axes. Text is real text, so that a browser's reader can search and select it.
 * Colours: Okabe & Ito for few, Paul Tol's "muted" for many; both can be told apart by colour-blind readers.
 */

/** Text and lines of every plot. */
export const INK = "#1f2933";
export const MUTED = "#5f6b7a";
export const GRID = "#e3e7ec";
/** Ours. */
export const ACCENT = "#0072b2";
/** What we compare with. */
export const NEUTRAL = "#aab4c0";
export const RIGHT = "#009e73";
export const WRONG = "#d55e00";

/** Paul Tol, "muted". */
const CATEGORY_COLORS = [
  "#332288",
  "#88ccee",
  "#44aa99",
  "#117733",
  "#999933",
  "#ddcc77",
  "#cc6677",
  "#882255",
  "#aa4499",
] as const;

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** `<name attributes>children</name>`; children are markup already. */
export function element(name: string, attributes: Attributes, ...children: string[]): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escape(shorten(value))}"`)
    .join("");
  return children.length === 0
    ? `<${name}${written}/>`
    : `<${name}${written}>${children.join("")}</${name}>`;
}

export interface TextStyle {
  readonly size?: number;
  readonly fill?: string;
  readonly anchor?: "start" | "middle" | "end";
  readonly bold?: boolean;
}

/** Text with its baseline at y. */
export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  return element(
    "text",
    {
      x,
      y,
      "font-size": style.size ?? 12,
      fill: style.fill ?? INK,
      "text-anchor": style.anchor === "start" ? undefined : style.anchor,
      "font-weight": style.bold === true ? 600 : undefined,
    },
    escape(content),
  );
}

/** A whole drawing on white. */
export function drawing(width: number, height: number, ...children: string[]): string {
  return `${element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      "font-family": "Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif",
    },
    element("rect", { width, height, fill: "#ffffff" }),
    ...children,
  )}\n`;
}

/** Title and a line below it, at the top left. */
export function heading(title: string, subtitle: string): string {
  return text(24, 34, title, { size: 17, bold: true }) + text(24, 54, subtitle, { fill: MUTED });
}

/** How many pixels a text of 12 px takes, roughly: enough to place things beside it. */
export function textWidth(content: string, size = 12): number {
  // A wide script (CJK, emoji) has square characters, Latin ones are about 0.58 as wide as high.
  let units = 0;
  for (const character of content) units += (character.codePointAt(0) ?? 0) > 0x2e7f ? 1 : 0.58;
  return units * size;
}

/** `content` cut with an ellipsis so that it takes at most `width` pixels. */
export function fitText(content: string, width: number, size = 12): string {
  if (textWidth(content, size) <= width) return content;
  const characters = Array.from(new Intl.Segmenter().segment(content), ({ segment }) => segment);
  while (characters.length > 1 && textWidth(`${characters.join("")}…`, size) > width) {
    characters.pop();
  }
  return `${characters.join("").trimEnd()}…`;
}

export interface CategoryStyle {
  readonly color: string;
  readonly shape: "circle" | "square" | "triangle" | "diamond";
}

/** The style of category `index`: nine colours, then the same in another shape. 36 are distinct. */
export function categoryStyle(index: number): CategoryStyle {
  const shapes = ["circle", "square", "triangle", "diamond"] as const;
  return {
    color: CATEGORY_COLORS[index % CATEGORY_COLORS.length] ?? INK,
    shape: shapes[Math.floor(index / CATEGORY_COLORS.length) % shapes.length] ?? "circle",
  };
}

/** A marker of about `size` pixels across. */
export function marker(x: number, y: number, size: number, style: CategoryStyle): string {
  const r = size / 2;
  const common = { fill: style.color, "fill-opacity": 0.8 };
  switch (style.shape) {
    case "circle":
      return element("circle", { cx: x, cy: y, r, ...common });
    case "square":
      return element("rect", {
        x: x - 0.9 * r,
        y: y - 0.9 * r,
        width: 1.8 * r,
        height: 1.8 * r,
        ...common,
      });
    case "triangle":
      return element("path", {
        d: path([
          [x, y - 1.2 * r],
          [x + 1.1 * r, y + 0.8 * r],
          [x - 1.1 * r, y + 0.8 * r],
        ]).concat("Z"),
        ...common,
      });
    case "diamond":
      return element("path", {
        d: path([
          [x, y - 1.3 * r],
          [x + 1.3 * r, y],
          [x, y + 1.3 * r],
          [x - 1.3 * r, y],
        ]).concat("Z"),
        ...common,
      });
  }
}

/** Path data of straight lines through the points. */
export function path(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${shorten(x)} ${shorten(y)}`).join("");
}

/** About `count` round numbers from `low` to `high`, both ends inside. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** A tick's number as short as it can be: 0.5, 200, 1.5k. */
export function tickLabel(value: number): string {
  const rounded = Number(value.toPrecision(6));
  return Math.abs(rounded) >= 10_000 ? `${rounded / 1000}k` : String(rounded);
}

function shorten(value: string | number | undefined): string {
  return typeof value === "number" ? String(Math.round(value * 100) / 100) : (value ?? "");
}

/** Markup characters escaped, and what XML cannot hold (most control characters, halves of pairs) left out. */
export function escape(content: string): string {
  return content
    .replaceAll(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
