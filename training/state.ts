/**
 * What a resumed run needs, in checkpoints/state/: state.json (counters, digests) and optimizer.safetensors (raw weights, both moving averages of Adam,
 * averaged weights, what objectives carry from step to step). Batches are pure
 * functions of (seed, step), so there is no sampler and no generator to save.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../base/errors.ts";
import { settleFolder, writeFolderAtomic, type FolderWriteOptions } from "../base/folders.ts";
import { parseConfig, z } from "../base/schema.ts";
import { readSafetensors, writeSafetensors, type HostTensor } from "../models/safetensors.ts";
import type { TrainConfig } from "./config.ts";
import { under, type AdamState, type NamedArrays } from "./optimizer.ts";

const COUNTERS_FILE = "state.json";
const TENSORS_FILE = "optimizer.safetensors";

const counters = z.strictObject({
  version: z.literal(1),
  /** Updates done. */
  step: z.int().nonnegative(),
  /** Seconds the loop has run. */
  elapsedS: z.number().nonnegative(),
  updateCount: z.int().nonnegative(),
  seed: z.int().nonnegative(),
  bestScore: z.number().nullable(),
  bestStep: z.int().nonnegative().nullable(),
  /** SHA-256 of everything in the config that decides the weights. */
  configDigest: z.string(),
  dataDigest: z.string(),
  /** e.g. "TensorFlow 2.21.0, 2 threads": sums come out the same, to the last bit, only there. */
  backend: z.string(),
  /** SHA-256 of optimizer.safetensors: the two files belong together. */
  tensorsDigest: z.string(),
});

export type TrainCounters = Omit<
  z.output<typeof counters>,
  "version" | "tensorsDigest" | "updateCount"
>;

export interface TrainState {
  readonly counters: TrainCounters;
  readonly adam: AdamState;
  /** Averaged weights, if the run averages. */
  readonly average: NamedArrays | undefined;
  /** What objectives carry from step to step, by "objective/name". */
  readonly kept: NamedArrays;
}

/** @param shapes of the parameters, so that the tensors are readable elsewhere  @throws SomaError DISK_FULL, WRITE_FAILED */
export async function writeState(
  folder: string,
  state: TrainState,
  shapes: ReadonlyMap<string, readonly number[]>,
  options: FolderWriteOptions = {},
): Promise<void> {
  const tensors = new Map<string, HostTensor>();
  const add = (kind: string, arrays: NamedArrays): void => {
    for (const [name, data] of arrays) {
      tensors.set(`${kind}/${name}`, { shape: shapes.get(name) ?? [data.length], data });
    }
  };
  add("weights", state.adam.weights);
  add("moments", state.adam.moments);
  add("squares", state.adam.squares);
  if (state.average !== undefined) add("average", state.average);
  add("kept", state.kept);
  const bytes = writeSafetensors(tensors, { format: "soma-trainer" });
  const document = {
    version: 1,
    ...state.counters,
    updateCount: state.adam.updateCount,
    tensorsDigest: sha256Hex(bytes),
  };
  const files = new Map<string, Uint8Array | string>([
    [TENSORS_FILE, bytes],
    [COUNTERS_FILE, `${JSON.stringify(document, null, 2)}\n`],
  ]);
  await writeFolderAtomic(folder, files, options);
}

/** @throws SomaError NO_STATE (notFound); STATE_CORRUPT (corrupt) if the files are missing, torn or do not belong together */
export async function readState(folder: string): Promise<TrainState> {
  await settleFolder(folder);
  if ((await stat(folder).catch(() => undefined)) === undefined) {
    throw new SomaError({
      code: "NO_STATE",
      kind: "notFound",
      what: `${folder} is not there: the run ended before its first checkpoint`,
      next: "start it again with another --out",
    });
  }
  const [text, bytes] = await Promise.all([
    readFile(join(folder, COUNTERS_FILE), "utf8"),
    readFile(join(folder, TENSORS_FILE)),
  ]).catch((cause: unknown) => {
    throw corrupt(folder, "a file of the trainer's state is missing", cause);
  });
  let parsed: z.output<typeof counters>;
  try {
    parsed = parseConfig(counters, JSON.parse(text), "state.json");
  } catch (cause) {
    throw corrupt(folder, "state.json cannot be read", cause);
  }
  if (sha256Hex(bytes) !== parsed.tensorsDigest) {
    throw corrupt(folder, "optimizer.safetensors is not the one that state.json was written with");
  }
  const { tensors } = readSafetensors(bytes, join(folder, TENSORS_FILE));
  const arrays = new Map(Array.from(tensors, ([name, { data }]) => [name, data]));
  const pick = (kind: string): NamedArrays => under(`${kind}/`, arrays);
  const average = pick("average");
  return {
    counters: {
      step: parsed.step,
      elapsedS: parsed.elapsedS,
      seed: parsed.seed,
      bestScore: parsed.bestScore,
      bestStep: parsed.bestStep,
      configDigest: parsed.configDigest,
      dataDigest: parsed.dataDigest,
      backend: parsed.backend,
    },
    adam: {
      updateCount: parsed.updateCount,
      weights: pick("weights"),
      moments: pick("moments"),
      squares: pick("squares"),
    },
    average: average.size === 0 ? undefined : average,
    kept: pick("kept"),
  };
}

/** What may change between the sessions of a run: how long it is, and how it is watched. */
const FREE_KEYS: ReadonlySet<string> = new Set([
  "seconds",
  "steps",
  "validation",
  "collapse",
  "logEverySteps",
  "checkpointEverySeconds",
  "inputWorkers",
  "workers",
] satisfies (keyof TrainConfig)[]);

/** Digest of what decides the weights of a step: a resumed run must not mix two experiments. */
export function configDigest(config: TrainConfig): string {
  const decisive = Object.entries(config).filter(([key]) => !FREE_KEYS.has(key));
  return sha256Hex(canonicalJson(Object.fromEntries(decisive)));
}

/** Of node, not tokenizers/hash.ts: optimiser states are large, and OpenSSL is ten times faster. */
function sha256Hex(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}

/** JSON with keys in ascending order. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function corrupt(folder: string, what: string, cause?: unknown): SomaError {
  return new SomaError(
    {
      code: "STATE_CORRUPT",
      kind: "corrupt",
      what: `${folder}: ${what}`,
      next: "the run cannot be resumed from it; start it again with another --out",
    },
    { cause },
  );
}
