/** What many runs come to. */
import { toHex, utf8 } from "../../protocol/base/bytes.ts";
import { hashDomain, hashParts } from "../../protocol/base/hash.ts";
import type { ViolationKind } from "./checks.ts";
import { type Injected, sumInjected } from "./fault-counts.ts";
import type { SimulationResult } from "./simulate.ts";

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Summary {
  readonly runs: number;
  readonly firstSeed: number | null;
  readonly lastSeed: number | null;
  readonly validators: number | null;
  readonly rounds: number | null;
  readonly commits: number;
  /** Of the digests of all runs, in order. */
  readonly digest: string;
  readonly violations: number;
  readonly failedSeeds: readonly {
    readonly seed: number;
    readonly kinds: readonly ViolationKind[];
  }[];
  readonly firstCommitMs: Spread | null;
  readonly healedMs: Spread | null;
  /** How often each fault happened in all runs. */
  readonly injected: Injected;
  readonly virtualSeconds: number;
  readonly events: number;
}

const DOMAIN = hashDomain("simulations");

/** @param results in the order of their seeds */
export function sumUp(results: readonly SimulationResult[]): Summary {
  const [first] = results;
  const last = results.at(-1);
  return {
    runs: results.length,
    firstSeed: first?.seed ?? null,
    lastSeed: last?.seed ?? null,
    validators: first?.validators ?? null,
    rounds: first?.rounds ?? null,
    commits: sum(results.map(({ commits }) => commits)),
    digest: toHex(hashParts(DOMAIN, utf8(results.map(({ digest }) => digest).join("")))),
    violations: sum(results.map(({ violations }) => violations.length)),
    failedSeeds: results
      .filter(({ violations }) => violations.length > 0)
      .map(({ seed, violations }) => ({
        seed,
        kinds: [...new Set(violations.map(({ kind }) => kind))],
      })),
    firstCommitMs: spread(results.map(({ firstCommitMs }) => firstCommitMs)),
    healedMs: spread(results.map(({ healedMs }) => healedMs)),
    injected: sumInjected(results.map(({ injected }) => injected)),
    virtualSeconds: Math.round(sum(results.map(({ virtualSeconds }) => virtualSeconds))),
    events: sum(results.map(({ events }) => events)),
  };
}

function spread(values: readonly (number | undefined)[]): Spread | null {
  const ascending = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  const max = ascending.at(-1);
  if (max === undefined) return null;
  const at = (share: number): number =>
    ascending[Math.floor(share * (ascending.length - 1))] ?? max;
  return { p50: at(0.5), p99: at(0.99), max };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
