/**
 * What a run leaves behind, in one folder:
 *   config.yaml    the resolved config: `soma train --config` of it is the same experiment
 *   env.json       on what it ran: node, backend, threads, digests of code and data, arguments
 *   metrics.jsonl  a line for each log, validation and look for collapse
 *   events.out.tfevents.*   the same for TensorBoard
 *   checkpoints/last/       the newest encoder
 *   checkpoints/best/       the encoder with the best validation score
 *   checkpoints/state/      what `--resume` needs (training/state.ts)
 * The result of a run is `best` if it exists, else `last` (models/checkpoint.ts, resolveCheckpoint).
 */
import { appendFileSync } from "node:fs";
import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { SomaError } from "../base/errors.ts";
import { writeError, writeFileAtomic } from "../base/files.ts";
import { toYaml } from "../base/yaml.ts";
import type { Rng } from "../tokenizers/random.ts";
import type { TrainConfig } from "./config.ts";
import { fileVersionRecord, scalarRecord, sessionStartRecord } from "./tensorboard.ts";

/** A line of metrics.jsonl. Numbers go to TensorBoard as `kind/name`. */
export interface MetricsLine {
  readonly kind: "train" | "validation" | "collapse";
  readonly step: number;
  /** Elapsed time of the loop. */
  readonly seconds: number;
  readonly [name: string]: number | string | null;
}

export class RunFolder {
  readonly path: string;
  private readonly events: string;

  private constructor(path: string) {
    this.path = path;
    this.events = join(path, `events.out.tfevents.${Math.floor(Date.now() / 1000)}.soma`);
  }

  /**
   * A new run in `path`, which must not hold one.
   * @throws SomaError RUN_EXISTS (usage), DISK_FULL, WRITE_FAILED
   */
  static async create(
    path: string,
    about: { readonly config: TrainConfig; readonly environment: unknown },
  ): Promise<RunFolder> {
    await refuseExistingRun(path);
    const absolute = resolve(path);
    const folder = new RunFolder(absolute);
    await writeFileAtomic(join(absolute, "config.yaml"), toYaml(about.config));
    await writeFileAtomic(
      join(absolute, "env.json"),
      `${JSON.stringify(about.environment, null, 2)}\n`,
    );
    await writeFileAtomic(join(absolute, "metrics.jsonl"), "");
    folder.append(folder.events, fileVersionRecord(Date.now() / 1000));
    return folder;
  }

  /**
   * The run in `path`, to go on from `step`: metrics of later steps are dropped, as they will come again.
   * @throws SomaError RUN_NOT_FOUND (notFound)
   */
  static async reopen(path: string, step: number): Promise<RunFolder> {
    const absolute = resolve(path);
    await requireRunFolder(absolute);
    const folder = new RunFolder(absolute);
    const metrics = join(absolute, "metrics.jsonl");
    const kept = (await readFile(metrics, "utf8").catch(() => ""))
      .split("\n")
      .filter((line) => stepOfLine(line) <= step)
      .map((line) => `${line}\n`);
    await writeFileAtomic(metrics, kept.join(""));
    const now = Date.now() / 1000;
    folder.append(folder.events, fileVersionRecord(now));
    folder.append(folder.events, sessionStartRecord(now, step + 1));
    return folder;
  }

  /** The folder of an encoder (models/checkpoint.ts), or of the trainer's state (training/state.ts). */
  checkpoint(name: "last" | "best" | "state"): string {
    return join(this.path, "checkpoints", name);
  }

  /** @throws SomaError DISK_FULL, WRITE_FAILED */
  log(line: MetricsLine): void {
    this.append(join(this.path, "metrics.jsonl"), `${JSON.stringify(line)}\n`);
    const scalars: Record<string, number> = {};
    for (const [name, value] of Object.entries(line)) {
      if (typeof value === "number" && name !== "step") scalars[`${line.kind}/${name}`] = value;
    }
    this.append(
      this.events,
      scalarRecord({ wallTimeS: Date.now() / 1000, step: line.step, scalars }),
    );
  }

  private append(path: string, data: string | Uint8Array): void {
    try {
      appendFileSync(path, data);
    } catch (error) {
      throw writeError(path, error);
    }
  }
}

/** @throws SomaError RUN_EXISTS (usage) if `path` holds a run that has saved anything: one that died before is replaced */
export async function refuseExistingRun(path: string): Promise<void> {
  if (!(await exists(join(resolve(path), "checkpoints")))) return;
  throw new SomaError({
    code: "RUN_EXISTS",
    kind: "usage",
    what: `${path} already holds a run`,
    next: `continue it with --resume ${path}, or give another --out`,
  });
}

/** A name for a run: the day and two words, e.g. "2026-11-24-calm-otter". */
export function runName(day: Date, rng: Rng): string {
  const adjective = ADJECTIVES[rng.uniform(ADJECTIVES.length)] ?? "";
  const noun = NOUNS[rng.uniform(NOUNS.length)] ?? "";
  return `${day.toISOString().slice(0, 10)}-${adjective}-${noun}`;
}

/**
 * The run folder that `--resume` means: "last" is `out` if given, else the newest run in `runs`.
 * @throws SomaError RUN_NOT_FOUND (notFound)
 */
export async function findRun(
  what: string,
  where: { readonly out: string | undefined; readonly runs: string },
): Promise<string> {
  if (what !== "last") return requireRunFolder(resolve(what));
  if (where.out !== undefined) return requireRunFolder(resolve(where.out));
  const newest = (await listRuns(where.runs)).at(-1);
  if (newest !== undefined) return newest.path;
  throw new SomaError({
    code: "RUN_NOT_FOUND",
    kind: "notFound",
    what: `there is no run in ${where.runs}/`,
    next: "give the folder of the run: --resume DIR",
  });
}

/** Run folders in `runs`, oldest first by when they were last written. */
export async function listRuns(
  runs: string,
): Promise<
  readonly { readonly path: string; readonly name: string; readonly writtenMs: number }[]
> {
  const names = await readdir(runs).catch(() => []);
  const found = [];
  for (const name of names) {
    const path = resolve(runs, name);
    if (!(await isRunFolder(path))) continue;
    const { mtimeMs } = await stat(join(path, "metrics.jsonl")).catch(() => stat(path));
    found.push({ path, name: basename(path), writtenMs: mtimeMs });
  }
  return found.sort((a, b) => a.writtenMs - b.writtenMs || (a.name < b.name ? -1 : 1));
}

/** Lines of a run's metrics.jsonl; a torn last line is left out. */
export async function readMetrics(run: string): Promise<readonly MetricsLine[]> {
  const text = await readFile(join(run, "metrics.jsonl"), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => Number.isFinite(stepOfLine(line)))
    .map((line) => JSON.parse(line) as MetricsLine);
}

async function isRunFolder(path: string): Promise<boolean> {
  return exists(join(path, "config.yaml"));
}

async function requireRunFolder(path: string): Promise<string> {
  if (await isRunFolder(path)) return path;
  throw new SomaError({
    code: "RUN_NOT_FOUND",
    kind: "notFound",
    what: `${path} holds no run (no config.yaml)`,
    next: "give the folder that `soma train` printed",
  });
}

/** The step of a line of metrics.jsonl; infinite if the line is torn or empty. */
function stepOfLine(line: string): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return typeof step === "number" ? step : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/* prettier-ignore */
const ADJECTIVES = [
  "amber", "bold", "brave", "bright", "calm", "clear", "clever", "crisp", "curious", "daring", "deep", "eager",
  "early", "fair", "fine", "fleet", "fresh", "gentle", "glad", "golden", "grand", "green", "happy", "honest",
  "keen", "kind", "late", "light", "lively", "lucky", "merry", "mild", "neat", "noble", "patient", "plain",
  "proud", "quick", "quiet", "rapid", "ready", "round", "sharp", "silent", "silver", "simple", "sleek", "smart",
  "smooth", "soft", "steady", "still", "strong", "sunny", "sure", "swift", "tidy", "true", "vivid", "warm",
  "wide", "wild", "wise", "young",
];
/* prettier-ignore */
const NOUNS = [
  "acorn", "badger", "beacon", "birch", "bison", "brook", "cedar", "cliff", "cloud", "comet", "coral", "crane",
  "delta", "dune", "eagle", "ember", "falcon", "fern", "finch", "fjord", "fox", "glacier", "grove", "harbor",
  "hare", "hawk", "heron", "island", "juniper", "kestrel", "lagoon", "lark", "lynx", "maple", "marten", "meadow",
  "meteor", "moss", "oak", "ocean", "orbit", "otter", "owl", "pebble", "pine", "prairie", "quartz", "raven",
  "reef", "ridge", "river", "robin", "sparrow", "spruce", "stone", "summit", "swallow", "thistle", "tide",
  "valley", "willow", "wolf", "wren", "yarrow",
];
