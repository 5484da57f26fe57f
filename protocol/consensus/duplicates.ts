/**
 * Drops a transaction that was ordered before: two validators may propose the same one, and an equivocator's twins may
 * both be ordered with the same payload. What was *seen*, executed or dropped, in the last rounds is remembered by
 * digest, so that the memory is a pure function of those rounds: a node that restarts fills it from its log, and all
 * nodes drop alike. Later copies are the executor's to refuse, by nonce and expiry. Source: protocol part 9.
 */
import { hashDomain, hashStructure } from "../base/hash.ts";
import { Reader } from "../base/wire.ts";
import type { Round } from "./block.ts";
import type { Commit } from "./commit.ts";

const DOMAIN = hashDomain("transaction");

/** Transactions of a payload that the block verifier has walked: views, in order. */
export function transactionsOf(payload: Uint8Array): readonly Uint8Array[] {
  const reader = new Reader(payload);
  const count = reader.length(payload.length);
  return Array.from({ length: count }, () => reader.bytes(payload.length));
}

export class DuplicateFilter {
  private readonly windowRounds: number;
  /** By digest: the round of the leader under which it was seen last. */
  private readonly seenIn = new Map<string, Round>();
  private readonly byRound: { readonly round: Round; readonly keys: readonly string[] }[] = [];

  /** @param windowRounds for how long: parameters.duplicateWindowRounds */
  constructor(windowRounds: number) {
    this.windowRounds = windowRounds;
  }

  /**
   * The next commit. After a restart: first every commit whose leader is at most windowRounds below the last one's.
   * @param payloads of the commit's blocks, in its order  @returns its transactions that are new, in order
   */
  next(commit: Commit, payloads: readonly Uint8Array[]): readonly Uint8Array[] {
    const { round } = commit.leader;
    this.forget(round - this.windowRounds);
    const keys: string[] = [];
    const fresh = payloads.flatMap(transactionsOf).filter((transaction) => {
      const key = keyOf(transaction);
      const isNew = !this.seenIn.has(key);
      this.seenIn.set(key, round);
      keys.push(key);
      return isNew;
    });
    this.byRound.push({ round, keys });
    return fresh;
  }

  private forget(upTo: Round): void {
    for (let first = this.byRound[0]; first !== undefined && first.round <= upTo;) {
      for (const key of first.keys) {
        if (this.seenIn.get(key) === first.round) this.seenIn.delete(key);
      }
      this.byRound.shift();
      first = this.byRound[0];
    }
  }
}

/** A digest as a string of 16 characters. */
function keyOf(transaction: Uint8Array): string {
  const digest = Uint8Array.from(hashStructure(DOMAIN, transaction));
  return String.fromCharCode(...new Uint16Array(digest.buffer));
}
