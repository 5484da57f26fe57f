/** Data sets that come as npm packages: pinned in the lockfile, so their bytes are the same everywhere. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";

const require = createRequire(import.meta.url);

/** The folder of an installed package. @throws SomaError PACKAGE_MISSING (notFound) */
export function packageFolder(name: string): string {
  // Not require.resolve: packages of data have no main file, and some hide package.json by "exports".
  for (const root of require.resolve.paths(name) ?? []) {
    const folder = join(root, name);
    if (existsSync(join(folder, "package.json"))) return folder;
  }
  throw new SomaError({
    code: "PACKAGE_MISSING",
    kind: "notFound",
    what: `the data package ${name} is not installed`,
    next: "run `npm ci` in the clone",
  });
}

/** The installed version of a package. @throws SomaError PACKAGE_MISSING (notFound) */
export function packageVersion(name: string): string {
  const path = join(packageFolder(name), "package.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}
