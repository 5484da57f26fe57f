/**
 * A folder of pictures, laid out as torchvision's ImageFolder and Hugging Face's imagefolder have it:
 *
 *   folder/CLASS/name.png          label = CLASS
 *   folder/SPLIT/CLASS/name.png    also the split, where every folder at the top is named after one
 *   folder/name.png                no label
 *
 * Files of one folder that share a stem are one group (name.png, name.webp: positives of each other); a
 * name.txt beside name.png is its caption. Otherwise every picture is a group of its own: use a manifest to say
 * which belong together. Hidden files and other kinds of files are passed over.
 */
import { readFile, readdir, realpath } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import { say } from "../base/terminal.ts";
import { MODALITIES } from "../tokenizers/modality.ts";
import { SomaError } from "../base/errors.ts";
import type { Dataset, Example, LoadOptions, Split } from "./dataset.ts";
import { resolveFiles } from "./inside.ts";
import { finishDataset, userSplitter } from "./rows.ts";
import { parseSplit } from "./split.ts";
import { checkRowCount } from "./table.ts";

const IMAGE_EXTENSIONS: readonly string[] = [".png", ".jpg", ".jpeg", ".webp"];
const CAPTION_EXTENSION = ".txt";
/** Folders inside folders at most. */
const DEPTH_MAX = 8;

/** @throws SomaError PATH_OUTSIDE (refused) for a link out of the folder, DATASET_EMPTY (usage), CAPTION_BAD (usage) */
export async function loadImageFolder(folder: string, options: LoadOptions): Promise<Dataset> {
  const root = await realpath(folder);
  const { files, otherCount } = await findFiles(root);
  if (otherCount > 0) {
    const kinds = [...IMAGE_EXTENSIONS, CAPTION_EXTENSION].join(", ");
    const what = otherCount === 1 ? "1 file was" : `${otherCount} files were`;
    (options.warn ?? say)(`${folder}: ${what} passed over (read are ${kinds})`);
  }
  const pictures = files.filter((file) => kindOf(file) === "picture");
  const stems = new Set(pictures.map(stemOf));
  const used = files.filter((file) => kindOf(file) === "picture" || stems.has(stemOf(file)));
  const paths = await resolveFiles(
    root,
    used.map((path) => ({ path, place: folder })),
  );
  const splitOfTop = splitFolders(pictures);
  const split = userSplitter();

  const examples: Example[] = [];
  for (const file of used) {
    const path = paths.get(file);
    if (path === undefined) continue;
    const parts = file.split(sep);
    const ownSplit = splitOfTop.get(parts[0] ?? "");
    const folders = parts.slice(ownSplit === undefined ? 0 : 1, -1);
    const [label] = folders;
    const id = parts.join("/");
    const group = stemOf(id); // with its folders: cat/001.png and dog/001.png have nothing in common
    const shared = {
      id,
      group,
      split: ownSplit ?? split(group),
      ...(label === undefined ? {} : { label }),
    };
    if (kindOf(file) === "picture") examples.push({ ...shared, image: { kind: "file", path } });
    else examples.push({ ...shared, text: await readCaption(path), variant: "caption" });
  }
  return finishDataset(
    examples,
    { path: folder, description: `folder of ${pictures.length} pictures` },
    options,
  );
}

/** Paths relative to the root, ascending; hidden ones left out. */
async function findFiles(root: string): Promise<{ files: string[]; otherCount: number }> {
  const files: string[] = [];
  let otherCount = 0;
  const visit = async (folder: string, depth: number): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (depth < DEPTH_MAX) await visit(path, depth + 1);
        else otherCount++;
      } else if (kindOf(path) === undefined) {
        otherCount++;
      } else {
        files.push(relative(root, path)); // links too: resolveFiles looks where they lead
        checkRowCount(root, files.length);
      }
    }
  };
  await visit(root, 1);
  return { files: files.sort(), otherCount };
}

/** Top folder → split, if every picture lies in a folder named after a split; else empty. */
function splitFolders(pictures: readonly string[]): ReadonlyMap<string, Split> {
  const splits = new Map<string, Split>();
  for (const picture of pictures) {
    const [top, ...rest] = picture.split(sep);
    const split = top === undefined ? undefined : parseSplit(top);
    if (top === undefined || split === undefined || rest.length === 0) return new Map();
    splits.set(top, split);
  }
  return splits;
}

function kindOf(file: string): "picture" | "caption" | undefined {
  const extension = extname(file).toLowerCase();
  if (IMAGE_EXTENSIONS.includes(extension)) return "picture";
  return extension === CAPTION_EXTENSION ? "caption" : undefined;
}

function stemOf(file: string): string {
  return file.slice(0, file.length - extname(file).length);
}

async function readCaption(path: string): Promise<string> {
  const bytes = await readFile(path);
  const why = captionFault(bytes);
  if (why === undefined) return new TextDecoder().decode(bytes).trim();
  throw new SomaError({
    code: "CAPTION_BAD",
    kind: "usage",
    what: `the caption ${path} ${why}`,
    next: "correct or remove it",
  });
}

function captionFault(bytes: Uint8Array): string | undefined {
  if (bytes.length > MODALITIES.text.inputBytesMax) return `has ${bytes.length} bytes`;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.trim() === "" ? "is empty" : undefined;
  } catch {
    return "is not UTF-8";
  }
}
