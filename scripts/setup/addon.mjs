// Native addons: compiled by one call of the C++ compiler, kept in the cache, so that a second clone only copies them.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  cacheDirectory,
  findProgram,
  PartMissing,
  readJson,
  ROOT,
  run,
  sha256,
  sha256File,
  tellingLine,
  withLock,
  writeWhole,
} from "./tools.mjs";

/** The C++ compiler's path. @throws PartMissing if there is none */
export function compiler() {
  const path = findProgram(...(process.env.CXX ? [process.env.CXX] : []), "g++", "clang++", "c++");
  if (path === undefined) {
    throw new PartMissing(
      "there is no C++ compiler (g++)",
      "install g++ (Debian: apt-get install g++)",
    );
  }
  return path;
}

let versionAsked;
function compilerVersion(path) {
  versionAsked ??= run(path, ["--version"]).then(({ output }) => output.split("\n")[0]);
  return versionAsked;
}

/**
 * Compile one addon, or take it from the cache, to `target`.
 * @param {object} addon
 * @param {string} addon.name       of the file in the cache
 * @param {string[]} addon.sources  absolute paths, hashed into the cache's key and compiled
 * @param {string[]} [addon.headers]  absolute paths, hashed into the key
 * @param {string[]} [addon.flags]  for the compiler, hashed as well; paths below ROOT must go to `includes`
 * @param {string[]} [addon.includes]  folders of headers
 * @param {string} addon.keyParts   what else the result depends on: versions of packages and libraries
 * @param {string} target           absolute path of the .node file
 * @returns {Promise<string>} SHA-256 of the file at `target`
 * @throws PartMissing when there is no compiler or it fails
 */
export async function buildAddon(addon, target) {
  const program = compiler();
  const hash = [
    addon.keyParts,
    await compilerVersion(program),
    `${process.platform}-${process.arch}`,
    ...(addon.flags ?? []),
    ...[...addon.sources, ...(addon.headers ?? [])].map((path) => sha256(readFileSync(path))),
  ].join("\n");
  const kept = join(cacheDirectory(), "addons", `${addon.name}-${sha256(hash).slice(0, 20)}.node`);
  await withLock(`${kept}.lock`, addon.name, async () => {
    if (await isSound(kept)) return;
    const made = `${kept}.${process.pid}.tmp`;
    const { code, output } = await run(program, [
      "-std=c++17",
      "-fPIC",
      "-shared",
      "-DNAPI_VERSION=8",
      `-I${join(ROOT, "node_modules", "node-api-headers", "include")}`,
      ...(addon.includes ?? []).map((folder) => `-I${folder}`),
      ...addon.sources,
      ...(addon.flags ?? []),
      "-o",
      made,
    ]);
    if (code !== 0) {
      rmSync(made, { force: true });
      throw new PartMissing(
        `${addon.name} does not compile (${tellingLine(output)})`,
        "check the C++ compiler and its standard library, then run `npm run setup`",
      );
    }
    writeWhole(kept, readFileSync(made));
    rmSync(made, { force: true });
    writeWhole(`${kept}.json`, JSON.stringify({ sha256: await sha256File(kept) }));
  });
  mkdirSync(dirname(target), { recursive: true });
  // A process that has the old file loaded keeps it: a new file is renamed into place, never written over.
  writeWhole(target, readFileSync(kept));
  return sha256File(target);
}

async function isSound(kept) {
  const recorded = readJson(`${kept}.json`)?.sha256;
  return recorded !== undefined && recorded === (await sha256File(kept));
}
