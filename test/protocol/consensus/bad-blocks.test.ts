import { describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { DrawnDag } from "../../../node/conformance/drawn-dag.ts";
import { DEFAULT_CONSENSUS_PARAMETERS } from "../../../protocol/base/parameters.ts";
import type { RejectionCode } from "../../../protocol/base/errors.ts";
import { Writer } from "../../../protocol/base/wire.ts";
import {
  type BlockRef,
  EMPTY_PAYLOAD,
  encodeBlock,
  type Header,
} from "../../../protocol/consensus/block.ts";
import type { ConsensusEffect } from "../../../protocol/consensus/events.ts";
import {
  accepted,
  firstBlock,
  kindsOf,
  LONE_COMMITTEE,
  LONE_SIGNERS,
  type LoneCore,
  loneCore,
  signedBlock,
} from "../../support/lone-core.ts";

const names = new DrawnDag(LONE_COMMITTEE, []);
const LIMITS = DEFAULT_CONSENSUS_PARAMETERS;

interface Changes extends Partial<Omit<Header, "ancestors" | "payloadDigest">> {
  readonly ancestors?: readonly (string | BlockRef)[];
  readonly payload?: Uint8Array;
  readonly signedBy?: number;
}

/** C's block of round 2, sound but for what is changed. */
function blockOfC({ ancestors, payload, signedBy, ...changes }: Changes): Uint8Array {
  const refs = (ancestors ?? ["C1", "A1", "B1"]).map((each) =>
    typeof each === "string" ? names.ref(each) : each,
  );
  const { author, ...rest } = { author: 2, ...changes };
  const header = { epoch: 0, round: 2, timestampMs: 1, commitVotes: [], ...rest };
  const signer = LONE_SIGNERS[signedBy ?? author];
  return encodeBlock(
    { ...header, author, ancestors: refs },
    [payload ?? EMPTY_PAYLOAD],
    (digest) => signer?.sign(digest) ?? new Uint8Array(64),
  );
}

function payloadOf(transactionCount: number, transactionBytes: number): Uint8Array {
  const writer = new Writer();
  writer.length(transactionCount);
  for (let i = 0; i < transactionCount; i++) {
    writer.length(transactionBytes);
    writer.raw(new Uint8Array(transactionBytes));
  }
  return writer.finish().slice();
}

function from(
  peer: number,
  { feed }: LoneCore,
  ...blocks: readonly Uint8Array[]
): readonly ConsensusEffect[] {
  return feed({ kind: "blocksReceived", from: peer, blocks, now: 1 });
}

type Bad = readonly [title: string, bytes: Uint8Array, code: RejectionCode, says: string];

const changed = (bytes: Uint8Array, at: number): Uint8Array => {
  const copy = bytes.slice();
  const place = at < 0 ? bytes.length + at : at;
  copy[place] = (copy[place] ?? 0) ^ 1;
  return copy;
};

/** guides: faults, 4.4 "blocks" and what of "encoding" a block can break. */
const BAD: readonly Bad[] = [
  ["signed by another than its author", blockOfC({ signedBy: 1 }), "BAD_SIGNATURE", "C2 is not"],
  ["with a bit of its signature changed", changed(blockOfC({}), -2), "BAD_SIGNATURE", "C2"],
  ["by an author that is none", blockOfC({ author: 4 }), "UNKNOWN_AUTHOR", "author 4 of 4"],
  ["of another epoch", blockOfC({ epoch: 1 }), "WRONG_EPOCH", "of epoch 1, not 0"],
  ["of round 0", blockOfC({ round: 0 }), "GENESIS_ROUND", "round 0"],
  ["without ancestors", blockOfC({ ancestors: [] }), "ANCESTOR_COUNT", "0 ancestors, not 1 … 4"],
  [
    "with more ancestors than validators",
    blockOfC({ ancestors: ["C1", "A1", "B1", "D1", "A0"] }),
    "ANCESTOR_COUNT",
    "5 ancestors",
  ],
  [
    "without its author's block before",
    blockOfC({ ancestors: ["A1", "B1", "D1"] }),
    "OWN_ANCESTOR_NOT_FIRST",
    "ancestor 0 of C2 is by 0",
  ],
  [
    "without a quorum of the round before",
    blockOfC({ ancestors: ["C1", "A1", "B0", "D0"] }),
    "PARENT_QUORUM",
    "stake 2 in round 1, a quorum is 3",
  ],
  [
    "with two ancestors of one author",
    blockOfC({ ancestors: ["C1", "A1", "B1", "B1.1"] }),
    "DUPLICATE_ANCESTOR_AUTHOR",
    "two ancestors of C2 are by 1",
  ],
  [
    "with an ancestor from the future",
    blockOfC({ ancestors: ["C1", "A1", "B1", "D3"] }),
    "ANCESTOR_ROUND",
    "ancestor 3 of C2 is of round 3",
  ],
  [
    "with itself as an ancestor",
    blockOfC({ ancestors: ["C2", "A1", "B1"] }),
    "ANCESTOR_ROUND",
    "ancestor 0 of C2 is of round 2",
  ],
  [
    "with an ancestor by nobody",
    blockOfC({ ancestors: ["C1", "A1", "B1", "F1"] }),
    "UNKNOWN_ANCESTOR_AUTHOR",
    "author 5 of 4",
  ],
  [
    "with a wrong digest of genesis",
    blockOfC({
      round: 1,
      ancestors: ["C0", "A0", { round: 0, author: 1, digest: new Uint8Array(32) }],
    }),
    "WRONG_GENESIS",
    "ancestor 2 of C1",
  ],
  [
    "with 4,097 transactions",
    blockOfC({ payload: payloadOf(LIMITS.blockTransactionCountMax + 1, 1) }),
    "TRANSACTION_COUNT",
    "4097 transactions in a block, at most 4096",
  ],
  [
    "with a transaction over 256 KiB",
    blockOfC({ payload: payloadOf(1, LIMITS.transactionBytesMax + 1) }),
    "TRANSACTION_SIZE",
    "262145 bytes, at most 262144",
  ],
  [
    "with more than 512 KiB of transactions",
    blockOfC({ payload: payloadOf(513, 1024) }),
    "TRANSACTION_BYTES",
    "525312 bytes of transactions in a block, at most 524288",
  ],
  [
    "larger than a block can be",
    new Uint8Array(LIMITS.blockBytesMax + 1),
    "BLOCK_SIZE",
    "4194305 bytes, at most 4194304",
  ],
  [
    "under another payload's digest",
    changed(blockOfC({ payload: payloadOf(1, 5) }), -1),
    "PAYLOAD_DIGEST",
    "payload of C2",
  ],
  [
    "with votes for commits out of order",
    blockOfC({
      commitVotes: [2, 1].map((index) => ({ index, digest: new Uint8Array(32) })),
    }),
    "COMMIT_VOTES",
    "C2 votes for commit 1 after 2",
  ],
  [
    "with more votes for commits than there may be",
    blockOfC({
      commitVotes: Array.from({ length: 101 }, (_, i) => ({
        index: i + 1,
        digest: new Uint8Array(32),
      })),
    }),
    "LENGTH_OVER_LIMIT",
    "101, at most 100",
  ],
  ["cut short", blockOfC({}).slice(0, 100), "TRUNCATED", "bytes"],
  ["cut off before its transactions", blockOfC({}).slice(0, -1), "TRUNCATED", "without payload"],
  [
    "with bytes after its end",
    blockOfC({ payload: Uint8Array.of(0, 0) }),
    "TRAILING_BYTES",
    "1 bytes",
  ],
  [
    "with a length that is not minimal",
    blockOfC({ payload: Uint8Array.of(0x80, 0) }),
    "LENGTH_NOT_CANONICAL",
    "needless zero",
  ],
  [
    "with more transactions than bytes",
    blockOfC({ payload: Uint8Array.of(9) }),
    "LENGTH_OVER_LIMIT",
    "9, at most 1",
  ],
  ["of no bytes", new Uint8Array(0), "TRUNCATED", "8 bytes wanted, 0 left"],
];

describe("a block is charged to the peer that sent it, whoever signed it, and changes nothing:", () => {
  test.each(BAD)("%s", (_title, bytes, code, says) => {
    const lone = loneCore();
    from(1, lone, firstBlock(1));
    const before = lone.core.progress;
    const effects = from(3, lone, bytes);
    expect(effects).toMatchObject([{ kind: "misbehaved", peer: 3, code }]);
    const [told] = effects;
    expect(told?.kind === "misbehaved" ? told.detail : "").toContain(`${code}: `);
    expect(told?.kind === "misbehaved" ? told.detail : "").toContain(says);
    expect(lone.core.progress).toEqual(before); // nothing kept, wanted or proposed
    // The others go on, and so does the sender with what is sound.
    expect(kindsOf(from(2, lone, firstBlock(2)))).toContain("persist");
    expect(kindsOf(from(3, lone, firstBlock(3)))).toContain("persist");
    expect(lone.core.progress.clockRound).toBe(2);
  });
});

test("what is sound in the same message is taken", () => {
  const lone = loneCore();
  const effects = from(3, lone, blockOfC({ signedBy: 1 }), firstBlock(1), new Uint8Array(3));
  const logged = effects.flatMap((each) => (each.kind === "persist" ? each.records : []));
  expect(effects.filter(({ kind }) => kind === "misbehaved").length).toBe(2);
  expect(logged.length).toBe(1);
});

describe("nobody is to blame", () => {
  test("for a timestamp more than 500 ms ahead: it is told, and the block taken, since commits take the median", () => {
    const lone = loneCore();
    const effects = from(1, lone, firstBlock(1, { timestampMs: 502 }));
    expect(effects).toContainEqual({ kind: "clockAhead", author: 1, aheadMs: 501 });
    expect(kindsOf(effects)).toContain("persist");
    expect(kindsOf(effects)).not.toContain("misbehaved");
    expect(kindsOf(from(2, lone, firstBlock(2, { timestampMs: 501 })))).not.toContain("clockAhead");
  });

  test("for a block of a round at or below its author's last one: it may only be late", () => {
    const lone = loneCore();
    const [b1, c1, d1] = [1, 2, 3].map((author) => accepted(firstBlock(author)));
    if (b1 === undefined || c1 === undefined || d1 === undefined) throw new Error("three blocks");
    const b2 = signedBlock(1, 2, [b1, c1, d1]);
    from(1, lone, b2);
    expect(lone.core.progress.suspendedCount).toBe(1);
    for (const late of [b1, c1, d1]) {
      expect(kindsOf(from(3, lone, late.bytes))).not.toContain("misbehaved");
    }
    expect(lone.core.progress.suspendedCount).toBe(0);
    expect(from(2, lone, b2, b1.bytes)).toEqual([]); // known: nothing comes of it
  });

  test("for an ancestor that nobody has: the block waits, the peers are asked in turn, all else goes on", () => {
    const lone = loneCore({ fetchDelayMs: 10 });
    const [b1, c1, d1] = [1, 2, 3].map((author) => accepted(firstBlock(author)));
    if (b1 === undefined || c1 === undefined || d1 === undefined) throw new Error("three blocks");
    from(1, lone, b1.bytes, c1.bytes, d1.bytes);
    const made = { round: 1, author: 1, digest: new Uint8Array(32).fill(5) };
    const waiting = signedBlock(3, 2, [d1, c1, lone.own, { ref: made }]);
    expect(kindsOf(from(3, lone, waiting))).not.toContain("misbehaved");
    expect(lone.core.progress).toMatchObject({ suspendedCount: 1, wantedCount: 1 });
    const asked: number[] = [];
    for (let now = 11; now < 20_000 && asked.length < 6; now += 100) {
      for (const each of lone.feed({ kind: "timerFired", timer: "synchronize", now })) {
        if (each.kind !== "fetchBlocks") continue;
        asked.push(each.peer);
        // They have no such block; the one who made it up sends another in its place.
        const blocks = each.peer === 3 ? [firstBlock(1, { timestampMs: 77 })] : [];
        const answer = { kind: "blocksFetched", request: each.request, blocks, now } as const;
        const charged = lone.feed(answer).filter(({ kind }) => kind === "misbehaved");
        expect(charged).toMatchObject(each.peer === 3 ? [{ peer: 3, code: "NOT_ASKED_FOR" }] : []);
      }
    }
    expect(new Set(asked)).toEqual(new Set([1, 2, 3]));
    const b2 = signedBlock(1, 2, [b1, c1, lone.own]);
    expect(kindsOf(from(1, lone, b2))).toContain("persist");
    expect(lone.core.progress).toMatchObject({ suspendedCount: 1, isHalted: false });
  });
});

test("two blocks of one author and round are evidence against the author, not the sender, and both are kept", () => {
  const lone = loneCore();
  from(3, lone, firstBlock(3));
  const effects = from(1, lone, firstBlock(3, { timestampMs: 9 }));
  expect(kindsOf(effects)).not.toContain("misbehaved");
  const told = present(
    effects.find((each) => each.kind === "equivocation"),
    "evidence",
  );
  expect(told.evidence).toMatchObject({ author: 3, round: 1 });
  expect(told.evidence.first).toEqual(accepted(firstBlock(3)).digest);
  expect(told.evidence.second).toEqual(accepted(firstBlock(3, { timestampMs: 9 })).digest);
  expect(kindsOf(effects)).toContain("persist");
  expect(lone.core.progress.clockRound).toBe(1); // two blocks, one author: with A two of three
});
