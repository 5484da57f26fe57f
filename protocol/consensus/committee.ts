/**
 * The validators of an epoch and what counts as enough of them. All thresholds are by stake, over distinct authors:
 * quorum = total − floor((total − 1)/3), any two quorums share an honest validator; validity = floor((total − 1)/3) + 1,
 * at least one is honest. "2f + 1" is the same only where total = 3f + 1. Source: protocol part 9.
 */
import { assert, present } from "../../base/errors.ts";
import { compareBytes } from "../base/bytes.ts";
import { Writer } from "../base/wire.ts";
import type { Milliseconds } from "../base/effects.ts";
import {
  type AuthorityIndex,
  type BlockRef,
  type Digest,
  digestWords,
  type DigestWords,
  headerDigestOf,
  writeHeader,
} from "./block.ts";

export interface Authority {
  /** 32 bytes. Authorities are numbered by it, ascending. */
  readonly address: Uint8Array;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** In nano: the sum of all is at most 10^15, which a number holds exactly. */
  readonly stake: number;
}

/** Total stake that exists: 10^6 SOMA in nano. */
const STAKE_TOTAL_MAX = 1e15;

export interface CommitteeOptions {
  readonly epoch: number;
  /** In any order. */
  readonly authorities: readonly Authority[];
  /** Digest of what the epoch starts from: binds its blocks to one network and one history. 32 bytes. */
  readonly genesisDigest: Digest;
  readonly genesisTimestampMs: Milliseconds;
}

/** Fixed for an epoch; comes from the authenticated state of the epoch before, never from a message. */
export class Committee {
  readonly epoch: number;
  readonly size: number;
  readonly totalStake: number;
  /** Stake that is enough to decide. */
  readonly quorum: number;
  /** Stake that is enough to be sure of one honest validator. */
  readonly validity: number;
  readonly genesisDigest: Digest;
  readonly genesisTimestampMs: Milliseconds;
  /** The blocks of round 0, one an authority: unsigned, never sent, never committed. */
  readonly genesis: readonly BlockRef[];
  readonly genesisWords: readonly DigestWords[];
  private readonly authorities: readonly Authority[];
  private readonly stakes: Float64Array;

  constructor({ epoch, authorities, genesisDigest, genesisTimestampMs }: CommitteeOptions) {
    assert(authorities.length > 0 && authorities.length <= 0xffff, "1 … 65,535 validators");
    this.authorities = [...authorities].sort((a, b) => compareBytes(a.address, b.address));
    this.authorities.forEach(({ address, publicKey, stake }, i) => {
      const before = this.authorities[i - 1];
      assert(
        before === undefined || compareBytes(before.address, address) !== 0,
        "two validators have one address",
      );
      assert(publicKey.length === 32, "a public key has 32 bytes");
      assert(Number.isSafeInteger(stake) && stake > 0, `${stake} is no stake`);
    });
    this.epoch = epoch;
    this.size = authorities.length;
    this.stakes = Float64Array.from(this.authorities, ({ stake }) => stake);
    this.totalStake = this.stakes.reduce((sum, stake) => sum + stake, 0);
    assert(this.totalStake <= STAKE_TOTAL_MAX, "more stake than exists");
    this.validity = Math.floor((this.totalStake - 1) / 3) + 1;
    this.quorum = this.totalStake - this.validity + 1;
    this.genesisDigest = genesisDigest;
    this.genesisTimestampMs = genesisTimestampMs;
    this.genesis = this.authorities.map((_, author) => genesisRef(this, author));
    this.genesisWords = this.genesis.map(({ digest }) => digestWords(digest));
  }

  stake(author: AuthorityIndex): number {
    return this.stakes[author] ?? 0;
  }

  authority(author: AuthorityIndex): Authority {
    return present(this.authorities[author], `no authority ${author}`);
  }
}

/** The header of round 0 holds the genesis digest in place of a payload's. */
function genesisRef(committee: Committee, author: AuthorityIndex): BlockRef {
  const writer = new Writer();
  writeHeader(writer, {
    epoch: committee.epoch,
    round: 0,
    author,
    timestampMs: committee.genesisTimestampMs,
    ancestors: [],
    commitVotes: [],
    payloadDigest: committee.genesisDigest,
  });
  return { round: 0, author, digest: headerDigestOf(writer.finish()) };
}

/** Sums the stake of distinct authors. Cleared in no time, so that one serves many counts. */
export class StakeAggregator {
  private readonly committee: Committee;
  /** The count in which an author was added last. */
  private readonly addedIn: Uint32Array;
  private count = 1;
  private sum = 0;

  constructor(committee: Committee) {
    this.committee = committee;
    this.addedIn = new Uint32Array(committee.size);
  }

  get stake(): number {
    return this.sum;
  }

  get isQuorum(): boolean {
    return this.sum >= this.committee.quorum;
  }

  get isValidity(): boolean {
    return this.sum >= this.committee.validity;
  }

  has(author: AuthorityIndex): boolean {
    return this.addedIn[author] === this.count;
  }

  /** @returns false if the author was counted already */
  add(author: AuthorityIndex): boolean {
    if (this.has(author)) return false;
    this.addedIn[author] = this.count;
    this.sum += this.committee.stake(author);
    return true;
  }

  clear(): void {
    this.count++;
    this.sum = 0;
  }
}
