// What the steps of set-up share: running programs, digests, files that appear whole or not at all, locks, messages.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  accessSync,
  constants,
  createReadStream,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A part could not be set up. The program works without it: `reason` and `remedy` are told in one line. */
export class PartMissing extends Error {
  constructor(reason, remedy) {
    super(`${reason}; ${remedy}`);
    this.reason = reason;
    this.remedy = remedy;
  }
}

/** Where downloads and compiled libraries are kept, shared by all clones. The twin of cacheDirectory() in base/files.ts. */
export function cacheDirectory() {
  if (process.env.SOMA_CACHE) return process.env.SOMA_CACHE;
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "soma");
}

/** A line for the person at the terminal. */
export function say(line) {
  process.stderr.write(`set-up: ${line}\n`);
}

/** The lines of `work` around a step: what begins, and how long it took. */
export async function step(title, work) {
  const startedMs = performance.now();
  say(`${title} …`);
  const result = await work();
  say(`${title}: done in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return result;
}

/** Path of the first of `names` that the PATH holds, or undefined. Starts no process. */
export function findProgram(...names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        if (statSync(path).isFile()) return path;
      } catch {
        // not in this folder
      }
    }
  }
  return undefined;
}

/** Run a program to its end. @returns {{ code, output }} the exit code (128 + signal if killed) and both streams together */
export function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      ...options,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const collect = (chunk) => {
      // The end of a long log is what says why it failed.
      output = (output + chunk).slice(-100_000);
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", (error) => resolve({ code: 127, output: error.message }));
    child.on("close", (code, signal) =>
      resolve({ code: code ?? 128, output: signal ? `${output}\nended by ${signal}` : output }),
    );
  });
}

/** The line of a program's output that says most about its failure. */
export function tellingLine(output) {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  return (lines.find((line) => /\berror\b/i.test(line)) ?? lines.at(-1) ?? "no message")
    .trim()
    .slice(0, 300);
}

export function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}

/** SHA-256 of a file of any size, or undefined if it cannot be read. */
export function sha256File(path) {
  return new Promise((resolve) => {
    const hash = createHash("sha256");
    createReadStream(path, { highWaterMark: 1 << 20 })
      .on("data", (chunk) => hash.update(chunk))
      .on("error", () => resolve(undefined))
      .on("end", () => resolve(hash.digest("hex")));
  });
}

/** The JSON in a file, or undefined if it is missing or torn. */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** Write a file so that a reader sees the old content or the new, never half of it. */
export function writeWhole(path, data) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    writeFileSync(temporary, data, { flush: true });
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

const LOCK_BEAT_MS = 2_000;
const LOCK_STALE_MS = 20_000;

/**
 * Run `work` while holding the lock file at `path`, so that two set-ups do not do the same work at once. The holder
 * touches the file; one not touched for 20 s was left by a killed process and is taken over. Locks only save work:
 * every result appears by a rename, so two holders would still leave a sound state.
 */
export async function withLock(path, what, work) {
  mkdirSync(dirname(path), { recursive: true });
  let waiting = false;
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (ageMs(path) > LOCK_STALE_MS) {
      rmSync(path, { force: true });
      continue;
    }
    if (!waiting) say(`another set-up is at work on ${what}; waiting for it …`);
    waiting = true;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const beat = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date());
    } catch {
      // taken over or removed: see above, nothing is lost
    }
  }, LOCK_BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    rmSync(path, { force: true });
  }
}

function ageMs(path) {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0; // released in this moment
  }
}

/** The installed package's version. */
export function packageVersion(name) {
  return readJson(join(ROOT, "node_modules", name, "package.json"))?.version ?? "none";
}
