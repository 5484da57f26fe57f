/**
 * The emoji set: one concept per emoji, three independent drawings of it (Twemoji, OpenMoji, Fluent 3D) and
 * its name and tags in 28 languages. A real image–image and image–text set from four pinned npm packages.
 * Without skin-tone variants and without the component group (tones, hair styles).
 * Twenty concepts share a drawing with another one, byte for byte ("farmer" and "man farmer" in OpenMoji, the
 * flags of Monaco and Indonesia): those go into one split, so that no drawing of a test concept is trained on.
 * No cache: the join of all packages takes about half a second (bench/RESULTS.md).
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { present, SomaError } from "../base/errors.ts";
import type { Dataset, Example } from "./dataset.ts";
import { contentHash, datasetDigest, labelsOf } from "./digest.ts";
import { packageFolder } from "./packages.ts";
import { joinedKeys, splitter } from "./split.ts";

/** The three drawings, by variant name: the package and the folder in it that holds one file per emoji. */
const DRAWINGS = [
  { variant: "twemoji", package: "@twemoji/svg", folder: "", extension: ".svg" },
  { variant: "openmoji", package: "openmoji", folder: "color/svg", extension: ".svg" },
  { variant: "fluent", package: "@lobehub/fluent-emoji-3d", folder: "assets", extension: ".webp" },
] as const;

/** Tones and hair styles: parts of emoji, not concepts. */
const COMPONENT_GROUP = "component";

/** What we read of a row of emojibase's compact.json. */
interface EmojibaseRow {
  readonly hexcode: string;
  readonly label: string;
  readonly group?: number;
  readonly order?: number;
  readonly tags?: readonly string[];
}

/** An emoji that has all three drawings. */
interface Concept {
  readonly hexcode: string;
  /** Group key, e.g. "animals-nature". */
  readonly label: string;
  readonly drawings: readonly {
    readonly variant: string;
    readonly path: string;
    readonly sha256: string;
  }[];
}

export async function loadEmoji(): Promise<Dataset> {
  const base = packageFolder("emojibase-data");
  const locales = localesOf(base);
  const names = new Map<string, Map<string, EmojibaseRow>>();
  for (const locale of locales) {
    const rows = await readJson<EmojibaseRow[]>(join(base, locale, "compact.json"));
    names.set(locale, new Map(rows.map((row) => [row.hexcode, row])));
  }
  const concepts = joinConcepts([...(names.get("en")?.values() ?? [])], await readGroupNames(base));
  const splitKeys = joinedKeys(
    concepts.flatMap(({ hexcode, drawings }) =>
      drawings.map(({ sha256 }) => ({ key: hexcode, shared: sha256 })),
    ),
  );
  const split = splitter("emoji");

  const examples: Example[] = [];
  for (const { hexcode: group, label, drawings } of concepts) {
    const shared = { group, split: split(splitKeys.get(group) ?? group), label };
    for (const { variant, path, sha256 } of drawings) {
      const image = { kind: "file", path, sha256 } as const;
      examples.push({ id: `${group}/${variant}`, ...shared, image, variant });
    }
    for (const locale of locales) {
      const row = names.get(locale)?.get(group);
      if (row === undefined) continue;
      examples.push({ id: `${group}/${locale}`, ...shared, text: row.label, variant: locale });
      const text = nameAndTags(row);
      if (text === undefined) continue;
      const variant = `${locale}-tags`;
      examples.push({ id: `${group}/${variant}`, ...shared, text, variant });
    }
  }
  return {
    name: "emoji",
    description:
      "emoji concepts, each with three independent drawings and its name and tags in 28 languages",
    licence:
      "names MIT (emojibase-data); drawings CC-BY-4.0 (Twemoji), CC-BY-SA-4.0 (OpenMoji), MIT (Fluent Emoji); see CREDITS.md",
    examples,
    labels: labelsOf(examples),
    digest: await datasetDigest(examples),
    trusted: true,
  };
}

/** The emoji of emojibase that all three packages draw, in emojibase's order. */
function joinConcepts(
  rows: readonly EmojibaseRow[],
  groupNames: ReadonlyMap<number, string>,
): Concept[] {
  const files = DRAWINGS.map((drawing) =>
    drawingFiles(join(packageFolder(drawing.package), drawing.folder), drawing.extension),
  );
  const concepts: Concept[] = [];
  for (const row of [...rows].sort((a, b) => (a.order ?? 0) - (b.order ?? 0))) {
    const label = row.group === undefined ? undefined : groupNames.get(row.group);
    if (label === undefined || label === COMPONENT_GROUP) continue; // also the lone regional letters
    const key = sequenceKey(row.hexcode);
    const paths = files.map((drawn) => drawn.get(key)).filter((path) => path !== undefined);
    if (paths.length < DRAWINGS.length) continue;
    const drawings = DRAWINGS.map(({ variant }, index) => {
      const path = present(paths[index], "a path for each drawing");
      // Read synchronously: thousands of small files, and a promise each would cost more than the reading.
      return { variant, path, sha256: contentHash(readFileSync(path)) };
    });
    concepts.push({ hexcode: row.hexcode, label, drawings });
  }
  return concepts;
}

/** Group number → its key, e.g. 0 → "smileys-emotion". */
async function readGroupNames(base: string): Promise<Map<number, string>> {
  const messages = await readJson<{ groups: { key: string; order: number }[] }>(
    join(base, "en", "messages.json"),
  );
  return new Map(messages.groups.map(({ key, order }) => [order, key]));
}

/** The locales with names for every emoji, English first, then ascending. */
function localesOf(base: string): string[] {
  const locales = readdirSync(base)
    .filter((name) => existsSync(join(base, name, "compact.json")))
    .sort();
  return ["en", ...locales.filter((locale) => locale !== "en")];
}

/** The drawings of a folder: code point sequence → path. */
function drawingFiles(folder: string, extension: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith(extension)) continue;
    files.set(sequenceKey(name.slice(0, -extension.length)), join(folder, name));
  }
  return files;
}

/**
 * One spelling for a code point sequence: the packages differ in case, in leading zeros (Twemoji writes
 * "23-20e3" for the keycap) and in whether they write the presentation selector FE0F.
 */
export function sequenceKey(hexcode: string): string {
  return hexcode
    .split("-")
    .map((point) => Number.parseInt(point, 16))
    .filter((point) => point !== 0xfe0f)
    .map((point) => point.toString(16))
    .join("-");
}

/** "waving hand: bye, hello, wave": the name and those tags that do not repeat it; undefined without any. */
function nameAndTags(row: EmojibaseRow): string | undefined {
  const name = row.label.toLowerCase();
  const tags = (row.tags ?? []).filter((tag) => tag.toLowerCase() !== name);
  return tags.length === 0 ? undefined : `${row.label}: ${tags.join(", ")}`;
}

async function readJson<T>(path: string): Promise<T> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch (cause) {
    throw new SomaError(
      {
        code: "PACKAGE_DAMAGED",
        kind: "corrupt",
        what: `cannot read ${path}`,
        next: "run `npm ci` in the clone to install the packages again",
      },
      { cause },
    );
  }
}
