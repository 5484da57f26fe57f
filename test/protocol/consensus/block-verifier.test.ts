import { describe, expect, test } from "vitest";
import { DrawnDag } from "../../../node/conformance/drawn-dag.ts";
import { RejectedError, type RejectionCode } from "../../../protocol/base/errors.ts";
import {
  type ConsensusParameters,
  consensusParameters,
} from "../../../protocol/base/parameters.ts";
import {
  type BlockRef,
  EMPTY_PAYLOAD,
  encodeBlock,
  type Header,
} from "../../../protocol/consensus/block.ts";
import { BlockVerifier } from "../../../protocol/consensus/block-verifier.ts";
import { committeeSignatures } from "../../../protocol/consensus/signatures.ts";
import { loopCommittee } from "../../support/consensus-loop.ts";

const { committee, signers } = loopCommittee(4);
const names = new DrawnDag(committee, []);

function verifier(
  changes: Partial<ConsensusParameters> = {},
  checkTransactions?: (payload: Uint8Array) => boolean,
): BlockVerifier {
  return new BlockVerifier({
    committee,
    parameters: consensusParameters(changes),
    checkSignature: committeeSignatures(committee),
    ...(checkTransactions === undefined ? {} : { checkTransactions }),
  });
}

interface Made extends Partial<Omit<Header, "ancestors" | "payloadDigest">> {
  /** Names such as "A1": a block by that author of that round. */
  readonly ancestors?: readonly (string | BlockRef)[];
  readonly payload?: Uint8Array;
  readonly signedBy?: number;
}

/** B's block of round 2, with what is changed about it. */
function made({ ancestors, payload = EMPTY_PAYLOAD, signedBy, ...changes }: Made = {}): Uint8Array {
  const header = {
    epoch: 0,
    round: 2,
    author: 1,
    timestampMs: 1,
    commitVotes: [],
    ancestors: (ancestors ?? ["B1", "A1", "C1"]).map((each) =>
      typeof each === "string" ? names.ref(each) : each,
    ),
    ...changes,
  };
  const signer = signers[signedBy ?? header.author];
  return encodeBlock(header, [payload], (digest) => signer?.sign(digest) ?? new Uint8Array(64));
}

function refusal(bytes: Uint8Array, by = verifier()): RejectionCode | "valid" {
  try {
    by.verify(by.read(bytes));
    return "valid";
  } catch (error) {
    if (error instanceof RejectedError) return error.code;
    throw error;
  }
}

const frames = (...sizes: readonly number[]): Uint8Array =>
  Uint8Array.from([
    sizes.length,
    ...sizes.flatMap((size) => [size, ...Array.from({ length: size }, () => 7)]),
  ]);

describe("a block is refused", () => {
  const cases: readonly [string, Made, RejectionCode | "valid"][] = [
    ["not, if every rule holds", {}, "valid"],
    [
      "not, with older ancestors besides the quorum",
      { round: 3, ancestors: ["B2", "A2", "C2", "D1"] },
      "valid",
    ],
    ["of another epoch", { epoch: 1 }, "WRONG_EPOCH"],
    ["of round 0", { round: 0 }, "GENESIS_ROUND"],
    ["by an author that is none, before anything is looked up", { author: 4 }, "UNKNOWN_AUTHOR"],
    ["by author 65,535", { author: 0xffff }, "UNKNOWN_AUTHOR"],
    ["signed by another validator", { signedBy: 2 }, "BAD_SIGNATURE"],
    ["not signed", { signedBy: 9 }, "BAD_SIGNATURE"],
    ["without ancestors", { ancestors: [] }, "ANCESTOR_COUNT"],
    [
      "with more ancestors than validators",
      { ancestors: ["B1", "A1", "C1", "D1", "A0"] },
      "ANCESTOR_COUNT",
    ],
    [
      "whose own block does not come first",
      { ancestors: ["A1", "B1", "C1"] },
      "OWN_ANCESTOR_NOT_FIRST",
    ],
    ["without a block of its own", { ancestors: ["A1", "C1", "D1"] }, "OWN_ANCESTOR_NOT_FIRST"],
    [
      "with two blocks of its own",
      { ancestors: ["B1", "A1", "C1", "B0"] },
      "OWN_ANCESTOR_NOT_FIRST",
    ],
    [
      "with an ancestor by nobody",
      { ancestors: ["B1", "A1", "C1", "E1"] },
      "UNKNOWN_ANCESTOR_AUTHOR",
    ],
    [
      "with an ancestor of its own round",
      { ancestors: ["B1", "A1", "C1", "D2"] },
      "ANCESTOR_ROUND",
    ],
    ["with an ancestor from the future", { ancestors: ["B1", "A1", "C1", "D9"] }, "ANCESTOR_ROUND"],
    [
      "with an ancestor of another genesis",
      { ancestors: ["B1", "A1", "C1", { round: 0, author: 3, digest: new Uint8Array(32) }] },
      "WRONG_GENESIS",
    ],
    [
      "with twins among its ancestors",
      { ancestors: ["B1", "A1", "C1", "C1.1"] },
      "DUPLICATE_ANCESTOR_AUTHOR",
    ],
    [
      "with an author at two rounds among its ancestors",
      { round: 3, ancestors: ["B2", "A2", "C2", "C1"] },
      "DUPLICATE_ANCESTOR_AUTHOR",
    ],
    [
      "without a quorum of the round just before",
      { round: 3, ancestors: ["B2", "A2", "C1", "D1"] },
      "PARENT_QUORUM",
    ],
    [
      "with votes for commits out of order",
      {
        commitVotes: [
          { index: 2, digest: new Uint8Array(32) },
          { index: 2, digest: new Uint8Array(32) },
        ],
      },
      "COMMIT_VOTES",
    ],
    [
      "with a vote for commit 0",
      { commitVotes: [{ index: 0, digest: new Uint8Array(32) }] },
      "COMMIT_VOTES",
    ],
  ];
  test.each(cases)("%s", (_title, changes, code) => {
    expect(refusal(made(changes))).toBe(code);
  });

  test.each([
    ["a payload that is not a list", Uint8Array.of(5), "LENGTH_OVER_LIMIT"],
    ["a payload with bytes after its list", Uint8Array.of(0, 0), "TRAILING_BYTES"],
    ["a transaction that is cut off", Uint8Array.of(1, 3, 1, 2), "TRUNCATED"],
    ["a length that is not minimal", Uint8Array.of(1, 0x81, 0x00, 9), "LENGTH_NOT_CANONICAL"],
    ["transactions up to every limit", frames(10, 10, 5), "valid"],
    ["a transaction over its limit", frames(11), "TRANSACTION_SIZE"],
    ["one transaction too many", frames(1, 1, 1, 1), "TRANSACTION_COUNT"],
    ["one byte too many", frames(10, 10, 6), "TRANSACTION_BYTES"],
  ] as const)("for %s", (_title, payload, code) => {
    const limits = {
      transactionBytesMax: 10,
      blockTransactionCountMax: 3,
      blockTransactionBytesMax: 25,
    };
    expect(refusal(made({ payload }), verifier(limits))).toBe(code);
  });

  test("when a payload was put under another's header", () => {
    const bytes = made({ payload: frames(3) });
    bytes[bytes.length - 1] = 8;
    expect(refusal(bytes)).toBe("PAYLOAD_DIGEST");
  });

  test("when the application refuses its transactions, asked with the payload as it came", () => {
    let asked: Uint8Array | undefined;
    const strict = verifier({}, (payload) => {
      asked = payload;
      return false;
    });
    expect(refusal(made({ payload: frames(3) }), strict)).toBe("TRANSACTION_INVALID");
    expect(Buffer.from(asked ?? [])).toEqual(Buffer.from(frames(3)));
  });

  test("when it is larger than any block, before it is read", () => {
    const limit = made().length;
    expect(refusal(made(), verifier({ blockBytesMax: limit }))).toBe("valid");
    expect(refusal(made(), verifier({ blockBytesMax: limit - 1 }))).toBe("BLOCK_SIZE");
  });
});

test("of several broken rules the first in the protocol's order is named", () => {
  const all = { epoch: 9, round: 0, author: 9, ancestors: [] };
  expect(refusal(made(all))).toBe("WRONG_EPOCH");
  expect(refusal(made({ ...all, epoch: 0 }))).toBe("GENESIS_ROUND");
  expect(refusal(made({ ...all, epoch: 0, round: 2 }))).toBe("UNKNOWN_AUTHOR");
  expect(refusal(made({ ...all, epoch: 0, round: 2, author: 1, signedBy: 2 }))).toBe(
    "BAD_SIGNATURE",
  );
});

test("quorums of parents are counted by stake", () => {
  const weighted = loopCommittee(4, [4, 1, 1, 1]);
  const rich = new DrawnDag(weighted.committee, []);
  const by = new BlockVerifier({
    committee: weighted.committee,
    parameters: consensusParameters(),
    checkSignature: () => true,
  });
  const block = (ids: readonly string[]): Uint8Array =>
    encodeBlock(
      {
        epoch: 0,
        round: 2,
        author: 1,
        timestampMs: 1,
        commitVotes: [],
        ancestors: ids.map((id) => rich.ref(id)),
      },
      [EMPTY_PAYLOAD],
      () => new Uint8Array(64),
    );
  expect(refusal(block(["B1", "A1"]), by)).toBe("valid");
  expect(refusal(block(["B1", "C1", "D1"]), by)).toBe("PARENT_QUORUM");
});

test("a block far ahead of any clock is accepted: commits take the median of timestamps", () => {
  expect(refusal(made({ timestampMs: Number.MAX_SAFE_INTEGER }))).toBe("valid");
});

describe("headers and certified blocks", () => {
  test("a header alone obeys the same rules, and nothing may follow it", () => {
    const by = verifier();
    const header = by.read(made()).headerBytes;
    expect(by.verifyHeader(header).author).toBe(1);
    expect(() => by.verifyHeader(made())).toThrow("TRAILING_BYTES");
    const forged = by.read(made({ signedBy: 2 })).headerBytes;
    expect(() => by.verifyHeader(forged)).toThrow("BAD_SIGNATURE");
  });

  test("a block that a certified commit names is taken by its digest, whatever its signature", () => {
    const by = verifier();
    const unsigned = by.read(made({ signedBy: 9 }));
    expect(by.certified(unsigned, unsigned.ref)).toBe(unsigned);
    expect(() => by.certified(by.read(made({ timestampMs: 2 })), unsigned.ref)).toThrow(
      "WRONG_DIGEST",
    );
    const bytes = made({ payload: frames(2) });
    bytes[bytes.length - 1] = 9;
    const changed = by.read(bytes);
    expect(() => by.certified(changed, changed.ref)).toThrow("PAYLOAD_DIGEST");
  });
});

test("signatures are checked against the author's own key", () => {
  const check = committeeSignatures(committee);
  const digest = new Uint8Array(32).fill(3);
  const signature = signers[2]?.sign(digest) ?? new Uint8Array(64);
  expect([0, 1, 2, 3, 4].map((author) => check(author, digest, signature))).toEqual([
    false,
    false,
    true,
    false,
    false,
  ]);
});
