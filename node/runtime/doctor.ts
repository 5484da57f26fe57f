/**
 * What this machine has of all that Soma can use, what each missing part costs, and how to have it.
 * Looks only; changes nothing. Everything is asked through a `Machine`, so that tests can describe one.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { access, constants, statfs } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { cacheDirectory } from "../../base/files.ts";
import type { BackendInfo } from "../../models/backend.ts";

/** "slower": it works by another way. "missing": what needs it does not work; everything else does. "broken": nothing works. */
export type PartState = "ok" | "slower" | "missing" | "broken";

export interface Part {
  readonly name: string;
  readonly state: PartState;
  /** What was found, e.g. "TensorFlow 2.21.0, 2 threads, 168 GFLOP/s". */
  readonly detail: string;
  /** What its absence costs; only where the state is not "ok". */
  readonly cost?: string;
  readonly remedy?: string;
}

export interface MeasuredBackend extends BackendInfo {
  readonly gflops: number;
  /** Of our own kernels (native/), those in force. */
  readonly kernelCount: number;
}

export interface Diagnosis {
  /** False when the program cannot work here at all. */
  readonly ok: boolean;
  readonly backend: MeasuredBackend;
  readonly parts: readonly Part[];
}

/** What the doctor asks of the world. */
export interface Machine {
  readonly nodeVersion: string;
  /** First line that the program prints, or undefined if it is not found or fails. */
  ask(program: string, args: readonly string[]): Promise<string | undefined>;
  backend(): Promise<MeasuredBackend>;
  /** What answers, or why nothing does. */
  hnsw(): Promise<Found>;
  images(): Promise<Found>;
  freeBytes(folder: string): Promise<number | undefined>;
  readonly cacheFolder: string;
  readonly workFolder: string;
}

export type Found =
  | { readonly kind: "found"; readonly detail: string }
  | { readonly kind: "absent"; readonly reason: string };

const NODE_NEEDED = { major: 20, minor: 19 };
/** TensorFlow takes 0.9 GB in the cache and 1.4 while it is unpacked; a data set and its pictures up to 0.2. */
const FREE_BYTES_WANTED = 2e9;

/** Examine `machine`. @returns the parts in the order a person should read them */
export async function diagnose(machine: Machine): Promise<Diagnosis> {
  const backend = await machine.backend();
  const parts = [
    nodePart(machine.nodeVersion),
    backendPart(backend),
    kernelsPart(backend),
    foundPart("neighbour index", await machine.hnsw(), {
      state: "slower",
      cost: "neighbours are searched one by one: the same answers, slow above 20,000 vectors",
      remedy: "install g++ and run `npm run setup`",
    }),
    foundPart("pictures", await machine.images(), {
      state: "broken",
      cost: "no picture can be read",
      remedy: "run `npm ci` on this machine: the library has a binary for each platform",
    }),
    await programPart(machine, "ffmpeg", ["-version"], {
      cost: "no video; text and pictures do not need it",
      remedy: "install ffmpeg (Debian: apt-get install ffmpeg)",
    }),
    await programPart(machine, "python3", ["-m", "pip", "--version"], {
      cost: "set-up cannot bring the native TensorFlow; what it brought before stays",
      remedy: "install python3 with pip (Debian: apt-get install python3-pip)",
    }),
    await programPart(machine, "g++", ["--version"], {
      cost: "set-up cannot compile the native parts; what it compiled before stays",
      remedy: "install g++ (Debian: apt-get install g++)",
    }),
    await diskPart(machine, "disk for the cache", machine.cacheFolder),
    await diskPart(machine, "disk for runs", machine.workFolder),
  ];
  return { ok: parts.every((part) => part.state !== "broken"), backend, parts };
}

function nodePart(version: string): Part {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  const enough =
    major > NODE_NEEDED.major || (major === NODE_NEEDED.major && minor >= NODE_NEEDED.minor);
  const part = { name: "Node", detail: version };
  if (enough) return { ...part, state: "ok" };
  return {
    ...part,
    state: "broken",
    cost: "Soma does not run on it",
    remedy: `install Node ${NODE_NEEDED.major}.${NODE_NEEDED.minor} or newer`,
  };
}

function backendPart(backend: Diagnosis["backend"]): Part {
  const threads = `${backend.threads} thread${backend.threads === 1 ? "" : "s"}`;
  const detail = `${backend.detail}, ${threads}, ${backend.gflops.toFixed(1)} GFLOP/s`;
  if (backend.fallbackReason === undefined) return { name: "tensors", state: "ok", detail };
  return {
    name: "tensors",
    state: "slower",
    detail,
    cost: "training and embedding take many times longer than on the native TensorFlow",
    remedy: backend.fallbackReason,
  };
}

function kernelsPart(backend: Diagnosis["backend"]): Part {
  const name = "own kernels";
  if (backend.kernelCount > 0) {
    return { name, state: "ok", detail: `${backend.kernelCount}, compiled for this processor` };
  }
  return {
    name,
    state: "slower",
    detail: "none in force",
    cost: "training takes two to three times longer than with them",
    remedy:
      backend.kernelsReason ??
      (backend.fallbackReason === undefined
        ? `they run beside the native TensorFlow, not on ${backend.name}`
        : "they come with the native TensorFlow"),
  };
}

function foundPart(
  name: string,
  found: Found,
  otherwise: { readonly state: PartState; readonly cost: string; readonly remedy: string },
): Part {
  return found.kind === "found"
    ? { name, state: "ok", detail: found.detail }
    : { name, ...otherwise, detail: found.reason };
}

async function programPart(
  machine: Machine,
  program: string,
  args: readonly string[],
  without: { readonly cost: string; readonly remedy: string },
): Promise<Part> {
  const answer = await machine.ask(program, args);
  return answer === undefined
    ? { name: program, state: "missing", detail: "not found", ...without }
    : { name: program, state: "ok", detail: answer };
}

async function diskPart(machine: Machine, name: string, folder: string): Promise<Part> {
  const bytes = await machine.freeBytes(folder);
  if (bytes === undefined) {
    return {
      name,
      state: "missing",
      detail: `${folder} cannot be looked at`,
      cost: "nothing can be kept there",
      remedy: "make the folder writable, or set SOMA_CACHE to another",
    };
  }
  const detail = `${(bytes / 1e9).toFixed(1)} GB free at ${folder}`;
  if (bytes >= FREE_BYTES_WANTED) return { name, state: "ok", detail };
  return {
    name,
    state: "missing",
    detail,
    cost: `set-up and training may run out: ${FREE_BYTES_WANTED / 1e9} GB are wanted`,
    remedy: "free some disk, or set SOMA_CACHE to a folder with room",
  };
}

/** The machine this process runs on. Starts the tensor backend and measures it: 1 s. */
export function thisMachine(): Machine {
  return {
    nodeVersion: process.version,
    ask: firstLineOf,
    async backend() {
      const { fusedKernels, measureGflops, startBackend } = await import("../../models/backend.ts");
      const info = await startBackend();
      return { ...info, gflops: measureGflops(), kernelCount: fusedKernels().length };
    },
    async hnsw() {
      const { loadHnswlib } = await import("../../models/neighbors/hnsw.ts");
      const library = loadHnswlib();
      return typeof library === "string"
        ? { kind: "absent", reason: `the addon does not load (${library})` }
        : { kind: "found", detail: "hnswlib addon" };
    },
    async images() {
      try {
        const { imageLibrary } = await import("../../tokenizers/image/decode.ts");
        return { kind: "found", detail: imageLibrary() };
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        return { kind: "absent", reason: reason.split("\n")[0] ?? reason };
      }
    },
    freeBytes: freeBytesAt,
    cacheFolder: cacheDirectory(),
    workFolder: process.cwd(),
  };
}

const run = promisify(execFile);
const ANSWER_TIMEOUT_MS = 10_000;

async function firstLineOf(program: string, args: readonly string[]): Promise<string | undefined> {
  if (!(await isOnPath(program))) return undefined;
  try {
    const { stdout } = await run(program, args, { timeout: ANSWER_TIMEOUT_MS });
    return stdout.split("\n")[0]?.trim() ?? "";
  } catch {
    return undefined;
  }
}

async function isOnPath(program: string): Promise<boolean> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    try {
      await access(join(folder, program), constants.X_OK);
      return true;
    } catch {
      // not in this folder
    }
  }
  return false;
}

/** Free bytes on the disk of the folder, or of its nearest parent that exists. */
async function freeBytesAt(folder: string): Promise<number | undefined> {
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    const { bavail, bsize } = await statfs(existing);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
