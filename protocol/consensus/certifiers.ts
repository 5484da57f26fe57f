/**
 * Which blocks vouch for which commit. A block votes for every commit that its author made since its block before. Once
 * one of the voters must be honest (validity), the signed headers that carry the votes prove the commit to anyone: honest
 * validators make the same commits. A quorum of votes would prove no more and may never come: of the quorum that is
 * ahead the faulty need not vote for what they claim, and the rest may be waiting for the very node that asks.
 */
import { equalBytes } from "../base/bytes.ts";
import type { AuthorityIndex, BlockRef, CommitVote, SignedHeader } from "./block.ts";
import type { CommitBody, Commit } from "./commit.ts";
import { type Committee, StakeAggregator } from "./committee.ts";

/** What is asked of a commit here. */
type Named = Pick<CommitBody, "index"> & Pick<Commit, "digest">;

interface Vote {
  readonly vote: CommitVote;
  readonly block: BlockRef;
}

/** For who serves commits: fed with every stored block, it gives the certificate of any commit. */
export class CertifierIndex {
  private readonly committee: Committee;
  private readonly votes = new Map<number, Vote[]>();

  constructor(committee: Committee) {
    this.committee = committee;
  }

  add(header: SignedHeader): void {
    if (header.commitVotes.length === 0) return;
    const block = header.ref;
    for (const vote of header.commitVotes) {
      const votes = this.votes.get(vote.index);
      if (votes === undefined) this.votes.set(vote.index, [{ vote, block }]);
      else votes.push({ vote, block });
    }
  }

  /** Blocks of distinct authors that vote for the commit, one of them honest; undefined while there are too few. */
  certifiersOf(commit: Named): readonly BlockRef[] | undefined {
    const authors = new StakeAggregator(this.committee);
    const blocks: BlockRef[] = [];
    for (const { vote, block } of this.votes.get(commit.index) ?? []) {
      if (authors.isValidity) break;
      if (equalBytes(vote.digest, commit.digest) && authors.add(block.author)) blocks.push(block);
    }
    return authors.isValidity ? blocks : undefined;
  }

  /** Votes for commits before `index` are no longer needed. */
  forgetBelow(index: number): void {
    for (const known of this.votes.keys()) if (known < index) this.votes.delete(known);
  }
}

/** True if the headers, already verified, hold votes for the commit by so many that one is honest. */
export function isCertified(
  commit: Named,
  headers: readonly SignedHeader[],
  committee: Committee,
): boolean {
  const authors = new StakeAggregator(committee);
  for (const header of headers) {
    const votes = header.commitVotes.some(
      ({ index, digest }) => index === commit.index && equalBytes(digest, commit.digest),
    );
    if (votes) authors.add(header.author);
  }
  return authors.isValidity;
}

/**
 * The highest commit that each validator has voted for: how far the others are. What so many claim that one of them is
 * honest has been made. To wait for the claims of a quorum would be to wait for the faulty.
 */
export class CommitProgress {
  private readonly committee: Committee;
  private readonly highest: number[];
  private top = 0;

  constructor(committee: Committee) {
    this.committee = committee;
    this.highest = Array.from({ length: committee.size }, () => 0);
  }

  /** @param header verified */
  note(header: SignedHeader): void {
    const last = header.commitVotes.at(-1);
    if (last === undefined || last.index <= (this.highest[header.author] ?? 0)) return;
    this.highest[header.author] = last.index;
    this.top = Math.max(this.top, last.index);
  }

  of(author: AuthorityIndex): number {
    return this.highest[author] ?? 0;
  }

  /** Has an honest validator made commit `index`? Costs nothing while nobody claims it. */
  isReached(index: number): boolean {
    if (index > this.top) return false;
    let stake = 0;
    this.highest.forEach((highest, author) => {
      if (highest >= index) stake += this.committee.stake(author);
    });
    return stake >= this.committee.validity;
  }

  /** The highest commit that an honest validator is known to have made. */
  knownIndex(): number {
    const descending = this.highest
      .map((index, author) => ({ index, stake: this.committee.stake(author) }))
      .sort((a, b) => b.index - a.index);
    let stake = 0;
    for (const each of descending) {
      stake += each.stake;
      if (stake >= this.committee.validity) return each.index;
    }
    return 0;
  }
}
