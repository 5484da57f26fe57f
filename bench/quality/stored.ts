/**
 * Embeddings that something else made, read from the files that `soma embed` writes and judged like our own:
 * another model's, a floor's, or ours on another machine.
 */
import { extname } from "node:path";
import { stat } from "node:fs/promises";
import { SomaError } from "../../base/errors.ts";
import { readArrow } from "../../datasets/arrow.ts";
import { readJsonl } from "../../datasets/jsonl.ts";
import { readParquet } from "../../datasets/parquet.ts";
import type { Table } from "../../datasets/table.ts";
import { denseMatrix } from "./matrix.ts";
import type { PointSets, Space } from "./measure.ts";
import type { JudgedModality, Row, Rows, Selection } from "./selection.ts";

const READERS: Readonly<Record<string, (path: string) => Promise<Table>>> = {
  ".jsonl": readJsonl,
  ".arrow": readArrow,
  ".parquet": readParquet,
};

/** Vectors by example id, one map a modality; all of one length. */
export interface StoredEmbeddings {
  readonly dimension: number;
  readonly vectors: Readonly<Partial<Record<JudgedModality, ReadonlyMap<string, Float32Array>>>>;
}

/**
 * Read and check the files; a row is `{id, modality, embedding}`, and modalities that are not judged are passed over.
 * @throws SomaError EMBEDDINGS_MALFORMED (corrupt) naming file and row; NOT_FOUND (notFound); FORMAT_UNKNOWN (usage)
 */
export async function readStoredEmbeddings(paths: readonly string[]): Promise<StoredEmbeddings> {
  const vectors: Record<JudgedModality, Map<string, Float32Array>> = {
    image: new Map(),
    text: new Map(),
  };
  let dimension = 0;
  for (const path of paths) {
    const table = await openTable(path);
    const [ids, modalities, embeddings] = await Promise.all(
      ["id", "modality", "embedding"].map((name) => table.readColumn(name)),
    );
    for (let row = 0; row < table.rowCount; row++) {
      const refuse = (why: string): SomaError => malformed(path, table.place(row), why);
      const id = ids?.[row];
      const modality = modalities?.[row];
      if (typeof id !== "string" && typeof id !== "number") throw refuse("it has no id");
      if (typeof modality !== "string") throw refuse("it has no modality");
      if (modality !== "image" && modality !== "text") continue;
      const vector = toVector(embeddings?.[row]);
      if (vector === undefined) throw refuse("its embedding is not a list of finite numbers");
      if (dimension === 0) dimension = vector.length;
      if (vector.length !== dimension || dimension === 0) {
        throw refuse(`its embedding has ${vector.length} values, the first one has ${dimension}`);
      }
      if (vectors[modality].has(String(id))) throw refuse(`the ${modality} of "${id}" comes twice`);
      vectors[modality].set(String(id), vector);
    }
  }
  if (dimension === 0) throw malformed(paths.join(", "), "", "no image or text is embedded there");
  const filled = (["image", "text"] as const).filter((modality) => vectors[modality].size > 0);
  return {
    dimension,
    vectors: Object.fromEntries(filled.map((modality) => [modality, vectors[modality]])),
  };
}

/** The selection without training rows that the files lack, and the space of the rest. */
export function storedSpace(
  stored: StoredEmbeddings,
  selection: Selection,
  options: { readonly name: string; readonly cuts: readonly number[] },
): { readonly space: Space; readonly selection: Selection } {
  const outside = options.cuts.find((cut) => cut > stored.dimension);
  if (outside !== undefined) {
    throw new SomaError({
      code: "BAD_DIMENSION",
      kind: "usage",
      what: `a cut of ${outside} is more than the ${stored.dimension} dimensions of the embeddings`,
      next: `give cuts from 1 to ${stored.dimension}`,
    });
  }
  const rows: Partial<Record<JudgedModality, Rows>> = {};
  const points: Partial<Record<JudgedModality, PointSets>> = {};
  const notes = [...selection.notes];
  for (const modality of ["image", "text"] as const) {
    const selected = selection.rows[modality];
    const vectors = stored.vectors[modality];
    if (selected === undefined || vectors === undefined) continue;
    const missing = selected.test.filter(({ example }) => !vectors.has(example.id));
    const [first] = missing;
    if (first !== undefined) {
      throw new SomaError({
        code: "EMBEDDINGS_INCOMPLETE",
        kind: "usage",
        what: `${missing.length} of ${selected.test.length} judged ${modality} rows have no embedding, "${first.example.id}" is one`,
        next: `embed the whole ${selection.split} split of ${selection.dataset.name}`,
      });
    }
    const fit = selected.fit.filter(({ example }) => vectors.has(example.id));
    if (fit.length < selected.fit.length) {
      notes.push(
        `${modality}: ${selected.fit.length - fit.length} of ${selected.fit.length} training rows have no embedding; k-NN and linear probe use ${fit.length === 0 ? "none and are left out" : "the rest"}`,
      );
    }
    rows[modality] = { ...selected, fit };
    const matrix = (chosen: readonly Row[]) =>
      denseMatrix(
        chosen.map(({ example }) => vectors.get(example.id) ?? new Float32Array()),
        stored.dimension,
      );
    points[modality] = { fit: matrix(fit), test: matrix(selected.test) };
  }
  const cuts = [...new Set([...options.cuts, stored.dimension])].sort((a, b) => a - b);
  const key = JSON.stringify([
    selection.key,
    Object.values(rows).map(({ fit }) => fit.map(({ example }) => example.id)),
  ]);
  return {
    space: { name: options.name, kind: "stored", dimension: stored.dimension, cuts, points },
    selection: { ...selection, rows, notes, key },
  };
}

async function openTable(path: string): Promise<Table> {
  const extension = extname(path).toLowerCase();
  const read = READERS[extension];
  if (read === undefined) {
    throw new SomaError({
      code: "FORMAT_UNKNOWN",
      kind: "usage",
      what: `embeddings are not read from ${extension === "" ? `"${path}"` : `${extension} files`}`,
      next: `give one of ${Object.keys(READERS).join(", ")}`,
    });
  }
  if ((await stat(path).catch(() => undefined)) === undefined) {
    throw new SomaError({
      code: "NOT_FOUND",
      kind: "notFound",
      what: `there is no file ${path}`,
      next: "write one with soma embed",
    });
  }
  const table = await read(path);
  const missing = ["id", "modality", "embedding"].find((name) => !table.columns.includes(name));
  if (missing !== undefined) throw malformed(path, "", `it has no column "${missing}"`);
  return table;
}

/** A list of numbers in any form a reader gives (array, typed array, Arrow vector), or undefined. */
function toVector(value: unknown): Float32Array | undefined {
  if (typeof value !== "object" || value === null || !(Symbol.iterator in value)) return undefined;
  const numbers = [...(value as Iterable<unknown>)];
  if (!numbers.every((entry): entry is number => typeof entry === "number")) return undefined;
  const vector = Float32Array.from(numbers);
  return vector.every(Number.isFinite) ? vector : undefined;
}

function malformed(path: string, place: string, why: string): SomaError {
  return new SomaError({
    code: "EMBEDDINGS_MALFORMED",
    kind: "corrupt",
    what: `${path}${place === "" ? "" : `, ${place}`}: ${why}`,
    next: "write the file again with soma embed",
  });
}
