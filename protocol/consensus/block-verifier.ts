/**
 * The one maker of `VerifiedBlock`: every rule that a block must obey by itself, in the order of the conformance cases.
 * Pure functions of the bytes and the committee: every honest validator refuses the same blocks. What depends on other
 * blocks (are the ancestors here?) is the block manager's; what depends on our clock is no reason to refuse.
 * Source: protocol part 9; shared conformance cases, "blockValidity".
 */
import { present } from "../../base/errors.ts";
import { equalBytes } from "../base/bytes.ts";
import { Reader } from "../base/wire.ts";
import { RejectedError } from "../base/errors.ts";
import type { ConsensusParameters } from "../base/parameters.ts";
import {
  type AncestorList,
  type AuthorityIndex,
  Block,
  type BlockRef,
  type Digest,
  payloadDigestOf,
  refName,
  SignedHeader,
} from "./block.ts";
import { type Committee, StakeAggregator } from "./committee.ts";

declare const verified: unique symbol;
/** A block that obeys every rule, made only here. Immutable, so that nodes of one process may share it. */
export type VerifiedBlock = Block & { readonly [verified]: true };
/** A header that obeys every rule that concerns a header. */
export type VerifiedHeader = SignedHeader & { readonly [verified]: true };

/** True if `signature` is the author's on `digest`. */
export type SignatureCheck = (
  author: AuthorityIndex,
  digest: Digest,
  signature: Uint8Array,
) => boolean;

export interface BlockVerifierOptions {
  readonly committee: Committee;
  readonly parameters: ConsensusParameters;
  readonly checkSignature: SignatureCheck;
  /** The application's word on a block's transactions: must be a pure function of the payload. */
  readonly checkTransactions?: (payload: Uint8Array) => boolean;
}

export class BlockVerifier {
  private readonly committee: Committee;
  private readonly parameters: ConsensusParameters;
  private readonly checkSignature: SignatureCheck;
  private readonly checkTransactions: ((payload: Uint8Array) => boolean) | undefined;
  private readonly authors: StakeAggregator;
  private readonly parents: StakeAggregator;

  constructor(options: BlockVerifierOptions) {
    this.committee = options.committee;
    this.parameters = options.parameters;
    this.checkSignature = options.checkSignature;
    this.checkTransactions = options.checkTransactions;
    this.authors = new StakeAggregator(options.committee);
    this.parents = new StakeAggregator(options.committee);
  }

  /** The form of a block: enough to tell whether it is known already. @param bytes kept, not copied  @throws RejectedError */
  read(bytes: Uint8Array): Block {
    const limit = this.parameters.blockBytesMax;
    if (bytes.length > limit) {
      throw new RejectedError("BLOCK_SIZE", `a block of ${bytes.length} bytes, at most ${limit}`);
    }
    return new Block(bytes, this.parameters.blockCommitVotesMax);
  }

  /** A block from a peer, against every rule. @throws RejectedError */
  verify(block: Block): VerifiedBlock {
    this.header(block);
    this.payloadDigest(block);
    this.transactions(block.payload);
    return block as VerifiedBlock;
  }

  /** The header of a block from a peer. @throws RejectedError */
  verifyHeader(bytes: Uint8Array): VerifiedHeader {
    const header = new SignedHeader(bytes, this.parameters.blockCommitVotesMax);
    if (header.headerSize !== bytes.length) {
      throw new RejectedError("TRAILING_BYTES", `bytes after the header of ${refName(header)}`);
    }
    this.header(header);
    return header as VerifiedHeader;
  }

  /**
   * A block that a certified commit names: a quorum vouches for the digest, so neither signature nor rules are checked
   * again. @throws RejectedError WRONG_DIGEST if it is not that block
   */
  certified(block: Block, ref: BlockRef): VerifiedBlock {
    if (!equalBytes(block.digest, ref.digest)) {
      throw new RejectedError("WRONG_DIGEST", `${refName(block)} is not the ${refName(ref)} named`);
    }
    this.payloadDigest(block);
    return block as VerifiedBlock;
  }

  /** A block from our own log, which guards its bytes and holds verified blocks only. @throws RejectedError */
  restored(bytes: Uint8Array): VerifiedBlock {
    return this.read(bytes) as VerifiedBlock;
  }

  /** A block that we have just made: as `verify`, but for the signature and the hash, which we made ourselves. */
  own(bytes: Uint8Array): VerifiedBlock {
    const block = this.read(bytes);
    this.place(block);
    this.ancestors(block);
    this.votes(block);
    this.transactions(block.payload);
    return block as VerifiedBlock;
  }

  private header(header: SignedHeader): void {
    this.place(header);
    if (!this.checkSignature(header.author, header.digest, header.signature)) {
      throw new RejectedError("BAD_SIGNATURE", `${refName(header)} is not signed by its author`);
    }
    this.ancestors(header);
    this.votes(header);
  }

  /** Epoch, round, author. The author is in range before anything is looked up by it. */
  private place(header: SignedHeader): void {
    if (header.epoch !== this.committee.epoch) {
      throw new RejectedError(
        "WRONG_EPOCH",
        `${refName(header)} is of epoch ${header.epoch}, not ${this.committee.epoch}`,
      );
    }
    if (header.round < 1) {
      throw new RejectedError("GENESIS_ROUND", `blocks of round 0 are known, not sent`);
    }
    if (header.author >= this.committee.size) {
      throw new RejectedError(
        "UNKNOWN_AUTHOR",
        `author ${header.author} of ${this.committee.size} validators`,
      );
    }
  }

  private ancestors(header: SignedHeader): void {
    const { ancestors, round, author } = header;
    const name = refName(header);
    const { size } = this.committee;
    if (ancestors.count < 1 || ancestors.count > size) {
      throw new RejectedError(
        "ANCESTOR_COUNT",
        `${name} has ${ancestors.count} ancestors, not 1 … ${size}`,
      );
    }
    for (let i = 0; i < ancestors.count; i++) {
      if ((ancestors.author(i) === author) !== (i === 0)) {
        throw new RejectedError(
          "OWN_ANCESTOR_NOT_FIRST",
          `ancestor ${i} of ${name} is by ${ancestors.author(i)}: the author's own is first, and only there`,
        );
      }
    }
    for (let i = 0; i < ancestors.count; i++) {
      if (ancestors.author(i) >= size) {
        throw new RejectedError(
          "UNKNOWN_ANCESTOR_AUTHOR",
          `ancestor ${i} of ${name} is by author ${ancestors.author(i)} of ${size} validators`,
        );
      }
    }
    for (let i = 0; i < ancestors.count; i++) {
      if (ancestors.round(i) >= round) {
        throw new RejectedError(
          "ANCESTOR_ROUND",
          `ancestor ${i} of ${name} is of round ${ancestors.round(i)}`,
        );
      }
      if (ancestors.round(i) === 0) this.genesis(ancestors, i, name);
    }
    this.quorumOfParents(header, name);
  }

  private genesis(ancestors: AncestorList, i: number, name: string): void {
    const known = present(this.committee.genesisWords[ancestors.author(i)], "an author in range");
    if (!ancestors.hasDigest(i, known)) {
      throw new RejectedError("WRONG_GENESIS", `ancestor ${i} of ${name} is of another genesis`);
    }
  }

  private quorumOfParents({ ancestors, round }: SignedHeader, name: string): void {
    this.authors.clear();
    this.parents.clear();
    for (let i = 0; i < ancestors.count; i++) {
      const author = ancestors.author(i);
      if (!this.authors.add(author)) {
        throw new RejectedError(
          "DUPLICATE_ANCESTOR_AUTHOR",
          `two ancestors of ${name} are by ${author}`,
        );
      }
      if (ancestors.round(i) === round - 1) this.parents.add(author);
    }
    if (!this.parents.isQuorum) {
      throw new RejectedError(
        "PARENT_QUORUM",
        `${name} has parents with stake ${this.parents.stake} in round ${round - 1}, a quorum is ${this.committee.quorum}`,
      );
    }
  }

  private votes(header: SignedHeader): void {
    let before = 0;
    for (const { index } of header.commitVotes) {
      if (index <= before) {
        throw new RejectedError(
          "COMMIT_VOTES",
          `${refName(header)} votes for commit ${index} after ${before}`,
        );
      }
      before = index;
    }
  }

  private payloadDigest(block: Block): void {
    if (!equalBytes(payloadDigestOf(block.payload), block.payloadDigest)) {
      throw new RejectedError(
        "PAYLOAD_DIGEST",
        `the payload of ${refName(block)} is not the one named in its header`,
      );
    }
  }

  /** Walk from length to length: how many, how long; what they say is the application's. */
  private transactions(payload: Uint8Array): void {
    const limits = this.parameters;
    const reader = new Reader(payload);
    const count = reader.length(payload.length);
    let sizeBytes = 0;
    for (let i = 0; i < count; i++) {
      const size = reader.length(payload.length);
      if (size > limits.transactionBytesMax) {
        throw new RejectedError(
          "TRANSACTION_SIZE",
          `a transaction of ${size} bytes, at most ${limits.transactionBytesMax}`,
        );
      }
      reader.skip(size);
      sizeBytes += size;
    }
    reader.finish();
    if (count > limits.blockTransactionCountMax) {
      throw new RejectedError(
        "TRANSACTION_COUNT",
        `${count} transactions in a block, at most ${limits.blockTransactionCountMax}`,
      );
    }
    if (sizeBytes > limits.blockTransactionBytesMax) {
      throw new RejectedError(
        "TRANSACTION_BYTES",
        `${sizeBytes} bytes of transactions in a block, at most ${limits.blockTransactionBytesMax}`,
      );
    }
    if (this.checkTransactions?.(payload) === false) {
      throw new RejectedError("TRANSACTION_INVALID", "a transaction that the application refuses");
    }
  }
}
