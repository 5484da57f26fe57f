/**
 * A folder that Hugging Face's `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote: state.json and
 * dataset_info.json beside data-*.arrow streams; for a DatasetDict one such folder a split, and
 * dataset_dict.json above them. Integer ClassLabel columns become their names. Source: datasets 2.x,
 * arrow_dataset.py and dataset_dict.py.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { SomaError } from "../base/errors.ts";
import { say } from "../base/terminal.ts";
import { readArrow } from "./arrow.ts";
import type { Dataset, LoadOptions, Split } from "./dataset.ts";
import { datasetOfTables, describeIgnored, type ColumnMapping, type TableSource } from "./rows.ts";
import { parseSplit } from "./split.ts";
import { classNamesOf, isRecord, malformed } from "./table.ts";
import { ROLES, type Role } from "./values.ts";

/** What columns are usually called, tried in this order where none is called by the role itself. */
const ALIASES: Readonly<Partial<Record<Role, readonly string[]>>> = {
  image: ["img", "picture"],
  text: ["caption", "sentence", "title", "content"],
  label: ["labels", "class", "category", "fine_label"],
};

/**
 * @throws SomaError SAVED_SET_DAMAGED (corrupt), SAVED_SET_UNSUPPORTED (usage); and what rows.ts refuses
 */
export async function loadSavedDataset(folder: string, options: LoadOptions): Promise<Dataset> {
  const warn = options.warn ?? say;
  const dict = await readOptionalJson(join(folder, "dataset_dict.json"));
  const sources: TableSource[] = [];
  if (dict === undefined) {
    sources.push(...(await sourcesOf(folder, undefined, warn)));
  } else {
    for (const name of splitNames(dict, folder)) {
      const split = parseSplit(name);
      if (split === undefined)
        warn(`${folder}: the split "${name}" is left out: it is none of ours`);
      else sources.push(...(await sourcesOf(join(folder, name), split, warn)));
    }
  }
  const rowCount = sources.reduce((sum, { table }) => sum + table.rowCount, 0);
  return datasetOfTables(
    sources,
    folder,
    { path: folder, description: `Hugging Face set of ${rowCount} rows` },
    options,
  );
}

function splitNames(dict: Readonly<Record<string, unknown>>, folder: string): string[] {
  const { splits } = dict;
  if (Array.isArray(splits) && splits.every(isPlainFileName)) return splits;
  throw damaged(join(folder, "dataset_dict.json"), "it does not list the splits");
}

/** The tables of one saved split. @param split undefined: groups are divided by a column or their hash */
async function sourcesOf(
  folder: string,
  split: Split | undefined,
  warn: (sentence: string) => void,
): Promise<TableSource[]> {
  const state = await readJson(join(folder, "state.json"));
  const info = await readJson(join(folder, "dataset_info.json"));
  const indices = state["_indices_data_files"];
  if (Array.isArray(indices) && indices.length > 0) {
    throw new SomaError({
      code: "SAVED_SET_UNSUPPORTED",
      kind: "usage",
      what: `${folder} was saved with a selection of rows beside the data`,
      next: "call flatten_indices() before save_to_disk()",
    });
  }
  const files = dataFiles(state, folder);
  const features = info["features"];
  const classNames = classNamesOf(features);
  const sources: TableSource[] = [];
  let firstRow = 0;
  for (const file of files) {
    const path = join(folder, file);
    if (!existsSync(path)) throw damaged(path, "it is missing");
    const table = { ...(await readArrow(path)), classNames };
    const mapping = mappingOf(table.columns, features);
    if (sources.length === 0) {
      const ignored = describeIgnored(table.columns, mapping);
      if (ignored !== undefined) warn(`${folder}: ${ignored}`);
    }
    const prefix = split ?? "row";
    const offset = firstRow;
    const defaultId = (rowIndex: number): string => `${prefix}/${offset + rowIndex}`;
    sources.push({ table, path, mapping, defaultId, ...(split === undefined ? {} : { split }) });
    firstRow += table.rowCount;
  }
  return sources;
}

function dataFiles(state: Readonly<Record<string, unknown>>, folder: string): string[] {
  const listed = state["_data_files"];
  if (Array.isArray(listed)) {
    const names = listed.map((entry: unknown) => (isRecord(entry) ? entry["filename"] : undefined));
    if (names.length > 0 && names.every(isPlainFileName)) return names;
  }
  throw damaged(join(folder, "state.json"), "it does not name its data files");
}

/** A file of this very folder: no separators, no "..". */
function isPlainFileName(name: unknown): name is string {
  return (
    typeof name === "string" && name === basename(name) && name !== "" && !name.startsWith(".")
  );
}

/** Which column plays which role: by name, then by what the description says, then by a usual name. */
function mappingOf(columns: readonly string[], features: unknown): ColumnMapping {
  const ofType = (type: string): string | undefined =>
    columns.find((column) => {
      const feature = isRecord(features) ? features[column] : undefined;
      return isRecord(feature) && feature["_type"] === type;
    });
  const types: Readonly<Partial<Record<Role, string>>> = { image: "Image", label: "ClassLabel" };
  const mapping: Partial<Record<Role, string>> = {};
  for (const role of ROLES) {
    const type = types[role];
    const column =
      columns.find((name) => name === role) ??
      (type === undefined ? undefined : ofType(type)) ??
      ALIASES[role]?.find((name) => columns.includes(name));
    if (column !== undefined) mapping[role] = column;
  }
  return mapping;
}

async function readOptionalJson(
  path: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(path, "the whole file", "it is not JSON", cause);
  }
  if (!isRecord(value)) throw malformed(path, "the whole file", "it is not a JSON object");
  return value;
}

async function readJson(path: string): Promise<Readonly<Record<string, unknown>>> {
  const value = await readOptionalJson(path);
  if (value === undefined) throw damaged(path, "it is missing");
  return value;
}

function damaged(path: string, why: string): SomaError {
  return new SomaError({
    code: "SAVED_SET_DAMAGED",
    kind: "corrupt",
    what: `${path} is not as save_to_disk writes it: ${why}`,
    next: "save the set again",
  });
}
