/**
 * Catching up by commits. A node that is far behind does not decide again what a quorum has decided: it fetches
 * commits, in ranges from several peers at once, checks the chain of their digests and the votes for the last
 * of each range, and fetches the blocks that they name, which need no further check than their digest.
 * Source: guides: consensus, 3.10 and 6.2.
 */
import { equalBytes } from "../base/bytes.ts";
import type { Milliseconds } from "../base/effects.ts";
import { RejectedError } from "../base/errors.ts";
import type { ConsensusParameters } from "../base/parameters.ts";
import { type AuthorityIndex, type BlockRef, refKey } from "./block.ts";
import type { BlockVerifier, VerifiedBlock } from "./block-verifier.ts";
import { type CommitProgress, isCertified } from "./certifiers.ts";
import { type Commit, decodeCommit } from "./commit.ts";
import type { Committee } from "./committee.ts";
import type { RequestId } from "./events.ts";
import type { BlockRequest } from "./synchronizer.ts";

export interface CommitRequest {
  readonly request: RequestId;
  readonly peer: AuthorityIndex;
  readonly fromIndex: number;
  readonly toIndex: number;
}

interface OpenBlocks extends BlockRequest {
  readonly deadline: Milliseconds;
}

interface OpenCommits extends CommitRequest {
  readonly deadline: Milliseconds;
}

export interface CommitSyncerOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly parameters: ConsensusParameters;
  readonly verifier: BlockVerifier;
  readonly progress: CommitProgress;
  readonly nextRequestId: () => RequestId;
  /** Is the block here already, accepted or suspended? */
  readonly hasBlock: (ref: BlockRef) => boolean;
}

/** Requests for blocks of commits at one time. */
const BLOCK_REQUESTS_MAX = 8;

export class CommitSyncer {
  private readonly options: CommitSyncerOptions;
  private isActive = false;
  private readonly openCommits = new Map<RequestId, OpenCommits>();
  private readonly openBlocks = new Map<RequestId, OpenBlocks>();
  /** Ranges that were asked for and did not come. */
  private readonly gaps: { readonly fromIndex: number; readonly toIndex: number }[] = [];
  private nextIndex = 1;
  /** Certified commits whose turn has not come. */
  private readonly certified = new Map<number, Commit>();
  /** Blocks of those, in their order, that are to be fetched. */
  private blockQueue: BlockRef[] = [];
  private readonly fetched = new Map<string, VerifiedBlock>();
  private fetchedBytes = 0;
  private rotation = 0;
  private due: Milliseconds = Infinity;
  /** When commits, or blocks of commits, came this way last. */
  private progressAt: Milliseconds = 0;
  private observedAt: Milliseconds = 0;

  constructor(options: CommitSyncerOptions) {
    this.options = options;
    this.rotation = options.ownIndex;
  }

  /**
   * True while this node is far behind and gets on this way. Where nothing comes, it goes on as if it were not behind:
   * others may be waiting for its blocks before they can give it anything.
   */
  get isCatchingUp(): boolean {
    return (
      this.isActive && this.observedAt < this.progressAt + this.options.parameters.fetchTimeoutMs
    );
  }

  /** So far behind that live blocks would only pile up: their votes are enough, commits do the rest. */
  isFar(lastIndex: number): boolean {
    const { progress, parameters } = this.options;
    return this.isCatchingUp && progress.isReached(lastIndex + parameters.commitLagRefuse);
  }

  get dueAt(): Milliseconds {
    return this.due;
  }

  /** Start when far behind, stop when near. @param lastIndex our last commit */
  observe(lastIndex: number, now: Milliseconds): void {
    const { progress, parameters } = this.options;
    const start = parameters.commitLagStart;
    this.observedAt = now;
    if (!this.isActive && progress.isReached(lastIndex + start)) {
      this.isActive = true;
      this.progressAt = now;
      this.nextIndex = Math.max(this.nextIndex, lastIndex + 1);
      this.due = now;
    } else if (
      this.isActive &&
      !progress.isReached(lastIndex + Math.max(1, Math.floor(start / 2)))
    ) {
      this.stop();
    }
  }

  /** Give up on silent peers, then ask for ranges and blocks up to the limits. */
  tick(
    lastIndex: number,
    now: Milliseconds,
  ): {
    readonly commits: readonly CommitRequest[];
    readonly blocks: readonly BlockRequest[];
  } {
    if (!this.isActive || now < this.due) return { commits: [], blocks: [] };
    for (const [request, { deadline }] of this.openCommits)
      if (deadline <= now) this.fail(request, now);
    for (const [request, { deadline }] of this.openBlocks)
      if (deadline <= now) this.fail(request, now);
    this.due = now + this.options.parameters.synchronizeIntervalMs;
    return { commits: this.askForCommits(lastIndex, now), blocks: this.askForBlocks(now) };
  }

  /** Who was asked; undefined for a request that is not ours. */
  peerOf(request: RequestId): AuthorityIndex | undefined {
    return (this.openCommits.get(request) ?? this.openBlocks.get(request))?.peer;
  }

  /** The request, if it is ours, brought nothing: ask elsewhere. */
  fail(request: RequestId, now: Milliseconds): void {
    const commits = this.openCommits.get(request);
    if (commits !== undefined) this.gaps.push(commits);
    const blocks = this.openBlocks.get(request);
    if (commits === undefined && blocks === undefined) return;
    if (blocks !== undefined) this.blockQueue = [...blocks.refs, ...this.blockQueue];
    this.openCommits.delete(request);
    this.openBlocks.delete(request);
    this.due = Math.min(this.due, now + this.options.parameters.fetchDelayMs);
  }

  /** @throws RejectedError if the answer proves nothing; the range is asked for elsewhere */
  commitsFetched(
    request: RequestId,
    commits: readonly Uint8Array[],
    certifiers: readonly Uint8Array[],
    now: Milliseconds,
  ): void {
    const open = this.openCommits.get(request);
    if (open === undefined) return;
    this.fail(request, now); // unless it turns out well
    const chain = this.checkChain(open, commits);
    const last = chain.at(-1);
    if (last === undefined) return;
    const { committee, verifier } = this.options;
    const headers = certifiers
      .slice(0, committee.size)
      .map((bytes) => verifier.verifyHeader(bytes));
    if (!isCertified(last, headers, committee)) {
      throw new RejectedError(
        "COMMIT_NOT_CERTIFIED",
        `commit ${last.index} comes with too few votes`,
      );
    }
    this.gaps.pop();
    this.due = now;
    this.progressAt = now;
    if (last.index < open.toIndex) {
      this.gaps.push({ fromIndex: last.index + 1, toIndex: open.toIndex });
    }
    for (const commit of chain) {
      this.certified.set(commit.index, commit);
      this.blockQueue.push(...commit.blocks);
    }
  }

  /** @throws RejectedError if a block is none of those asked for, or is not what its digest says */
  blocksFetched(request: RequestId, blocks: readonly Uint8Array[], now: Milliseconds): void {
    const open = this.openBlocks.get(request);
    if (open === undefined) return;
    this.openBlocks.delete(request);
    const wait = blocks.length === 0 ? this.options.parameters.fetchDelayMs : 0;
    this.due = Math.min(this.due, now + wait);
    const asked = new Map(open.refs.map((ref) => [refKey(ref), ref]));
    try {
      for (const bytes of blocks) {
        const block = this.options.verifier.read(bytes);
        const key = refKey(block);
        const ref = asked.get(key);
        if (ref === undefined) throw new RejectedError("NOT_ASKED_FOR", `block ${key}`);
        this.keep(key, this.options.verifier.certified(block, ref));
        asked.delete(key);
        this.progressAt = now;
      }
    } finally {
      this.blockQueue = [...asked.values(), ...this.blockQueue];
    }
  }

  /** The commit after `lastIndex`, if it is here and certified. */
  next(lastIndex: number): Commit | undefined {
    return this.certified.get(lastIndex + 1);
  }

  /** A block that was fetched for a commit. */
  block(ref: BlockRef): VerifiedBlock | undefined {
    return this.fetched.size === 0 ? undefined : this.fetched.get(refKey(ref));
  }

  /** The block is missing after all. */
  askAgain(ref: BlockRef): void {
    const isAsked = [...this.openBlocks.values()].some(({ refs }) =>
      refs.some(({ digest }) => equalBytes(digest, ref.digest)),
    );
    const isQueued = this.blockQueue.some(({ digest }) => equalBytes(digest, ref.digest));
    if (!isAsked && !isQueued) this.blockQueue.unshift(ref);
  }

  /** The commit was taken over, from here or by our own decision. */
  done(commit: Commit): void {
    this.certified.delete(commit.index);
    if (this.fetched.size === 0) return;
    for (const ref of commit.blocks) {
      const key = refKey(ref);
      this.fetchedBytes -= this.fetched.get(key)?.bytes.length ?? 0;
      this.fetched.delete(key);
    }
  }

  private stop(): void {
    this.isActive = false;
    this.openCommits.clear();
    this.openBlocks.clear();
    this.gaps.length = 0;
    this.certified.clear();
    this.blockQueue = [];
    this.fetched.clear();
    this.fetchedBytes = 0;
    this.nextIndex = 1;
    this.due = Infinity;
  }

  private keep(key: string, block: VerifiedBlock): void {
    if (this.fetched.has(key)) return;
    this.fetched.set(key, block);
    this.fetchedBytes += block.bytes.length;
  }

  private checkChain(open: OpenCommits, commits: readonly Uint8Array[]): readonly Commit[] {
    if (commits.length > open.toIndex - open.fromIndex + 1) {
      throw new RejectedError("NOT_ASKED_FOR", `${commits.length} commits, fewer were asked for`);
    }
    const chain = commits.map(decodeCommit);
    chain.forEach((commit, i) => {
      const before = i === 0 ? this.certified.get(open.fromIndex - 1) : chain[i - 1];
      const follows =
        commit.index === open.fromIndex + i &&
        (before === undefined || equalBytes(commit.previousDigest, before.digest));
      if (!follows) {
        throw new RejectedError(
          "COMMIT_CHAIN",
          `commit ${commit.index} does not follow commit ${open.fromIndex + i - 1}`,
        );
      }
    });
    return chain;
  }

  private askForCommits(lastIndex: number, now: Milliseconds): readonly CommitRequest[] {
    const { parameters, progress, nextRequestId } = this.options;
    const knownIndex = progress.knownIndex();
    const window = parameters.commitFetchesMax * parameters.commitsPerFetchMax;
    const asked: CommitRequest[] = [];
    while (this.openCommits.size < parameters.commitFetchesMax) {
      const range = this.nextRange(lastIndex, Math.min(knownIndex, lastIndex + window));
      if (range === undefined) break;
      const peer = this.nextPeer((each) => progress.of(each) >= range.toIndex);
      if (peer === undefined) {
        this.gaps.push(range);
        break;
      }
      const made = { request: nextRequestId(), peer, ...range };
      this.openCommits.set(made.request, { ...made, deadline: now + parameters.fetchTimeoutMs });
      asked.push(made);
    }
    return asked;
  }

  private nextRange(
    lastIndex: number,
    end: number,
  ): { readonly fromIndex: number; readonly toIndex: number } | undefined {
    for (let gap = this.gaps.shift(); gap !== undefined; gap = this.gaps.shift()) {
      const fromIndex = Math.max(gap.fromIndex, lastIndex + 1);
      if (fromIndex <= gap.toIndex) return { fromIndex, toIndex: gap.toIndex };
    }
    const fromIndex = Math.max(this.nextIndex, lastIndex + 1);
    if (fromIndex > end) return undefined;
    const toIndex = Math.min(end, fromIndex + this.options.parameters.commitsPerFetchMax - 1);
    this.nextIndex = toIndex + 1;
    return { fromIndex, toIndex };
  }

  private askForBlocks(now: Milliseconds): readonly BlockRequest[] {
    const { parameters, nextRequestId, hasBlock } = this.options;
    const asked: BlockRequest[] = [];
    while (this.blockQueue.length > 0 && this.openBlocks.size < BLOCK_REQUESTS_MAX) {
      if (this.fetchedBytes > parameters.commitBlockBytesMax && this.fetched.size > 0) break;
      const refs: BlockRef[] = [];
      let taken = 0;
      for (const ref of this.blockQueue) {
        if (refs.length === parameters.fetchRefsMax) break;
        taken++;
        if (!hasBlock(ref) && this.block(ref) === undefined) refs.push(ref);
      }
      this.blockQueue = this.blockQueue.slice(taken);
      if (refs.length === 0) continue;
      const peer = this.nextPeer(() => true);
      if (peer === undefined) break;
      const made = { request: nextRequestId(), peer, refs };
      this.openBlocks.set(made.request, { ...made, deadline: now + parameters.fetchTimeoutMs });
      asked.push(made);
    }
    return asked;
  }

  /** The next peer in turn that `suits`; never ourselves. */
  private nextPeer(suits: (peer: AuthorityIndex) => boolean): AuthorityIndex | undefined {
    const { committee, ownIndex } = this.options;
    for (let tried = 0; tried < committee.size; tried++) {
      this.rotation = (this.rotation + 1) % committee.size;
      if (this.rotation !== ownIndex && suits(this.rotation)) return this.rotation;
    }
    return undefined;
  }
}
