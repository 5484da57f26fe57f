/**
 * From the rows of a user's table to examples: the one door through which foreign values come in, so each is
 * checked and narrowed here, and every refusal names the row.
 */
import { basename } from "node:path";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { say } from "../base/terminal.ts";
import { MODALITIES } from "../tokenizers/modality.ts";
import {
  SPLITS,
  type Dataset,
  type Example,
  type ImageSource,
  type LoadOptions,
  type Split,
} from "./dataset.ts";
import { datasetDigest, labelsOf, withImageHashes } from "./digest.ts";
import { resolveFiles, type WantedFile } from "./inside.ts";
import { parseSplit, splitter } from "./split.ts";
import { isRecord, type Table } from "./table.ts";

/** What a column can be. */
export const ROLES = ["id", "group", "split", "text", "image", "label", "variant"] as const;
export type Role = (typeof ROLES)[number];

/** Which column plays which role; a role without a column is missing from every row. */
export type ColumnMapping = Readonly<Partial<Record<Role, string>>>;

/** Characters of an id, a group, a label or a variant at most. */
const NAME_LENGTH_MAX = 1024;
/** Items named in a message about many. */
const NAMED_MAX = 5;
/** Splits of groups in a user's data are drawn with this salt, wherever the file lies. */
const SALT = "user";

/** A row that was checked, its picture not yet looked for on disk. */
interface DraftExample extends Omit<Example, "image" | "split"> {
  readonly split: Split | undefined;
  readonly image?: DraftImage;
  readonly place: string;
}

type DraftImage =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

export interface TableSource {
  readonly table: Table;
  /** The file, for messages. */
  readonly path: string;
  readonly mapping: ColumnMapping;
  /** The split of every row of this table, where the file is one split. */
  readonly split?: Split;
  /** The id of a row of a table without ids. */
  readonly defaultId?: (rowIndex: number) => string;
}

/**
 * The dataset that some tables make together.
 * @param root the folder that every picture must lie in; paths are relative to it
 * @throws SomaError for anything in a row that is not as it must be; see the helpers
 */
export async function datasetOfTables(
  sources: readonly TableSource[],
  root: string,
  described: { readonly path: string; readonly description: string },
  options: LoadOptions,
): Promise<Dataset> {
  const drafts: DraftExample[] = [];
  for (const source of sources) {
    for (const draft of await draftsOf(source)) drafts.push(draft);
  }
  refuseRepeatedIds(drafts, described.path);
  const examples = await withFiles(drafts, root);
  const parted = partedGroups(examples);
  if (parted.length > 0) {
    const what = parted.length === 1 ? "1 group has" : `${parted.length} groups have`;
    (options.warn ?? say)(
      `${described.path}: ${what} rows in more than one split, so test results will be too good: ${firstFew(parted)}`,
    );
  }
  return finishDataset(examples, described, options);
}

/** Examples of the user as a dataset: hashed, digested. @throws SomaError DATASET_EMPTY (usage) */
export async function finishDataset(
  examples: readonly Example[],
  described: { readonly path: string; readonly description: string },
  options: LoadOptions,
): Promise<Dataset> {
  if (examples.length === 0) {
    throw new SomaError({
      code: "DATASET_EMPTY",
      kind: "usage",
      what: `${described.path} holds no examples`,
      next: "give at least one row with a text or a picture",
    });
  }
  const hashed = await withImageHashes(examples, options.progress);
  return {
    name: basename(described.path),
    description: described.description,
    licence: "the user's own data",
    examples: hashed,
    labels: labelsOf(hashed),
    digest: await datasetDigest(hashed),
    trusted: false,
  };
}

/** The split of a user's group where the data does not say. */
export function userSplitter(): (group: string) => Split {
  return splitter(SALT);
}

/** The sentence that names ignored columns and what they may have meant; undefined if none was ignored. */
export function describeIgnored(
  columns: readonly string[],
  mapping: ColumnMapping,
): string | undefined {
  const used = new Set(Object.values(mapping));
  const free = ROLES.filter((role) => mapping[role] === undefined);
  const ignored = columns.filter((column) => !used.has(column));
  if (ignored.length === 0) return undefined;
  const described = ignored.slice(0, 2 * NAMED_MAX).map((column) => {
    const nearest = nearestName(column, free);
    return nearest === undefined ? `"${column}"` : `"${column}" (did you mean "${nearest}"?)`;
  });
  const more = ignored.length > described.length ? " …" : "";
  return `ignored ${ignored.length === 1 ? "column" : "columns"}: ${described.join(", ")}${more}`;
}

async function draftsOf({
  table,
  path,
  mapping,
  split,
  defaultId,
}: TableSource): Promise<DraftExample[]> {
  const column = async (role: Role): Promise<readonly unknown[]> => {
    const name = mapping[role];
    return name === undefined ? [] : table.readColumn(name);
  };
  const ids = await column("id");
  const groups = await column("group");
  const splits = await column("split");
  const texts = await column("text");
  const images = await column("image");
  const labels = await column("label");
  const variants = await column("variant");
  const classNames = table.classNames.get(mapping.label ?? "");

  const drafts: DraftExample[] = [];
  for (let row = 0; row < table.rowCount; row++) {
    const place = `${path}, ${table.place(row)}`;
    const id = toName(ids[row], "id", place) ?? defaultId?.(row);
    if (id === undefined) throw badValue(place, "it has no id");
    const group =
      toName(groups[row], "group", place) ?? (mapping.group === undefined ? id : undefined);
    if (group === undefined) throw badValue(place, `example "${id}" has no group`);
    const text = toText(texts[row], place);
    const image = toImage(images[row], place);
    if (text === undefined && image === undefined) {
      throw badValue(place, `example "${id}" has neither text nor image`);
    }
    const label = toLabel(labels[row], classNames, place);
    const variant = toName(variants[row], "variant", place);
    drafts.push({
      id,
      group,
      split: split ?? toSplit(splits[row], place),
      ...(text === undefined ? {} : { text }),
      ...(image === undefined ? {} : { image }),
      ...(label === undefined ? {} : { label }),
      ...(variant === undefined ? {} : { variant }),
      place,
    });
  }
  return drafts;
}

/** Strings, and numbers as strings; undefined for what is missing or empty. */
function toText(value: unknown, place: string): string | undefined {
  const text = toPlainString(value, "text", place);
  if (text === undefined) return undefined;
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > MODALITIES.text.inputBytesMax) {
    throw badValue(
      place,
      `its text has ${sizeBytes} bytes, the limit is ${MODALITIES.text.inputBytesMax}`,
    );
  }
  return text;
}

/** A short string that goes into messages and files: no control characters. */
function toName(value: unknown, role: Role, place: string): string | undefined {
  const name = toPlainString(value, role, place);
  if (name === undefined) return undefined;
  if (name.length > NAME_LENGTH_MAX) {
    throw badValue(
      place,
      `its ${role} has ${name.length} characters, the limit is ${NAME_LENGTH_MAX}`,
    );
  }
  if (/\p{Cc}/u.test(name)) throw badValue(place, `its ${role} holds control characters`);
  return name;
}

function toPlainString(value: unknown, role: Role, place: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") {
    // A lone surrogate has no UTF-8 form: it would be one string here and another on disk.
    if (/\p{Surrogate}/u.test(value)) throw badValue(place, `its ${role} is not valid Unicode`);
    return value;
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw badValue(place, `its ${role} is ${value}`);
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return value.toString();
  }
  if (value instanceof Uint8Array) return decodeBytes(value, role, place);
  throw badValue(place, `its ${role} is neither a string nor a number`);
}

/** Parquet files of some writers do not mark strings as such. */
function decodeBytes(bytes: Uint8Array, role: Role, place: string): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text === "" ? undefined : text;
  } catch {
    throw badValue(place, `its ${role} is not UTF-8`);
  }
}

function toLabel(
  value: unknown,
  classNames: readonly string[] | undefined,
  place: string,
): string | undefined {
  if (classNames === undefined || (typeof value !== "number" && typeof value !== "bigint")) {
    return toName(value, "label", place);
  }
  const index = Number(value);
  if (index === -1) return undefined; // Hugging Face's mark of an unlabelled row
  const name = classNames[index];
  if (name === undefined) throw badValue(place, `its label ${index} has no name`);
  return name;
}

function toSplit(value: unknown, place: string): Split | undefined {
  const name = toName(value, "split", place);
  if (name === undefined) return undefined;
  const split = parseSplit(name);
  if (split !== undefined) return split;
  const nearest = nearestName(name, SPLITS);
  throw badValue(
    place,
    `there is no split "${name}"${nearest === undefined ? "" : ` (did you mean "${nearest}"?)`}`,
    `use ${SPLITS.join(", ")}`,
  );
}

/** A path, a data: URL, bytes, or Hugging Face's `{"bytes": …, "path": …}`. */
function toImage(value: unknown, place: string): DraftImage | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") {
    if (value.startsWith("data:")) return { kind: "bytes", bytes: dataUrlBytes(value, place) };
    return { kind: "path", path: checkedPath(value, place) };
  }
  if (value instanceof Uint8Array) return imageBytes(value, place);
  if (isRecord(value)) {
    const { bytes, path } = value;
    if (bytes instanceof Uint8Array) return imageBytes(bytes, place);
    if (typeof bytes === "string") return imageBytes(base64Bytes(bytes, place), place);
    if (bytes === undefined || bytes === null) {
      if (typeof path === "string" && path !== "") {
        return { kind: "path", path: checkedPath(path, place) };
      }
      if (path === undefined || path === null) return undefined;
    }
  }
  throw badValue(place, "its image is neither a path nor bytes");
}

function imageBytes(bytes: Uint8Array, place: string): DraftImage {
  if (bytes.length === 0) throw badValue(place, "its image has no bytes");
  return { kind: "bytes", bytes };
}

function dataUrlBytes(url: string, place: string): Uint8Array {
  const comma = url.indexOf(",");
  if (comma < 0 || !/^data:[^,]*;base64$/i.test(url.slice(0, comma))) {
    throw badValue(place, "its image is a data: URL without base64 content");
  }
  const bytes = base64Bytes(url.slice(comma + 1), place);
  if (bytes.length === 0) throw badValue(place, "its image has no bytes");
  return bytes;
}

function base64Bytes(text: string, place: string): Uint8Array {
  // Buffer skips what is not base64; a picture cut short in that way would look merely corrupt.
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw badValue(place, "its image is not base64");
  }
  return Buffer.from(text, "base64");
}

function checkedPath(path: string, place: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    throw new SomaError({
      code: "IMAGE_URL_REFUSED",
      kind: "refused",
      what: `${place}: its image is a URL, and nothing is fetched`,
      next: "download the pictures and give their paths",
    });
  }
  if (path.includes("\0")) throw badValue(place, "its image path holds a zero byte");
  return path;
}

/** @throws SomaError DUPLICATE_ID (usage) naming the first few */
function refuseRepeatedIds(drafts: readonly DraftExample[], path: string): void {
  const first = new Map<string, string>();
  const repeated: string[] = [];
  for (const { id, place } of drafts) {
    const before = first.get(id);
    if (before === undefined) first.set(id, place);
    else repeated.push(`"${id}" (${before}; ${place})`);
  }
  if (repeated.length === 0) return;
  throw new SomaError({
    code: "DUPLICATE_ID",
    kind: "usage",
    what: `${path} gives ${repeated.length} ${repeated.length === 1 ? "id" : "ids"} more than once: ${firstFew(repeated)}`,
    next: "give every row its own id; rows that belong together share their group",
  });
}

/** Groups that lie in more than one split: what is learnt from their training rows helps on their test rows. */
function partedGroups(examples: readonly Example[]): string[] {
  const splits = new Map<string, Split>();
  const parted = new Set<string>();
  for (const { group, split } of examples) {
    if ((splits.get(group) ?? split) !== split) parted.add(group);
    splits.set(group, split);
  }
  return [...parted];
}

/** The drafts with their files found and their splits filled in. */
async function withFiles(drafts: readonly DraftExample[], root: string): Promise<Example[]> {
  const wanted: WantedFile[] = [];
  for (const { image, place } of drafts) {
    if (image?.kind === "path") wanted.push({ path: image.path, place });
  }
  const files = await resolveFiles(root, wanted);
  const split = userSplitter();
  return drafts.map(({ place: _place, image, ...draft }) => {
    const example = { ...draft, split: draft.split ?? split(draft.group) };
    const source = imageSource(image, files);
    return source === undefined ? example : { ...example, image: source };
  });
}

function imageSource(
  image: DraftImage | undefined,
  files: ReadonlyMap<string, string>,
): ImageSource | undefined {
  if (image === undefined || image.kind === "bytes") return image;
  const path = files.get(image.path);
  return path === undefined ? undefined : { kind: "file", path };
}

export function firstFew(items: readonly string[]): string {
  const more = items.length > NAMED_MAX ? `; and ${items.length - NAMED_MAX} more` : "";
  return items.slice(0, NAMED_MAX).join("; ") + more;
}

function badValue(place: string, what: string, next = "correct the row and run again"): SomaError {
  return new SomaError({ code: "BAD_ROW", kind: "usage", what: `${place}: ${what}`, next });
}
