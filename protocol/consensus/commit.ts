/**
 * A commit: one committed leader and the blocks that it brings into the order. Commits are numbered 1, 2, … and chained
 * by digest, so that the digest of the last names the whole sequence. Source: protocol part 9.
 */
import { decode, encode, fixedBytes, struct, u64, vector } from "../base/codec.ts";
import type { Milliseconds } from "../base/effects.ts";
import { DIGEST_BYTES, hashDomain, hashStructure } from "../base/hash.ts";
import { type BlockRef, blockRefCodec, type CommitVote, type Digest } from "./block.ts";

export interface CommitBody {
  /** 1, 2, … in an epoch. */
  readonly index: number;
  /** Digest of commit index − 1; the epoch's genesis digest before the first. */
  readonly previousDigest: Digest;
  readonly leader: BlockRef;
  /** By (round, author, digest); the leader is last. */
  readonly blocks: readonly BlockRef[];
  readonly timestampMs: Milliseconds;
}

export interface Commit extends CommitBody {
  readonly digest: Digest;
}

/** A leader brings blocks of at most the rounds that are not collected yet, twins included: far below this. */
const COMMIT_BLOCKS_MAX = 1_000_000;
const DOMAIN = hashDomain("commit");

const bodyCodec = struct<CommitBody>({
  index: u64,
  previousDigest: fixedBytes(DIGEST_BYTES),
  leader: blockRefCodec,
  blocks: vector(blockRefCodec, COMMIT_BLOCKS_MAX),
  timestampMs: u64,
});

export function sealCommit(body: CommitBody): Commit {
  return { ...body, digest: hashStructure(DOMAIN, encode(bodyCodec, body)) };
}

export function encodeCommit(commit: Commit): Uint8Array {
  return encode(bodyCodec, commit);
}

/** @throws RejectedError */
export function decodeCommit(bytes: Uint8Array): Commit {
  return { ...decode(bodyCodec, bytes), digest: hashStructure(DOMAIN, bytes) };
}

export function voteFor(commit: Commit): CommitVote {
  return { index: commit.index, digest: commit.digest };
}
