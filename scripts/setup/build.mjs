// The program in dist/: what tsc makes of the sources, and the other files that stand beside them (models, pages).
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { readJson, ROOT, run, step, writeWhole } from "./tools.mjs";

const DIST = join(ROOT, "dist");
const STAMP = join(DIST, ".soma-build.json");
const LINK = join(ROOT, "node_modules", ".bin", "soma");
/** Folders of the house: docs, tests and scripts are no part of the program. */
const WINGS = ["base", "bench", "datasets", "models", "node", "protocol", "tokenizers", "training"];

/** Paths of all files of the program, relative to ROOT, sorted. */
function sources() {
  const found = ["cli.ts"].filter((name) => existsSync(join(ROOT, name)));
  for (const wing of WINGS) {
    if (!existsSync(join(ROOT, wing))) continue;
    for (const entry of readdirSync(join(ROOT, wing), { withFileTypes: true, recursive: true })) {
      const folder = entry.parentPath ?? entry.path;
      if (entry.isFile()) found.push(join(folder, entry.name).slice(ROOT.length + 1));
    }
  }
  return found.sort();
}

/** Digest over all sources and what steers their compilation. */
function sourcesDigest(files) {
  const hash = createHash("sha256");
  for (const name of [...files, "tsconfig.json", "tsconfig.build.json", "package-lock.json"]) {
    hash
      .update(`${name}\0`)
      .update(readFileSync(join(ROOT, name)))
      .update("\0");
  }
  return hash.digest("hex");
}

export function buildReady() {
  return (
    readJson(STAMP)?.sources === sourcesDigest(sources()) &&
    statSync(LINK, { throwIfNoEntry: false }) !== undefined
  );
}

/** @throws Error when the sources do not compile: there is no program then */
export async function build() {
  await step("compiling the program", async () => {
    const files = sources();
    const digest = sourcesDigest(files);
    // tsc's memory of what it wrote is worth nothing once dist/ is gone.
    if (!existsSync(STAMP))
      rmSync(join(ROOT, "node_modules", ".cache", "tsc", "build.tsbuildinfo"), { force: true });
    rmSync(STAMP, { force: true });
    const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    const { code, output } = await run(process.execPath, [tsc, "-p", "tsconfig.build.json"]);
    if (code !== 0) throw new Error(`the sources do not compile:\n${output.trim()}`);
    copyOtherFiles(files);
    removeLeftovers(new Set(files));
    linkProgram();
    writeWhole(STAMP, JSON.stringify({ sources: digest }));
  });
}

function copyOtherFiles(files) {
  for (const name of files) {
    if (name.endsWith(".ts")) continue;
    mkdirSync(dirname(join(DIST, name)), { recursive: true });
    copyFileSync(join(ROOT, name), join(DIST, name));
  }
}

/** Outputs of sources that are gone would still be imported, and tests of the program would pass on them. */
function removeLeftovers(files) {
  for (const entry of readdirSync(DIST, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const name = path.slice(DIST.length + 1);
    const source = name.replace(/\.(js|js\.map|d\.ts)$/, ".ts");
    if (!files.has(name) && !files.has(source)) rmSync(path);
  }
}

/** dist/cli.js made executable, and found by `npx soma`. */
function linkProgram() {
  const program = join(DIST, "cli.js");
  if (!existsSync(program)) return;
  chmodSync(program, 0o755);
  mkdirSync(dirname(LINK), { recursive: true });
  rmSync(LINK, { force: true });
  symlinkSync(join("..", "..", "dist", "cli.js"), LINK);
}
