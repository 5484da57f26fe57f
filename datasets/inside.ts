/**
 * Files that a manifest names: each must exist and lie inside the manifest's own folder, whatever the path or
 * its symbolic links say. A manifest is data from somebody else; it must not read the user's other files.
 */
import { realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { SomaError } from "../base/errors.ts";

const LOOKUPS_AT_ONCE = 16;
const NAMED_MAX = 5;

export interface WantedFile {
  /** As written in the manifest. */
  readonly path: string;
  /** Where it is written, for messages. */
  readonly place: string;
}

/**
 * Path as written → real path, for every wanted file.
 * @throws SomaError PATH_OUTSIDE (refused) for the first that leaves the folder, by `..`, as an absolute path or
 *         through a link; FILES_MISSING (notFound) with their number and the first five
 */
export async function resolveFiles(
  folder: string,
  wanted: readonly WantedFile[],
): Promise<Map<string, string>> {
  for (const file of wanted) {
    if (isAbsolute(file.path) || leaves(join(".", file.path))) throw outside(file, folder);
  }
  const root = await realpath(folder);
  const found = new Map<string, string>();
  const missing: WantedFile[] = [];
  const distinct = [...new Map(wanted.map((file) => [file.path, file])).values()];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let file = distinct[next++]; file !== undefined; file = distinct[next++]) {
      const real = await realFile(join(root, file.path));
      if (real === undefined) missing.push(file);
      else if (leaves(relative(root, real))) throw outside(file, folder);
      else found.set(file.path, real);
    }
  };
  await Promise.all(Array.from({ length: LOOKUPS_AT_ONCE }, work));
  if (missing.length > 0) throw filesMissing(missing, wanted);
  return found;
}

/** Does a normalised relative path lead out of its folder? */
function leaves(path: string): boolean {
  return path === ".." || path.startsWith(`..${sep}`) || isAbsolute(path);
}

/** The path without links, or undefined if there is no such file. */
async function realFile(path: string): Promise<string | undefined> {
  try {
    const real = await realpath(path);
    return (await stat(real)).isFile() ? real : undefined;
  } catch {
    return undefined;
  }
}

function outside({ path, place }: WantedFile, folder: string): SomaError {
  return new SomaError({
    code: "PATH_OUTSIDE",
    kind: "refused",
    what: `${place}: the path "${path}" leads out of ${folder}`,
    next: "move the file into that folder and give its path relative to it",
  });
}

function filesMissing(missing: readonly WantedFile[], wanted: readonly WantedFile[]): SomaError {
  // The lookups end in any order: name them in the order of the manifest.
  const paths = new Set(missing.map(({ path }) => path));
  const ordered = wanted.filter(({ path }) => paths.delete(path));
  const named = ordered.slice(0, NAMED_MAX).map(({ path, place }) => `${path} (${place})`);
  const more = ordered.length > NAMED_MAX ? `; and ${ordered.length - NAMED_MAX} more` : "";
  return new SomaError({
    code: "FILES_MISSING",
    kind: "notFound",
    what: `${ordered.length} ${ordered.length === 1 ? "picture is" : "pictures are"} missing: ${named.join("; ")}${more}`,
    next: "paths are relative to the manifest's folder; correct them or add the files",
  });
}
