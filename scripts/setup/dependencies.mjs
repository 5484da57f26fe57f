// The npm packages of package-lock.json, installed with scripts off (.npmrc).
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { ROOT, readJson, run, sha256, step, writeWhole } from "./tools.mjs";

const STAMP = join(ROOT, "node_modules", ".soma-packages.json");

function lockDigest() {
  return sha256(readFileSync(join(ROOT, "package-lock.json")));
}

/** True when node_modules holds what package-lock.json says. */
export function dependenciesReady() {
  if (readJson(STAMP)?.lock === lockDigest()) return true;
  if (!installedByHand()) return false;
  writeWhole(STAMP, JSON.stringify({ lock: lockDigest() }));
  return true;
}

/** True when the user's own `npm ci` or `npm install` left the same packages: npm writes its hidden lock file last. */
function installedByHand() {
  const installed = readJson(join(ROOT, "node_modules", ".package-lock.json"))?.packages;
  const wanted = readJson(join(ROOT, "package-lock.json"))?.packages;
  if (installed === undefined || wanted === undefined) return false;
  return Object.entries(wanted).every(
    ([path, entry]) =>
      path === "" ||
      installed[path]?.version === entry.version ||
      (installed[path] === undefined && entry.optional === true),
  );
}

/** @throws Error when npm fails: nothing works without the packages */
export async function installDependencies() {
  await step("installing npm packages", async () => {
    const npm = process.platform === "win32" ? "npm.cmd" : "npm";
    const { code, output } = await run(npm, ["ci", "--no-progress", "--loglevel=error"]);
    if (code !== 0) throw new Error(`npm ci failed:\n${output.trim()}`);
    writeWhole(STAMP, JSON.stringify({ lock: lockDigest() }));
  });
}
