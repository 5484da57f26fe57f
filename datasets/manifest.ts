/**
 * A user's manifest: a table with columns `id, group, split?, text?, image?, label?, variant?`, one example a
 * row, as JSON lines, CSV, TSV, Parquet or Arrow. `image` is a path relative to the manifest, or the bytes
 * themselves (a binary column, a base64 `data:` URL, or `{"bytes": …}`). Rows of one group are positives of each
 * other. Without a split column, groups are divided by their hash.
 */
import { stat } from "node:fs/promises";
import { dirname, extname } from "node:path";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { say } from "../base/terminal.ts";
import type { Dataset, LoadOptions } from "./dataset.ts";
import { datasetOfTables, describeIgnored, type ColumnMapping } from "./rows.ts";
import type { Table } from "./table.ts";
import { ROLES } from "./values.ts";

/** File extension → reader, one line each. */
const READERS: Readonly<Record<string, (path: string) => Promise<Table>>> = {
  ".jsonl": async (path) => (await import("./jsonl.ts")).readJsonl(path),
  ".ndjson": async (path) => (await import("./jsonl.ts")).readJsonl(path),
  ".csv": async (path) => (await import("./csv.ts")).readCsv(path, ","),
  ".tsv": async (path) => (await import("./csv.ts")).readCsv(path, "\t"),
  ".parquet": async (path) => (await import("./parquet.ts")).readParquet(path),
  ".arrow": async (path) => (await import("./arrow.ts")).readArrow(path),
};

export const MANIFEST_EXTENSIONS: readonly string[] = Object.keys(READERS);

/**
 * @throws SomaError MANIFEST_MISSING (notFound), MANIFEST_FORMAT, MANIFEST_COLUMNS, BAD_ROW, DUPLICATE_ID (usage),
 *         PATH_OUTSIDE (refused), FILES_MISSING (notFound), MANIFEST_MALFORMED (corrupt)
 */
export async function loadManifest(path: string, options: LoadOptions): Promise<Dataset> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) {
    throw new SomaError({
      code: "MANIFEST_MISSING",
      kind: "notFound",
      what: `there is no file ${path}`,
      next: "check the path",
    });
  }
  const table = await readerOf(path)(path);
  const mapping = columnsOf(table, path);
  const ignored = describeIgnored(table.columns, mapping);
  if (ignored !== undefined) (options.warn ?? say)(`${path}: ${ignored}`);
  return datasetOfTables(
    [{ table, path, mapping }],
    dirname(path),
    { path, description: `manifest of ${table.rowCount} rows` },
    options,
  );
}

function readerOf(path: string): (path: string) => Promise<Table> {
  const extension = extname(path).toLowerCase();
  const reader = Object.hasOwn(READERS, extension) ? READERS[extension] : undefined;
  if (reader !== undefined) return reader;
  throw new SomaError({
    code: "MANIFEST_FORMAT",
    kind: "usage",
    what: `${path} is no manifest: its name ends with "${extension}"`,
    next: `manifests end with ${MANIFEST_EXTENSIONS.join(", ")}`,
  });
}

/** @throws SomaError MANIFEST_COLUMNS (usage) if id, group, or both text and image are missing */
function columnsOf(table: Table, path: string): ColumnMapping {
  const mapping: ColumnMapping = Object.fromEntries(
    ROLES.filter((role) => table.columns.includes(role)).map((role) => [role, role]),
  );
  if (table.rowCount === 0) return mapping; // reported as empty, which is what is wrong
  for (const role of ["id", "group"] as const) {
    if (mapping[role] === undefined) throw columnMissing(path, `"${role}"`, role, table.columns);
  }
  if (mapping.text === undefined && mapping.image === undefined) {
    throw columnMissing(path, `"text" or "image"`, "image", table.columns);
  }
  return mapping;
}

function columnMissing(
  path: string,
  what: string,
  role: string,
  columns: readonly string[],
): SomaError {
  const nearest = nearestName(role, columns);
  return new SomaError({
    code: "MANIFEST_COLUMNS",
    kind: "usage",
    what: `${path} has no column ${what} (it has ${columns.map((name) => `"${name}"`).join(", ")})`,
    next:
      nearest === undefined
        ? "a manifest has the columns id, group, and text or image; split, label and variant are optional"
        : `did you mean your column "${nearest}"? rename it`,
  });
}
