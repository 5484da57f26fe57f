/**
 * Foreign bytes against every decoder. Of each input one of two things must be true: it is refused by name, or what was
 * read is encoded as exactly these bytes. Nothing else may be thrown, and no more memory taken than a small multiple of
 * the input, whatever lengths it claims. All from one seed; what fails is reported with its bytes.
 * Source: guides: faults, 4.4 "encoding".
 */
import { getHeapStatistics } from "node:v8";
import { SomaError } from "../../base/errors.ts";
import { equalBytes, toHex } from "../../protocol/base/bytes.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { type Rng, seededRng } from "../../tokenizers/random.ts";
import { mutated, randomBytes } from "./mutation.ts";

/** One way in for foreign bytes. */
export interface Decoder {
  readonly name: string;
  /** A sound encoding. */
  readonly sample: (rng: Rng) => Uint8Array;
  /**
   * Decode and encode again.
   * @returns undefined if the bytes are refused without an error  @throws RejectedError or SomaError if they are refused
   */
  readonly roundTrip: (bytes: Uint8Array) => Uint8Array | undefined;
}

export type FuzzFailureKind = "crash" | "over-allocation" | "other encoding";

export interface FuzzFailure {
  readonly decoder: string;
  readonly kind: FuzzFailureKind;
  readonly detail: string;
  readonly inputHex: string;
}

export interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  readonly decoders: readonly Decoder[];
  /** Once in a while: how many cases are done. */
  readonly onCases?: (done: number) => void;
}

export interface DecoderTally {
  readonly name: string;
  accepted: number;
  refused: number;
}

export interface FuzzResult {
  readonly cases: number;
  readonly seed: number;
  readonly crashes: number;
  readonly overAllocations: number;
  /** Accepted, and encoded as other bytes. */
  readonly mismatches: number;
  readonly accepted: number;
  readonly refused: number;
  /** Most that one case took, in bytes of heap and of buffers: a measurement, not the same in every run. */
  readonly allocatedBytesMax: number;
  readonly decoders: readonly DecoderTally[];
  /** The first ones. */
  readonly failures: readonly FuzzFailure[];
}

/** What a case may take: objects of what is there, a few copies, and what the compiler does meanwhile. */
const ALLOCATED_BYTES_BASE = 1024 * 1024;
const ALLOCATED_BYTES_PER_BYTE = 64;

const FAILURES_MAX = 10;
const CASES_BETWEEN_REPORTS = 10_000;

export function runFuzz({ cases, seed, decoders, onCases }: FuzzOptions): FuzzResult {
  const rng = seededRng(seed, "fuzz");
  const tallies = decoders.map(({ name }) => ({ name, accepted: 0, refused: 0 }));
  const counts: Record<FuzzFailureKind, number> = {
    crash: 0,
    "over-allocation": 0,
    "other encoding": 0,
  };
  const failures: FuzzFailure[] = [];
  let allocatedBytesMax = 0;
  for (let done = 0; done < cases; done++) {
    const place = done % decoders.length;
    const [decoder, tally] = [decoders[place], tallies[place]];
    if (decoder === undefined || tally === undefined) break;
    const input = inputFor(decoder, rng);
    const { outcome, allocatedBytes } = tryOne(decoder, input);
    allocatedBytesMax = Math.max(allocatedBytesMax, allocatedBytes);
    if ("detail" in outcome) {
      counts[outcome.kind]++;
      if (failures.length < FAILURES_MAX) {
        failures.push({ decoder: decoder.name, ...outcome, inputHex: toHex(input) });
      }
    } else tally[outcome.kind]++;
    if ((done + 1) % CASES_BETWEEN_REPORTS === 0) onCases?.(done + 1);
  }
  const total = (kind: "accepted" | "refused"): number =>
    tallies.reduce((sum, tally) => sum + tally[kind], 0);
  return {
    cases,
    seed,
    crashes: counts.crash,
    overAllocations: counts["over-allocation"],
    mismatches: counts["other encoding"],
    accepted: total("accepted"),
    refused: total("refused"),
    allocatedBytesMax,
    decoders: tallies,
    failures,
  };
}

/** Of eight inputs one is sound, two are from nowhere, the others are sound but for a few changes. */
function inputFor({ sample }: Decoder, rng: Rng): Uint8Array {
  const way = rng.uniform(8);
  if (way < 2) return randomBytes(rng);
  const sound = sample(rng);
  return way === 2 ? sound : mutated(sound, sample(rng), rng);
}

type Outcome =
  | { readonly kind: "accepted" | "refused" }
  | { readonly kind: FuzzFailureKind; readonly detail: string };

function tryOne(
  { roundTrip }: Decoder,
  input: Uint8Array,
): { readonly outcome: Outcome; readonly allocatedBytes: number } {
  const given = input.slice();
  const before = memoryBytes();
  const outcome = outcomeOf(roundTrip, given);
  const allocatedBytes = memoryBytes() - before;
  const limit = ALLOCATED_BYTES_BASE + ALLOCATED_BYTES_PER_BYTE * input.length;
  if (allocatedBytes > limit) {
    const detail = `${allocatedBytes} bytes taken for an input of ${input.length}, at most ${limit}`;
    return { outcome: { kind: "over-allocation", detail }, allocatedBytes };
  }
  if (!equalBytes(given, input)) {
    return { outcome: { kind: "crash", detail: "the input was changed" }, allocatedBytes };
  }
  return { outcome, allocatedBytes };
}

function outcomeOf(roundTrip: Decoder["roundTrip"], input: Uint8Array): Outcome {
  try {
    const again = roundTrip(input);
    if (again === undefined) return { kind: "refused" };
    if (equalBytes(again, input)) return { kind: "accepted" };
    return { kind: "other encoding", detail: `read, and encoded as ${toHex(again)}` };
  } catch (error) {
    if (error instanceof RejectedError || error instanceof SomaError) return { kind: "refused" };
    return { kind: "crash", detail: error instanceof Error ? String(error) : "not an error" };
  }
}

/** Heap and buffers of this thread. A collection in between makes it less, never more. */
function memoryBytes(): number {
  const { used_heap_size: heap, external_memory: buffers } = getHeapStatistics();
  return heap + buffers;
}
