/** Sound encodings of everything that validators read from each other or from their disks, drawn at random. */
import { Writer } from "../../protocol/base/wire.ts";
import { type BlockRef, encodeBlock, type Header } from "../../protocol/consensus/block.ts";
import { encodeCommit, sealCommit } from "../../protocol/consensus/commit.ts";
import type { Rng } from "../../tokenizers/random.ts";
import type { PeerMessage } from "../network/message.ts";
import { drawnCommittee } from "./drawn-dag.ts";

/** The committee that the blocks are of. */
export const FUZZ_COMMITTEE = drawnCommittee(4);

export function drawnBytes(rng: Rng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => rng.uniform(256));
}

/** Up to `lengthMax` of them. */
function list<T>(rng: Rng, lengthMax: number, make: () => T): readonly T[] {
  return Array.from({ length: rng.uniform(lengthMax + 1) }, make);
}

/** An integer whose size is drawn first: small ones are as likely as large ones. */
export function drawnCount(rng: Rng): number {
  return Math.floor(rng.unit() * 2 ** rng.uniform(54));
}

function drawnRef(rng: Rng): BlockRef {
  return { round: rng.word(), author: rng.uniform(0x10000), digest: drawnBytes(rng, 32) };
}

/** Transactions with their lengths. */
export function drawnPayload(rng: Rng): Uint8Array {
  const writer = new Writer();
  const transactions = list(rng, 4, () => drawnBytes(rng, rng.uniform(60)));
  writer.length(transactions.length);
  for (const transaction of transactions) {
    writer.length(transaction.length);
    writer.raw(transaction);
  }
  return writer.finish().slice();
}

/** A block's form, whatever it says. */
export function drawnBlock(rng: Rng): Uint8Array {
  const header = {
    epoch: drawnCount(rng),
    round: rng.word(),
    author: rng.uniform(0x10000),
    timestampMs: drawnCount(rng),
    ancestors: list(rng, 4, () => drawnRef(rng)),
    commitVotes: list(rng, 3, () => ({ index: drawnCount(rng), digest: drawnBytes(rng, 32) })),
  };
  const signature = drawnBytes(rng, 64);
  return encodeBlock(header, [drawnPayload(rng)], () => signature);
}

/** A block of round 1 that every rule but the signature's lets pass, around a payload. */
export function blockAround(payload: Uint8Array): Uint8Array {
  const header: Omit<Header, "payloadDigest"> = {
    epoch: 0,
    round: 1,
    author: 0,
    timestampMs: 1,
    ancestors: FUZZ_COMMITTEE.genesis,
    commitVotes: [],
  };
  return encodeBlock(header, [payload], () => new Uint8Array(64));
}

export function drawnCommit(rng: Rng, index = drawnCount(rng)): Uint8Array {
  return encodeCommit(
    sealCommit({
      index,
      previousDigest: drawnBytes(rng, 32),
      leader: drawnRef(rng),
      blocks: list(rng, 5, () => drawnRef(rng)),
      timestampMs: drawnCount(rng),
    }),
  );
}

export function drawnMessage(rng: Rng): PeerMessage {
  const part = (): Uint8Array => drawnBytes(rng, rng.uniform(60));
  const request = drawnCount(rng);
  switch (rng.uniform(8)) {
    case 0:
      return { kind: "subscribe", aboveRound: rng.word() };
    case 1:
      return { kind: "blocks", blocks: list(rng, 4, part) };
    case 2:
      return { kind: "fetchBlocks", request, refs: list(rng, 4, () => drawnRef(rng)) };
    case 3:
      return { kind: "fetchedBlocks", request, blocks: list(rng, 4, part) };
    case 4:
      return {
        kind: "fetchCommits",
        request,
        fromIndex: drawnCount(rng),
        toIndex: drawnCount(rng),
      };
    case 5: {
      const commits = list(rng, 3, () => drawnCommit(rng));
      return { kind: "fetchedCommits", request, commits, certifiers: list(rng, 3, part) };
    }
    case 6:
      return { kind: "askOwnBlock" };
    default:
      return { kind: "ownBlock", block: rng.uniform(2) === 0 ? undefined : part() };
  }
}
