/**
 * A contact sheet: some pictures of a dataset side by side, as the encoder will see them. A row is a concept and
 * a column one of its variants; where every concept has one picture, a row is a class and holds samples of it.
 */
import { seededRng } from "../tokenizers/random.ts";
import type { Image } from "../tokenizers/tokenizer.ts";
import { byGroup } from "./batch.ts";
import type { Dataset, Example } from "./dataset.ts";
import type { ImageStore } from "./image-store.ts";

/** Rows of a sheet, and columns at most. */
export const SHEET_ROWS = 12;
export const SHEET_COLUMNS_MAX = 12;
/** White pixels between pictures. */
const GAP = 6;
const WHITE = 255;

/** @returns undefined if no picture of the dataset was loaded */
export function contactSheet(dataset: Dataset, images: ImageStore): Image | undefined {
  const cells = sheetCells(dataset, images);
  const pictures = cells.flat().filter((cell) => cell !== undefined);
  if (pictures.length === 0) return undefined;
  const cellWidth = Math.max(...pictures.map(({ width }) => width)) + GAP;
  const cellHeight = Math.max(...pictures.map(({ height }) => height)) + GAP;
  const columnCount = Math.max(...cells.map((row) => row.length));
  const width = columnCount * cellWidth + GAP;
  const height = cells.length * cellHeight + GAP;
  const pixels = new Uint8Array(width * height * 3).fill(WHITE);
  for (const [row, line] of cells.entries()) {
    for (const [column, picture] of line.entries()) {
      if (picture === undefined) continue;
      const left = GAP + column * cellWidth + Math.floor((cellWidth - GAP - picture.width) / 2);
      const top = GAP + row * cellHeight + Math.floor((cellHeight - GAP - picture.height) / 2);
      place(picture, pixels, { left, top, width });
    }
  }
  return { width, height, pixels };
}

/** The pictures by row and column; undefined where a concept lacks a variant. */
function sheetCells(dataset: Dataset, images: ImageStore): (Image | undefined)[][] {
  const drawn = dataset.examples.filter(({ id }) => images.has(id));
  const groups = [...byGroup(drawn).values()];
  const single = groups.every((members) => members.length === 1);
  const rows = single
    ? sampleClasses(drawn)
    : sample(groups, SHEET_ROWS).map((members) => inVariantOrder(members, variantsOf(drawn)));
  return rows.map((row) => row.map((example) => example && images.get(example.id)));
}

/** A row a class, each with as many samples as fit; without labels, rows of samples. */
function sampleClasses(examples: readonly Example[]): Example[][] {
  const classes = byLabel(examples);
  if (classes.size >= 2) {
    return [...classes.values()]
      .slice(0, SHEET_ROWS)
      .map((members) => sample(members, SHEET_COLUMNS_MAX));
  }
  const all = sample(examples, SHEET_ROWS * SHEET_COLUMNS_MAX);
  const rows: Example[][] = [];
  for (let start = 0; start < all.length; start += SHEET_COLUMNS_MAX) {
    rows.push(all.slice(start, start + SHEET_COLUMNS_MAX));
  }
  return rows;
}

function byLabel(examples: readonly Example[]): Map<string, Example[]> {
  const classes = new Map<string, Example[]>();
  for (const example of examples) {
    const members = classes.get(example.label ?? "");
    if (members === undefined) classes.set(example.label ?? "", [example]);
    else members.push(example);
  }
  return classes;
}

/** Names of the variants, in order of first appearance; none if any picture has none. */
function variantsOf(examples: readonly Example[]): string[] {
  const variants = new Set<string>();
  for (const { variant } of examples) {
    if (variant === undefined) return [];
    variants.add(variant);
  }
  return [...variants].slice(0, SHEET_COLUMNS_MAX);
}

function inVariantOrder(
  members: readonly Example[],
  variants: readonly string[],
): (Example | undefined)[] {
  if (variants.length === 0) return members.slice(0, SHEET_COLUMNS_MAX);
  return variants.map((variant) => members.find((example) => example.variant === variant));
}

/** At most `count` of a list, drawn evenly but always the same, in the order of the list. */
function sample<T>(list: readonly T[], count: number): T[] {
  if (list.length <= count) return [...list];
  const positions = seededRng(0, "contact-sheet").sample(list.length, count).sort();
  return [...positions].flatMap((position) => list.slice(position, position + 1));
}

function place(
  picture: Image,
  pixels: Uint8Array,
  at: { readonly left: number; readonly top: number; readonly width: number },
): void {
  for (let y = 0; y < picture.height; y++) {
    const line = picture.pixels.subarray(y * picture.width * 3, (y + 1) * picture.width * 3);
    pixels.set(line, ((at.top + y) * at.width + at.left) * 3);
  }
}
