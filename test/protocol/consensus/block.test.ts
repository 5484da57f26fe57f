import { bcs } from "@mysten/bcs";
import fc from "fast-check";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encode } from "../../../protocol/base/codec.ts";
import { RejectedError, type RejectionCode } from "../../../protocol/base/errors.ts";
import {
  Block,
  type BlockRef,
  blockRefCodec,
  compareRefs,
  digestWords,
  EMPTY_PAYLOAD,
  encodeBlock,
  equalRefs,
  type Header,
  payloadDigestOf,
  refKey,
  SignedHeader,
} from "../../../protocol/consensus/block.ts";
import {
  decodeCommit,
  encodeCommit,
  sealCommit,
  voteFor,
} from "../../../protocol/consensus/commit.ts";

const VOTES_MAX = 100;
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const ref: fc.Arbitrary<BlockRef> = fc.record({ round: u32, author: fc.nat(0xffff), digest });
const header: fc.Arbitrary<Omit<Header, "payloadDigest">> = fc.record({
  epoch: fc.maxSafeNat(),
  round: u32,
  author: fc.nat(0xffff),
  timestampMs: fc.maxSafeNat(),
  ancestors: fc.array(ref, { maxLength: 200 }),
  commitVotes: fc.array(fc.record({ index: fc.maxSafeNat(), digest }), { maxLength: VOTES_MAX }),
});
const transactions = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 200 });

const refOracle = bcs.struct("BlockRef", {
  round: bcs.u32(),
  author: bcs.u16(),
  digest: bcs.fixedArray(32, bcs.u8()),
});
const headerOracle = bcs.struct("Header", {
  epoch: bcs.u64(),
  round: bcs.u32(),
  author: bcs.u16(),
  timestampMs: bcs.u64(),
  ancestors: bcs.vector(refOracle),
  commitVotes: bcs.vector(
    bcs.struct("CommitVote", { index: bcs.u64(), digest: bcs.fixedArray(32, bcs.u8()) }),
  ),
  payloadDigest: bcs.fixedArray(32, bcs.u8()),
});
const blockOracle = bcs.struct("SignedBlock", {
  header: headerOracle,
  signature: bcs.fixedArray(64, bcs.u8()),
  transactions: bcs.vector(bcs.vector(bcs.u8())),
});
const payloadOracle = bcs.vector(bcs.vector(bcs.u8()));

function tagged(tag: string, structure: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(structure.length);
  return createHash("sha256").update(`soma/${tag}/v1\0`).update(length).update(structure).digest();
}

function headerForOracle(
  given: Omit<Header, "payloadDigest">,
  payloadDigest: Uint8Array,
): Parameters<typeof headerOracle.serialize>[0] {
  return {
    ...given,
    ancestors: given.ancestors.map((each) => ({ ...each, digest: [...each.digest] })),
    commitVotes: given.commitVotes.map((each) => ({ ...each, digest: [...each.digest] })),
    payloadDigest: [...payloadDigest],
  };
}

const signature = Uint8Array.from({ length: 64 }, (_, i) => i);

describe("a block", () => {
  test("is, byte for byte, the BCS structure that its file's head describes, and is named by its header", () => {
    fc.assert(
      fc.property(header, transactions, (given, txs) => {
        const payload = payloadOracle.serialize(txs.map((tx) => [...tx])).toBytes();
        const named = headerForOracle(given, tagged("payload", payload));
        const expected = blockOracle
          .serialize({
            header: named,
            signature: [...signature],
            transactions: txs.map((tx) => [...tx]),
          })
          .toBytes();
        let signed: Uint8Array | undefined;
        // The payload in two parts: it is joined in place.
        const parts = [payload.subarray(0, 1), payload.subarray(1)];
        const bytes = encodeBlock(given, parts, (each) => {
          signed = each;
          return signature;
        });
        expect(Buffer.from(bytes)).toEqual(Buffer.from(expected));
        const block = new Block(bytes, VOTES_MAX);
        const headerDigest = tagged("block", headerOracle.serialize(named).toBytes());
        expect(Buffer.from(block.digest)).toEqual(headerDigest);
        expect(Buffer.from(signed ?? [])).toEqual(headerDigest);
        expect(Buffer.from(block.payload)).toEqual(Buffer.from(payload));
        expect(Buffer.from(block.payloadDigest)).toEqual(tagged("payload", payload));
        expect(Buffer.from(block.signature)).toEqual(Buffer.from(signature));
      }),
      { numRuns: 50 },
    );
  });

  test("is read back as it was written, from the middle of a larger buffer too", () => {
    fc.assert(
      fc.property(header, fc.nat(7), (given, offset) => {
        const bytes = encodeBlock(given, [EMPTY_PAYLOAD], () => signature);
        const larger = new Uint8Array(offset + bytes.length + 3).fill(0xee);
        larger.set(bytes, offset);
        const block = new Block(larger.subarray(offset, offset + bytes.length), VOTES_MAX);
        const { epoch, round, author, timestampMs } = block;
        expect({ epoch, round, author, timestampMs }).toEqual({
          epoch: given.epoch,
          round: given.round,
          author: given.author,
          timestampMs: given.timestampMs,
        });
        expect(block.ancestors.refs()).toEqual(given.ancestors);
        expect(block.commitVotes).toEqual(given.commitVotes);
        given.ancestors.forEach((each, i) => {
          expect(block.ancestors.hasDigest(i, digestWords(each.digest))).toBe(true);
          for (const at of [0, 13, 31]) {
            const other = Uint8Array.from(each.digest);
            other[at] = (other[at] ?? 0) ^ 1;
            expect(block.ancestors.hasDigest(i, digestWords(other))).toBe(false);
          }
        });
      }),
      { numRuns: 50 },
    );
  });

  test("signed twice is one block; with another payload, time or ancestor it is another", () => {
    const given = { epoch: 0, round: 1, author: 0, timestampMs: 5, ancestors: [], commitVotes: [] };
    const made = (
      changes: Partial<typeof given>,
      payload = EMPTY_PAYLOAD,
      by = signature,
    ): string => {
      const bytes = encodeBlock({ ...given, ...changes }, [payload], () => by);
      return refKey(new Block(bytes, VOTES_MAX));
    };
    expect(made({}, EMPTY_PAYLOAD, new Uint8Array(64))).toBe(made({}));
    const all = [made({}), made({ timestampMs: 6 }), made({}, Uint8Array.of(1, 0))];
    expect(new Set(all).size).toBe(3);
  });

  test("without a payload is no block, but a header", () => {
    const given = { epoch: 0, round: 1, author: 0, timestampMs: 5, ancestors: [], commitVotes: [] };
    const block = new Block(
      encodeBlock(given, [EMPTY_PAYLOAD], () => signature),
      VOTES_MAX,
    );
    expect(refusal(() => new Block(block.headerBytes, VOTES_MAX))).toBe("TRUNCATED");
    expect(new SignedHeader(block.headerBytes, VOTES_MAX).digest).toEqual(block.digest);
  });

  test("with more votes than allowed is refused before they are read", () => {
    const commitVotes = [1, 2, 3].map((index) => ({ index, digest: new Uint8Array(32) }));
    const given = { epoch: 0, round: 1, author: 0, timestampMs: 5, ancestors: [], commitVotes };
    const bytes = encodeBlock(given, [EMPTY_PAYLOAD], () => signature);
    expect(refusal(() => new Block(bytes, 2))).toBe("LENGTH_OVER_LIMIT");
    expect(new Block(bytes, 3).commitVotes.length).toBe(3);
  });
});

/** More in a fuzzing session: SOMA_FUZZ_COUNT=1000000. */
const FUZZ_COUNT = Number(process.env["SOMA_FUZZ_COUNT"] ?? 2000);

test("bytes from nowhere are no block, or exactly the block that they encode", () => {
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(header, fc.array(change, { maxLength: 3 }), fc.nat(3), (given, changes, cut) => {
      const sound = encodeBlock(given, [EMPTY_PAYLOAD], () => signature);
      const bytes = sound.slice(0, sound.length - cut);
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      let block: Block;
      try {
        block = new Block(bytes, VOTES_MAX);
      } catch (error) {
        if (error instanceof RejectedError) return;
        throw error;
      }
      const { epoch, round, author, timestampMs, commitVotes } = block;
      const ancestors = block.ancestors.refs();
      const again = encodeBlock(
        { epoch, round, author, timestampMs, ancestors, commitVotes },
        [block.payload],
        () => block.signature,
      );
      // All but the payload's digest, which is made anew here and compared by the verifier.
      const at = block.headerSize - 64 - 32;
      again.set(block.payloadDigest, at);
      expect(Buffer.from(again)).toEqual(Buffer.from(bytes));
    }),
    { numRuns: FUZZ_COUNT },
  );
});

test("a length of ancestors that nothing follows costs no memory", () => {
  const given = { epoch: 0, round: 1, author: 0, timestampMs: 5, ancestors: [], commitVotes: [] };
  const bytes = encodeBlock(given, [EMPTY_PAYLOAD], () => signature);
  const forged = Uint8Array.from([
    ...bytes.subarray(0, 22),
    0xff,
    0xff,
    0x03,
    ...bytes.subarray(23),
  ]);
  expect(refusal(() => new Block(forged, VOTES_MAX))).toBe("TRUNCATED");
});

test("the digest of no payload is the hash of an empty list", () => {
  expect(Buffer.from(payloadDigestOf(EMPTY_PAYLOAD))).toEqual(tagged("payload", Uint8Array.of(0)));
});

describe("references", () => {
  test("are ordered by round, author, digest, and equal only to themselves", () => {
    fc.assert(
      fc.property(ref, ref, (a, b) => {
        const key = (each: BlockRef): string =>
          [each.round, each.author].map((n) => String(n).padStart(10, "0")).join() +
          Buffer.from(each.digest).toString("hex");
        expect(Math.sign(compareRefs(a, b))).toBe(key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
        expect(equalRefs(a, b)).toBe(refKey(a) === refKey(b));
        expect(equalRefs(a, { ...a, digest: a.digest.slice() })).toBe(true);
      }),
    );
  });

  test("are encoded as the page says", () => {
    const one = { round: 3, author: 2, digest: new Uint8Array(32).fill(7) };
    expect(Buffer.from(encode(blockRefCodec, one))).toEqual(
      Buffer.from(refOracle.serialize({ ...one, digest: [...one.digest] }).toBytes()),
    );
  });
});

test("a commit is named by the BCS structure of index, digest before, leader, blocks and time", () => {
  const commitOracle = bcs.struct("Commit", {
    index: bcs.u64(),
    previousDigest: bcs.fixedArray(32, bcs.u8()),
    leader: refOracle,
    blocks: bcs.vector(refOracle),
    timestampMs: bcs.u64(),
  });
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      digest,
      fc.array(ref, { minLength: 1, maxLength: 50 }),
      fc.maxSafeNat(),
      (index, previousDigest, blocks, timestampMs) => {
        const leader = blocks.at(-1) ?? { round: 0, author: 0, digest: previousDigest };
        const commit = sealCommit({ index, previousDigest, leader, blocks, timestampMs });
        const plain = (each: BlockRef): { round: number; author: number; digest: number[] } => ({
          ...each,
          digest: [...each.digest],
        });
        const expected = commitOracle
          .serialize({
            index,
            previousDigest: [...previousDigest],
            leader: plain(leader),
            blocks: blocks.map(plain),
            timestampMs,
          })
          .toBytes();
        expect(Buffer.from(encodeCommit(commit))).toEqual(Buffer.from(expected));
        expect(Buffer.from(commit.digest)).toEqual(tagged("commit", expected));
        expect(decodeCommit(encodeCommit(commit))).toEqual(commit);
        expect(voteFor(commit)).toEqual({ index, digest: commit.digest });
      },
    ),
    { numRuns: 50 },
  );
});

function refusal(make: () => unknown): RejectionCode {
  try {
    make();
  } catch (error) {
    if (error instanceof RejectedError) return error.code;
    throw error;
  }
  throw new Error("it was accepted");
}
