/**
 * From the rows of a user's tables to a dataset. Single values are checked in values.ts, files in inside.ts; what
 * concerns rows together is here: ids that repeat, groups that are parted, splits that are not given.
 */
import { basename } from "node:path";
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { say } from "../base/terminal.ts";
import {
  type Dataset,
  type Example,
  type ImageSource,
  type LoadOptions,
  type Split,
} from "./dataset.ts";
import { datasetDigest, labelsOf, withImageHashes } from "./digest.ts";
import { resolveFiles, type WantedFile } from "./inside.ts";
import { splitter } from "./split.ts";
import type { Table } from "./table.ts";
import {
  badValue,
  ROLES,
  toImage,
  toLabel,
  toName,
  toSplit,
  toText,
  type DraftImage,
  type Role,
} from "./values.ts";

/** Which column plays which role; a role without a column is missing from every row. */
export type ColumnMapping = Readonly<Partial<Record<Role, string>>>;

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
