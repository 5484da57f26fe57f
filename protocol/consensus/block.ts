/**
 * A consensus block, and what names it. On the wire and on disk:
 *
 *   SignedBlock  = { header: Header, signature: [64], transactions: vector<vector<u8>> }
 *   Header       = { epoch u64, round u32, author u16, timestampMs u64, ancestors: vector<BlockRef>,
 *                    commitVotes: vector<{ index u64, digest [32] }>, payloadDigest [32] }
 *   BlockRef     = { round u32, author u16, digest [32] }
 *
 * all in BCS. The transactions, with their lengths, are the block's *payload*: one opaque run of bytes, named in the
 * header by H("payload", payload), hashed once by each node and never decoded here. The block's digest is
 * H("block", Header), so a proof of equivocation is two short signed headers. Source: protocol part 9.
 */
import { assert } from "../../base/errors.ts";
import { compareBytes, toHex } from "../base/bytes.ts";
import { fixedBytes, struct, u16, u32, u64 } from "../base/codec.ts";
import type { Milliseconds } from "../base/effects.ts";
import { RejectedError } from "../base/errors.ts";
import { DIGEST_BYTES, hashDomain, hashStructure } from "../base/hash.ts";
import { lengthSize, readCount, Reader, Writer } from "../base/wire.ts";

export type Round = number;
/** Place of a validator in its committee, ascending by address. */
export type AuthorityIndex = number;
/** 32 bytes; never changed. */
export type Digest = Uint8Array;

export interface BlockRef {
  readonly round: Round;
  readonly author: AuthorityIndex;
  readonly digest: Digest;
}

/** A place for a leader: the offset-th leader of a round. */
export interface Slot {
  readonly round: Round;
  readonly offset: number;
}

/** Says of a commit what its maker saw: the digest that commit `index` has. */
export interface CommitVote {
  /** 1, 2, … */
  readonly index: number;
  readonly digest: Digest;
}

export const SIGNATURE_BYTES = 64;
export const REF_BYTES = 4 + 2 + DIGEST_BYTES;
const VOTE_BYTES = 8 + DIGEST_BYTES;
const HEADER_SIZE_WITHOUT_LISTS = 8 + 4 + 2 + 8 + DIGEST_BYTES;

const BLOCK_DOMAIN = hashDomain("block");
const PAYLOAD_DOMAIN = hashDomain("payload");

/** The transactions of a block without any: a list of length 0. */
export const EMPTY_PAYLOAD = Uint8Array.of(0);
const EMPTY_PAYLOAD_DIGEST = hashStructure(PAYLOAD_DOMAIN, EMPTY_PAYLOAD);

export const blockRefCodec = struct<BlockRef>({
  round: u32,
  author: u16,
  digest: fixedBytes(DIGEST_BYTES),
});
export const commitVoteCodec = struct<CommitVote>({ index: u64, digest: fixedBytes(DIGEST_BYTES) });

/** What a list of refs may hold before any committee is known: no committee has more members than a u16 counts. */
const ANCESTORS_MAX = 0xffff;

/** A digest as eight words: comparing two is the inner loop of everything. */
export type DigestWords = Int32Array;

export function digestWords(digest: Digest): DigestWords {
  const view = new DataView(digest.buffer, digest.byteOffset, DIGEST_BYTES);
  const words = new Int32Array(DIGEST_BYTES / 4);
  for (let i = 0; i < words.length; i++) words[i] = view.getInt32(4 * i, true);
  return words;
}

/** A block's references, read in place: one object per reference would cost more than all the rest of a block. */
export class AncestorList {
  readonly count: number;
  private readonly view: DataView;
  private readonly start: number;

  /** @param view of the block's bytes  @param start of the first reference */
  constructor(view: DataView, start: number, count: number) {
    this.view = view;
    this.start = start;
    this.count = count;
  }

  round(i: number): Round {
    return this.view.getUint32(this.start + i * REF_BYTES, true);
  }

  author(i: number): AuthorityIndex {
    return this.view.getUint16(this.start + i * REF_BYTES + 4, true);
  }

  hasDigest(i: number, words: DigestWords): boolean {
    const at = this.start + i * REF_BYTES + 6;
    for (let k = 0; k < words.length; k++) {
      if (this.view.getInt32(at + 4 * k, true) !== words[k]) return false;
    }
    return true;
  }

  /** A copy that outlives the block. */
  ref(i: number): BlockRef {
    const at = this.view.byteOffset + this.start + i * REF_BYTES + 6;
    return {
      round: this.round(i),
      author: this.author(i),
      digest: new Uint8Array(this.view.buffer.slice(at, at + DIGEST_BYTES)),
    };
  }

  refs(): readonly BlockRef[] {
    return Array.from({ length: this.count }, (_, i) => this.ref(i));
  }
}

export interface Header {
  readonly epoch: number;
  readonly round: Round;
  readonly author: AuthorityIndex;
  readonly timestampMs: Milliseconds;
  /** The author's own block before first; then at most one of each other author. */
  readonly ancestors: readonly BlockRef[];
  readonly commitVotes: readonly CommitVote[];
  readonly payloadDigest: Digest;
}

/** A decoded header with its signature: nothing in it is checked yet but its form. */
export class SignedHeader {
  readonly epoch: number;
  readonly round: Round;
  readonly author: AuthorityIndex;
  readonly timestampMs: Milliseconds;
  readonly ancestors: AncestorList;
  readonly commitVotes: readonly CommitVote[];
  readonly digest: Digest;
  /** Header, signature, and of a block the payload: as on the wire. */
  readonly bytes: Uint8Array;
  /** Where the signature starts. */
  private readonly signatureAt: number;

  /** Read the start of `bytes`, which are kept: nobody may change them. @param votesMax of commit votes  @throws RejectedError */
  constructor(bytes: Uint8Array, votesMax: number) {
    const reader = new Reader(bytes);
    this.bytes = bytes;
    this.epoch = reader.u64();
    this.round = reader.u32();
    this.author = reader.u16();
    this.timestampMs = reader.u64();
    const ancestorCount = readCount(reader, REF_BYTES, ANCESTORS_MAX);
    this.ancestors = new AncestorList(reader.view, reader.offset, ancestorCount);
    reader.skip(ancestorCount * REF_BYTES);
    const voteCount = readCount(reader, VOTE_BYTES, votesMax);
    this.commitVotes =
      voteCount === 0
        ? NO_VOTES
        : Array.from({ length: voteCount }, () => commitVoteCodec.read(reader));
    reader.skip(DIGEST_BYTES);
    this.signatureAt = reader.offset;
    reader.skip(SIGNATURE_BYTES);
    this.digest = headerDigestOf(bytes.subarray(0, this.signatureAt));
  }

  get ref(): BlockRef {
    return { round: this.round, author: this.author, digest: this.digest };
  }

  get payloadDigest(): Digest {
    return this.bytes.subarray(this.signatureAt - DIGEST_BYTES, this.signatureAt);
  }

  get signature(): Uint8Array {
    return this.bytes.subarray(this.signatureAt, this.headerSize);
  }

  /** Of header and signature. */
  get headerSize(): number {
    return this.signatureAt + SIGNATURE_BYTES;
  }

  /** Header and signature as encoded: what evidence and certificates are made of. */
  get headerBytes(): Uint8Array {
    return this.bytes.subarray(0, this.headerSize);
  }
}

const NO_VOTES: readonly CommitVote[] = [];

/** A decoded block. Only its form is known to be right: see block-verifier.ts for the rest. */
export class Block extends SignedHeader {
  /** @param bytes kept, not copied: nobody may change them afterwards  @throws RejectedError */
  constructor(bytes: Uint8Array, votesMax: number) {
    super(bytes, votesMax);
    if (bytes.length === this.headerSize) {
      throw new RejectedError("TRUNCATED", "a block without payload");
    }
  }

  /** The transactions with their lengths, opaque. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.headerSize);
  }
}

/** Name of a block's payload. Hashing it is most of what a large block costs. */
export function payloadDigestOf(payload: Uint8Array): Digest {
  if (payload.length === 1 && payload[0] === 0) return EMPTY_PAYLOAD_DIGEST;
  return hashStructure(PAYLOAD_DOMAIN, payload);
}

export function writeHeader(writer: Writer, header: Header): void {
  writer.u64(header.epoch);
  writer.u32(header.round);
  writer.u16(header.author);
  writer.u64(header.timestampMs);
  writer.length(header.ancestors.length);
  for (const ref of header.ancestors) {
    writer.u32(ref.round);
    writer.u16(ref.author);
    writer.raw(ref.digest);
  }
  writer.length(header.commitVotes.length);
  for (const vote of header.commitVotes) commitVoteCodec.write(writer, vote);
  writer.raw(header.payloadDigest);
}

/** Digest of a header: what its author signs. */
export function headerDigestOf(encodedHeader: Uint8Array): Digest {
  return hashStructure(BLOCK_DOMAIN, encodedHeader);
}

/**
 * A block's bytes. The payload is copied once, here, into its place.
 * @param payload in parts, joined in their order  @param sign gives the signature of a digest, 64 bytes
 */
export function encodeBlock(
  header: Omit<Header, "payloadDigest">,
  payload: readonly Uint8Array[],
  sign: (digest: Digest) => Uint8Array,
): Uint8Array {
  const payloadAt = headerSize(header) + SIGNATURE_BYTES;
  const bytes = new Uint8Array(payload.reduce((sum, part) => sum + part.length, payloadAt));
  let offset = payloadAt;
  for (const part of payload) {
    bytes.set(part, offset);
    offset += part.length;
  }
  const writer = new Writer(payloadAt);
  writeHeader(writer, { ...header, payloadDigest: payloadDigestOf(bytes.subarray(payloadAt)) });
  const signature = sign(headerDigestOf(writer.finish()));
  assert(signature.length === SIGNATURE_BYTES, "a signature has 64 bytes");
  writer.raw(signature);
  assert(writer.finish().length === payloadAt, "a header is as long as it was reckoned");
  bytes.set(writer.finish());
  return bytes;
}

function headerSize({ ancestors, commitVotes }: Omit<Header, "payloadDigest">): number {
  return (
    HEADER_SIZE_WITHOUT_LISTS +
    lengthSize(ancestors.length) +
    ancestors.length * REF_BYTES +
    lengthSize(commitVotes.length) +
    commitVotes.length * VOTE_BYTES
  );
}

/** Round, author, digest: the order of everything that is committed. */
export function compareRefs(a: BlockRef, b: BlockRef): number {
  return a.round - b.round || a.author - b.author || compareBytes(a.digest, b.digest);
}

export function equalRefs(a: BlockRef, b: BlockRef): boolean {
  return compareRefs(a, b) === 0;
}

/** A key for maps of references that are not in the DAG: the few that are missed, not the many that are there. */
export function refKey(ref: BlockRef): string {
  return `${ref.round}/${ref.author}/${toHex(ref.digest)}`;
}

/** For people: "A12" for the first authority's block of round 12, as drawings and papers write it. */
export function refName(ref: { readonly round: Round; readonly author: AuthorityIndex }): string {
  return `${authorName(ref.author)}${ref.round}`;
}

/** A … Z, then V26, V27, … */
export function authorName(author: AuthorityIndex): string {
  return author < 26 ? String.fromCharCode(65 + author) : `V${author}.`;
}
