import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { consensusParameters } from "../../../protocol/base/parameters.ts";
import { type Commit, sealCommit } from "../../../protocol/consensus/commit.ts";
import { DuplicateFilter, transactionsOf } from "../../../protocol/consensus/duplicates.ts";
import type { TransactionBatch } from "../../../protocol/consensus/events.ts";
import { TransactionQueue } from "../../../protocol/consensus/transaction-queue.ts";

const limits = consensusParameters({
  transactionBytesMax: 50,
  blockTransactionCountMax: 6,
  blockTransactionBytesMax: 120,
  pendingTransactionBytesMax: 300,
});

/** Transactions with their lengths before them. All are shorter than 128 bytes. */
function framesOf(transactions: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(transactions.flatMap((each) => [each.length, ...each]));
}

function batch(id: number, ...sizes: readonly number[]): TransactionBatch {
  const transactions = sizes.map((size) => new Uint8Array(size).fill(id));
  return { id, count: sizes.length, frames: framesOf(transactions) };
}

function payloadOf(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

describe("the queue", () => {
  test("gives whole batches, oldest first, as many as a block holds", () => {
    const queue = new TransactionQueue(limits);
    for (const each of [batch(1, 40), batch(2, 40), batch(3, 40), batch(4, 1, 1)])
      expect(queue.add(each)).toBe(true);
    expect(queue.sizeBytes).toBe(41 + 41 + 41 + 4);
    const first = queue.take();
    expect(first.batches).toEqual([1, 2]); // a third one would pass 120 bytes
    expect(transactionsOf(payloadOf(first.payload)).map(([byte]) => byte)).toEqual([1, 2]);
    expect(queue.take().batches).toEqual([3, 4]);
    expect(queue.sizeBytes).toBe(0);
    expect(payloadOf(queue.take().payload)).toEqual(Uint8Array.of(0));
  });

  test("counts transactions too", () => {
    const queue = new TransactionQueue(limits);
    queue.add(batch(1, 1, 1, 1, 1));
    queue.add(batch(2, 1, 1, 1));
    expect(queue.take().batches).toEqual([1]);
  });

  test.each([
    ["says more transactions than there are", { ...batch(1, 5), count: 2 }],
    ["says fewer", { ...batch(1, 5, 5), count: 1 }],
    ["holds none", { id: 1, count: 0, frames: new Uint8Array(0) }],
    ["holds one that is too long", batch(1, 51)],
    ["is more than a block", batch(1, 50, 50, 50)],
    ["holds too many", batch(1, 1, 1, 1, 1, 1, 1, 1)],
    ["is cut off", { id: 1, count: 1, frames: Uint8Array.of(5, 1, 2) }],
  ])("refuses a batch that %s: it would spoil our block", (_title, wrong) => {
    const queue = new TransactionQueue(limits);
    expect(queue.add(wrong)).toBe(false);
    expect(queue.sizeBytes).toBe(0);
  });

  test("refuses what does not fit into its memory, and takes again when there is room", () => {
    const queue = new TransactionQueue(limits);
    const accepted = [1, 2, 3, 4, 5, 6, 7, 8].map((id) => queue.add(batch(id, 40)));
    expect(accepted).toEqual([true, true, true, true, true, true, true, false]);
    queue.take();
    expect(queue.add(batch(9, 40))).toBe(true);
  });

  test("puts what was never ordered before everything else, without the submitter's id", () => {
    const queue = new TransactionQueue(limits);
    queue.add(batch(1, 9));
    const lost = payloadOf(queue.take().payload);
    queue.add(batch(2, 9));
    queue.takeBack(lost);
    queue.takeBack(Uint8Array.of(0));
    const next = queue.take();
    expect(next.batches).toEqual([2]);
    expect(transactionsOf(payloadOf(next.payload)).map(([byte]) => byte)).toEqual([1, 2]);
  });

  test("loses and doubles nothing over thousands of batches", () => {
    const queue = new TransactionQueue(limits);
    const out: number[] = [];
    let next = 0;
    for (let step = 0; step < 3000; step++) {
      while (queue.add(batch(next % 100, 1 + (next % 7)))) next++;
      out.push(...queue.take().batches);
    }
    while (queue.sizeBytes > 0) out.push(...queue.take().batches);
    expect(out).toEqual(Array.from({ length: next }, (_, i) => i % 100));
  });
});

describe("duplicates", () => {
  const commitOf = (index: number, round: number): Commit => {
    const leader = { round, author: 0, digest: new Uint8Array(32) };
    return sealCommit({
      index,
      previousDigest: new Uint8Array(32),
      leader,
      blocks: [leader],
      timestampMs: 0,
    });
  };
  const payload = (...bytes: readonly number[]): Uint8Array =>
    Uint8Array.of(bytes.length, ...framesOf(bytes.map((byte) => Uint8Array.of(byte))));
  const first = (transactions: readonly Uint8Array[]): readonly (number | undefined)[] =>
    transactions.map(([byte]) => byte);

  test("of one commit, of twins and of later commits are dropped; the first stays", () => {
    const filter = new DuplicateFilter(10);
    expect(first(filter.next(commitOf(1, 1), [payload(1, 2, 1), payload(2, 3)]))).toEqual([
      1, 2, 3,
    ]);
    expect(first(filter.next(commitOf(2, 2), [payload(3, 4)]))).toEqual([4]);
  });

  test("are remembered for the window, from when they were seen last", () => {
    const filter = new DuplicateFilter(10);
    filter.next(commitOf(1, 1), [payload(1, 2)]);
    filter.next(commitOf(2, 6), [payload(1)]);
    expect(first(filter.next(commitOf(3, 11), [payload(1, 2)]))).toEqual([2]);
    expect(first(filter.next(commitOf(4, 21), [payload(1)]))).toEqual([1]);
  });

  test("are told the same by a node that filled its memory from the window alone", () => {
    const rounds = fc.array(
      fc.tuple(fc.integer({ min: 1, max: 4 }), fc.array(fc.nat(15), { maxLength: 4 })),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(rounds, fc.nat(40), (steps, restart) => {
        let round = 0;
        const commits = steps.map(([gap, bytes], i) => ({
          commit: commitOf(i + 1, (round += gap)),
          payloads: [payload(...bytes)],
        }));
        const whole = new DuplicateFilter(7);
        const expected = commits.map(({ commit, payloads }) => first(whole.next(commit, payloads)));
        const at = Math.min(restart, commits.length);
        const from = (commits[at - 1]?.commit.leader.round ?? 0) - 7;
        const again = new DuplicateFilter(7);
        for (const { commit, payloads } of commits.slice(0, at)) {
          if (commit.leader.round > from) again.next(commit, payloads);
        }
        const rest = commits
          .slice(at)
          .map(({ commit, payloads }) => first(again.next(commit, payloads)));
        expect(rest).toEqual(expected.slice(at));
      }),
    );
  });
});
