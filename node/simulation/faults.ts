/**
 * What goes wrong in a run, and when: drawn from the seed before the run begins, as plain data. Of the faults that are
 * allowed each seed switches some on, so that every combination comes up. Everything but the faulty validators ends at
 * `healAt`; from then on the clock of liveness runs.
 */
import { SomaError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { DiskFailure } from "./disk.ts";
import type { Micros } from "./event-queue.ts";
import { MISCONDUCTS, type MisconductName } from "./misconduct.ts";
import type { LinkModel } from "./network.ts";

/** With each, what counts as one of it. */
export const FAULT_KINDS = [
  /** 60–80 ms in place of 10–20, with 1 % of 500–1,500 ms: a message that takes so long. */
  "latency",
  /** A message that the network drops. */
  "loss",
  /** A message that arrives twice. */
  "duplication",
  /** A message that overtakes one sent before it. */
  "reorder",
  /** The network falls into two parts: a link that is cut, one way. */
  "partition",
  /** Links stop one by one, and go on in another order: a link that stops. */
  "clog",
  /** A process dies between any two things it asks of the world: a death, also one while it starts again. */
  "crash",
  /** All processes at once: a death. */
  "outage",
  /** The log is lost, or a bit of it; sometimes the round signed last too: a start without it. */
  "amnesia",
  /** A flush fails: a process that ends of it. */
  "disk",
  /** A process stands still for a while. */
  "pause",
  /** Clocks are wrong from the start, and are set: a clock that is not true, a setting. */
  "skew",
  // Of a faulty validator: a block that is not made, kept from some, late, or the second of its round; a message that is
  // nonsense; a block that votes for no leader.
  ...MISCONDUCTS,
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** One way, from one validator to another. */
export interface LinkName {
  readonly from: AuthorityIndex;
  readonly to: AuthorityIndex;
}

/** What of its disk a process does not find again: a bit of the log that was turned, the log, or the round signed last too. */
export type Loss = "nothing" | "bit" | "log" | "all";

export type TimedFault = { readonly at: Micros } & (
  | {
      readonly kind: "crash";
      readonly validator: AuthorityIndex;
      /** It dies before the next but so many-th thing that it asks for. */
      readonly effects: number;
      readonly downFor: Micros;
      /** The machine dies with it: what was not synced is lost. */
      readonly isPowerLost: boolean;
      readonly loses: Loss;
      /** The process after it dies as early as that in its turn: while it opens its log, or soon after. */
      readonly againAfter?: number;
      /** Which of the faults it is for. */
      readonly cause: "crash" | "outage" | "amnesia";
    }
  | {
      readonly kind: "disk";
      readonly validator: AuthorityIndex;
      readonly failure: DiskFailure;
      readonly downFor: Micros;
    }
  | { readonly kind: "pause"; readonly validator: AuthorityIndex; readonly lasts: Micros }
  | { readonly kind: "setClock"; readonly validator: AuthorityIndex; readonly skewMs: number }
  | { readonly kind: "cut" | "mend" | "hold" | "release"; readonly link: LinkName }
);

export interface FaultPlan {
  /** Those that are on. */
  readonly kinds: readonly FaultKind[];
  /** Until `healAt`, and after it. */
  readonly model: LinkModel;
  readonly healedModel: LinkModel;
  readonly faulty: ReadonlyMap<AuthorityIndex, MisconductName>;
  /** Each validator's clock against the true one, at the start. */
  readonly skewsMs: readonly number[];
  /** In order. */
  readonly timed: readonly TimedFault[];
  readonly healAt: Micros;
  /** From the healing to the first new commit, at most. */
  readonly commitLimit: Micros;
  /** From the healing until every correct validator commits, at most. */
  readonly backLimit: Micros;
}

/** What may go wrong. */
export interface AllowedFaults {
  readonly kinds: readonly FaultKind[];
  /** Each seed switches on some of them; else all are on. */
  readonly areDrawn: boolean;
}

/** @param text "all", "none", or names with commas between them  @throws SomaError UNKNOWN_FAULT */
export function parseFaults(text: string): AllowedFaults {
  if (text === "all") return { kinds: FAULT_KINDS, areDrawn: true };
  if (text === "none") return { kinds: [], areDrawn: false };
  const kinds = text.split(",").map((part) => {
    const name = part.trim();
    const kind = FAULT_KINDS.find((each) => each === name);
    if (kind !== undefined) return kind;
    const near = nearestName(name, FAULT_KINDS);
    throw new SomaError({
      code: "UNKNOWN_FAULT",
      kind: "usage",
      what: `"${name}" is no fault`,
      next:
        near === undefined
          ? `say all, none, or some of ${FAULT_KINDS.join(", ")}`
          : `did you mean ${near}?`,
    });
  });
  return { kinds, areDrawn: false };
}
