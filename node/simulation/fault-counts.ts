/** How often each fault has happened in a run: a run in which nothing fails shows nothing. */
import { FAULT_KINDS, type FaultKind } from "./faults.ts";

/** Of each fault that is on, how often it happened; what counts once, is said at `FAULT_KINDS`. */
export type Injected = Readonly<Partial<Record<FaultKind, number>>>;

export class FaultCounts {
  private readonly counts = new Map<FaultKind, number>();

  /** @param kinds those that are on: they are named even if they never happen */
  constructor(kinds: readonly FaultKind[]) {
    for (const kind of kinds) this.counts.set(kind, 0);
  }

  add(kind: FaultKind, times = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + times);
  }

  get injected(): Injected {
    return inOrder(this.counts);
  }
}

/** Of several runs together. */
export function sumInjected(runs: readonly Injected[]): Injected {
  const sums = new Map<FaultKind, number>();
  for (const run of runs) {
    for (const kind of FAULT_KINDS) {
      const times = run[kind];
      if (times !== undefined) sums.set(kind, (sums.get(kind) ?? 0) + times);
    }
  }
  return inOrder(sums);
}

function inOrder(counts: ReadonlyMap<FaultKind, number>): Injected {
  const known = FAULT_KINDS.filter((kind) => counts.has(kind));
  return Object.fromEntries(known.map((kind) => [kind, counts.get(kind) ?? 0]));
}
