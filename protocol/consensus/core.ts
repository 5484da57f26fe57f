/**
 * A validator's consensus, whole: events in, effects out (events.ts). Synchronous, total, deterministic; the parts it
 * is made of are each about one rule, and this file only says what follows what. One core serves one epoch.
 * Source: seed, "Consensus"; Mysticeti, arXiv 2310.14821; protocol part 9.
 */
import { assert, present } from "../../base/errors.ts";
import { equalBytes } from "../base/bytes.ts";
import type { Machine, Milliseconds } from "../base/effects.ts";
import { SafetyError } from "../base/errors.ts";
import {
  type AuthorityIndex,
  type CommitVote,
  EMPTY_PAYLOAD,
  refName,
  type Round,
  type Slot,
} from "./block.ts";
import type { VerifiedBlock } from "./block-verifier.ts";
import { type Commit, voteFor } from "./commit.ts";
import type { Vertex } from "./dag-state.ts";
import type { ConsensusEffect, ConsensusEvent, RequestId } from "./events.ts";
import { charge } from "./intake.ts";
import { Outbox } from "./outbox.ts";
import {
  assemble,
  type ConsensusOptions,
  type ConsensusParts,
  type ConsensusProgress,
} from "./parts.ts";
import { markCommitted, recover } from "./recovery.ts";
import { Timers } from "./timers.ts";

/** Votes that wait for a block of ours; a node that catches up makes more commits than anyone needs its votes for. */
const PENDING_VOTES_MAX = 1000;

export class ConsensusCore implements Machine<ConsensusEvent, ConsensusEffect> {
  private readonly options: ConsensusOptions;
  private readonly parts: ConsensusParts;
  private readonly timers = new Timers();
  private readonly needsOwnBlock: boolean;

  private lastDecided: Slot | undefined;
  private pendingVotes: CommitVote[] = [];
  private lastOwnBlock: VerifiedBlock | undefined;
  /** Steady: see timers.ts. Only timestamps of blocks are by the clock on the wall. */
  private now: Milliseconds = 0;
  private clockSince: Milliseconds = 0;
  private proposedAt: Milliseconds = -Infinity;
  private epochEndRound: Round | undefined;
  private isHalted = false;
  /** Rounds of our blocks with transactions that are not ordered yet. */
  private readonly ownRounds = new Set<Round>();

  constructor(options: ConsensusOptions) {
    this.options = options;
    const parts = assemble(options);
    this.parts = parts;
    this.needsOwnBlock = recover(options.recovered, {
      ...parts,
      ownIndex: options.ownIndex,
      onAccepted: (vertex) => {
        parts.clock.add(vertex.round, vertex.author);
      },
      onOwnBlock: (block) => {
        this.noteOwn(block);
        this.ownRounds.add(block.round);
      },
      onCommit: (commit) => {
        this.noteCommit(commit);
        this.noteDecided(commit);
      },
    });
    parts.proposer.neverBelow(options.recovered.highestSignedRound);
  }

  get progress(): ConsensusProgress {
    const { manager, linearizer } = this.parts;
    return {
      clockRound: this.parts.clock.round,
      lastOwnRound: this.lastOwnBlock?.round ?? 0,
      decidedRound: this.decidedRound,
      lastCommit: linearizer.lastCommit,
      lastCommitDigest: linearizer.lastDigest,
      knownCommitIndex: this.parts.progress.knownIndex(),
      isCatchingUp: this.parts.commitSyncer.isCatchingUp,
      suspendedCount: manager.suspendedCount,
      wantedCount: manager.wanted.size,
      pendingTransactionBytes: this.parts.queue.sizeBytes,
      hasEpochEnded: this.epochEndRound !== undefined,
      isHalted: this.isHalted,
    };
  }

  step(event: ConsensusEvent): readonly ConsensusEffect[] {
    if (this.isHalted) return [];
    const out = new Outbox();
    this.now = this.timers.turnTo(event.now);
    try {
      this.handle(event, out);
      this.advance(out);
    } catch (error) {
      if (!(error instanceof SafetyError)) throw error;
      this.isHalted = true;
      return [{ kind: "halted", reason: error.message }];
    }
    this.setTimers(out);
    return out.effects();
  }

  // ---- what happened ----

  private handle(event: ConsensusEvent, out: Outbox): void {
    switch (event.kind) {
      case "started":
        this.start(out);
        return;
      case "blocksReceived": {
        const blocks = this.parts.intake.blocks(event.from, event.blocks, event.now, out);
        const { commitSyncer, linearizer } = this.parts;
        if (!commitSyncer.isFar(linearizer.lastIndex)) this.accept(blocks, event.from, out);
        return;
      }
      case "blocksFetched":
        this.takeFetched(event.request, event.blocks, event.now, out);
        return;
      case "commitsFetched": {
        const { request, commits, certifiers } = event;
        const peer = this.parts.commitSyncer.peerOf(request);
        if (peer === undefined) return;
        charge(peer, out, () => {
          this.parts.commitSyncer.commitsFetched(request, commits, certifiers, this.now);
        });
        return;
      }
      case "fetchFailed":
        this.parts.commitSyncer.fail(event.request, this.now);
        this.parts.synchronizer.close(event.request, this.now);
        return;
      case "ownBlockReported":
        this.takeOwnBlock(event.from, event.block, out);
        return;
      case "timerFired":
        this.timers.fired(event.timer);
        if (event.timer === "rebroadcast") this.rebroadcast(out);
        if (event.timer === "ownBlock") this.searchOwnBlock(out);
        return;
      case "transactionsSubmitted":
        if (!this.parts.queue.add(event.batch)) {
          out.add({ kind: "transactionsRefused", batch: event.batch.id });
        }
        return;
    }
  }

  private start(out: Outbox): void {
    this.clockSince = this.now;
    this.searchOwnBlock(out);
    // It is on disk; whether anyone has received it nobody knows.
    if (this.lastOwnBlock !== undefined) out.add({ kind: "broadcast", block: this.lastOwnBlock });
    this.timers.set("rebroadcast", this.now + this.options.parameters.rebroadcastIntervalMs, out);
  }

  private searchOwnBlock(out: Outbox): void {
    if (!this.needsOwnBlock || this.parts.ownBlocks.isDone) return;
    out.add({ kind: "askOwnBlock" });
    this.timers.set("ownBlock", this.now + this.options.parameters.ownBlockRetryMs, out);
  }

  /** For peers that were away, or lost it: only while nothing newer goes out. */
  private rebroadcast(out: Outbox): void {
    const { rebroadcastIntervalMs } = this.options.parameters;
    const isIdle = this.now >= this.proposedAt + rebroadcastIntervalMs;
    if (isIdle && this.lastOwnBlock !== undefined) {
      out.add({ kind: "broadcast", block: this.lastOwnBlock });
    }
    this.timers.set("rebroadcast", this.now + rebroadcastIntervalMs, out);
  }

  private takeFetched(
    request: RequestId,
    encoded: readonly Uint8Array[],
    wall: Milliseconds,
    out: Outbox,
  ): void {
    const peer = this.parts.commitSyncer.peerOf(request);
    if (peer !== undefined) {
      charge(peer, out, () => {
        this.parts.commitSyncer.blocksFetched(request, encoded, this.now);
      });
      return;
    }
    const open = this.parts.synchronizer.close(request, this.now);
    if (open === undefined) return; // too late: it was asked for elsewhere
    const blocks = this.parts.intake.blocks(open.peer, encoded, wall, out, open.refs);
    this.accept(blocks, open.peer, out);
  }

  private takeOwnBlock(from: AuthorityIndex, bytes: Uint8Array | undefined, out: Outbox): void {
    const block = bytes === undefined ? undefined : this.parts.intake.ownBlock(from, bytes, out);
    if (bytes !== undefined && block === undefined) return; // no answer
    this.parts.ownBlocks.answer(from);
    if (block === undefined) return;
    this.parts.proposer.neverBelow(block.round);
    this.accept([block], from, out);
  }

  private accept(blocks: readonly VerifiedBlock[], from: AuthorityIndex, out: Outbox): void {
    const { accepted, missing } = this.parts.manager.accept(blocks);
    this.entered(accepted, out);
    this.parts.synchronizer.miss(missing, from, this.now);
  }

  /** Blocks are new in the DAG. */
  private entered(vertices: readonly Vertex[], out: Outbox): void {
    for (const vertex of vertices) {
      const block = present(vertex.block, "a block that enters is here");
      out.block(block);
      if (this.parts.clock.add(vertex.round, vertex.author)) this.clockSince = this.now;
      const twins = this.parts.dag.blocksOf(vertex.round, vertex.author);
      if (vertex.author === this.options.ownIndex) {
        if (twins.length > 1) {
          throw new SafetyError(`two blocks ${refName(vertex)} are signed with our key`);
        }
        this.noteOwn(block);
      }
      const [first, second] = twins;
      if (twins.length === 2 && first !== undefined && second !== undefined) {
        const { author, round } = vertex;
        out.add({
          kind: "equivocation",
          evidence: { author, round, first: first.digest, second: second.digest },
        });
      }
    }
  }

  private noteOwn(block: VerifiedBlock): void {
    this.parts.proposer.noteOwn(block);
    const lastVote = block.commitVotes.at(-1)?.index ?? 0;
    if (lastVote > 0) this.pendingVotes = this.pendingVotes.filter(({ index }) => index > lastVote);
    if (block.round > (this.lastOwnBlock?.round ?? 0)) this.lastOwnBlock = block;
  }

  // ---- what follows from it ----

  /** Decide, take over, propose: until nothing more follows. Then ask for what is missed. */
  private advance(out: Outbox): void {
    do {
      this.commitDecided(out);
      this.commitCertified(out);
    } while (this.propose(out));
    this.parts.commitSyncer.observe(this.parts.linearizer.lastIndex, this.now);
    const { commits, blocks } = this.parts.commitSyncer.tick(
      this.parts.linearizer.lastIndex,
      this.now,
    );
    for (const each of commits) out.add({ kind: "fetchCommits", ...each });
    const { isCatchingUp } = this.parts.commitSyncer;
    for (const each of [...blocks, ...this.parts.synchronizer.tick(this.now, isCatchingUp)]) {
      out.add({ kind: "fetchBlocks", ...each });
    }
  }

  private commitDecided(out: Outbox): void {
    for (const decision of this.parts.committer.decide(this.lastDecided)) {
      this.lastDecided = { round: decision.round, offset: decision.offset };
      if (decision.status !== "commit" || this.epochEndRound !== undefined) continue;
      const { commit, vertices } = this.parts.linearizer.commit(decision.leader);
      const blocks = vertices.map(({ block }) => present(block, "a block not committed is here"));
      this.committed(commit, blocks, out);
    }
  }

  /** Commits that a quorum has made and we have fetched. */
  private commitCertified(out: Outbox): void {
    while (this.epochEndRound === undefined) {
      const commit = this.parts.commitSyncer.next(this.parts.linearizer.lastIndex);
      const blocks = commit === undefined ? undefined : this.blocksOf(commit);
      if (commit === undefined || blocks === undefined) return;
      if (!equalBytes(commit.previousDigest, this.parts.linearizer.lastDigest)) {
        throw new SafetyError(`commit ${commit.index} of a quorum does not follow our own`);
      }
      this.entered(this.parts.manager.acceptCommitted(blocks), out);
      this.parts.linearizer.resume(commit);
      this.noteDecided(commit);
      this.committed(commit, blocks, out);
    }
  }

  private blocksOf(commit: Commit): readonly VerifiedBlock[] | undefined {
    const blocks: VerifiedBlock[] = [];
    for (const ref of commit.blocks) {
      const block =
        this.parts.dag.find(ref)?.block ??
        this.parts.commitSyncer.block(ref) ??
        this.parts.manager.suspendedBlock(ref);
      if (block !== undefined) blocks.push(block);
      else this.parts.commitSyncer.askAgain(ref);
    }
    return blocks.length === commit.blocks.length ? blocks : undefined;
  }

  /** A commit is new: decided here or taken over. */
  private committed(commit: Commit, blocks: readonly VerifiedBlock[], out: Outbox): void {
    out.commit(commit, blocks);
    this.noteCommit(commit);
    this.parts.commitSyncer.done(commit);
    markCommitted(commit, this.parts.dag);
    const { gcRound } = this.parts.linearizer;
    this.proposeAgain(commit, gcRound);
    this.entered(this.parts.manager.collect(gcRound), out);
    this.parts.dag.evict(gcRound);
    this.parts.committer.forget(gcRound);
    if (this.epochEndRound !== undefined) out.afterCommits({ kind: "epochEnded", last: commit });
  }

  /** The same for a commit from the log. */
  private noteCommit(commit: Commit): void {
    this.pendingVotes.push(voteFor(commit));
    if (this.pendingVotes.length > PENDING_VOTES_MAX) this.pendingVotes.shift();
    const isLast = commit.leader.round >= this.options.parameters.epochLengthRounds;
    if (isLast) this.epochEndRound = commit.leader.round;
  }

  private noteDecided({ leader }: Commit): void {
    const offset = this.parts.committer.offsetOf(leader.round, leader.author);
    if (offset === undefined) throw new SafetyError(`${refName(leader)}, committed, led no slot`);
    this.lastDecided = { round: leader.round, offset };
  }

  /** Transactions of our blocks that will never be ordered go into the next one. */
  private proposeAgain({ blocks }: Commit, gcRound: Round): void {
    const { ownIndex } = this.options;
    for (const { round, author } of blocks) if (author === ownIndex) this.ownRounds.delete(round);
    for (const round of this.ownRounds) {
      if (round > gcRound) continue;
      this.ownRounds.delete(round);
      const block = this.parts.dag.blocksOf(round, ownIndex)[0]?.block;
      if (block !== undefined) this.parts.queue.takeBack(block.payload);
    }
  }

  /** @returns true if a block of ours was made */
  private propose(out: Outbox): boolean {
    const { parameters } = this.options;
    if (!this.mayPropose) return false;
    const { now, clockSince, decidedRound } = this;
    const clock = this.parts.clock.round;
    const readiness = this.parts.proposer.readiness({ now, clock, clockSince, decidedRound });
    if (readiness.kind === "early") this.timers.setBy("roundDelay", readiness.at, out);
    if (readiness.kind !== "ready") return false;
    const { round } = readiness;
    let batches: readonly number[] = [];
    const block = this.parts.proposer.propose({
      round,
      now,
      timestampMs: this.timers.wall,
      gcRound: this.parts.linearizer.gcRound,
      commitVotes: this.pendingVotes.slice(0, parameters.blockCommitVotesMax),
      takePayload: () => {
        if (this.epochEndRound !== undefined) return [EMPTY_PAYLOAD]; // nothing more is ordered
        const taken = this.parts.queue.take();
        batches = taken.batches;
        return taken.payload;
      },
    });
    if (block === undefined) return false;
    const { accepted } = this.parts.manager.accept([block]);
    assert(accepted.length > 0, "our own block enters the DAG at once");
    this.entered(accepted, out);
    out.ownBlock(block);
    this.proposedAt = now;
    this.ownRounds.add(round);
    if (batches.length > 0) out.add({ kind: "transactionsProposed", round, batches });
    return true;
  }

  /** Not while our last block is unknown, not far behind, and not for ever after the epoch's end. */
  private get mayPropose(): boolean {
    const { epochEndRound, parts } = this;
    if (this.needsOwnBlock && !this.parts.ownBlocks.isDone) return false;
    if (this.parts.commitSyncer.isCatchingUp) return false;
    const { gcDepthRounds } = this.options.parameters;
    return epochEndRound === undefined || parts.clock.round <= epochEndRound + gcDepthRounds;
  }

  private get decidedRound(): Round {
    return this.parts.committer.slotAfter(this.lastDecided).round - 1;
  }

  private setTimers(out: Outbox): void {
    const { now, clockSince } = this;
    const leaderTimeout = clockSince + this.options.parameters.leaderTimeoutMs;
    const isWaiting = this.parts.proposer.highestSignedRound < this.parts.clock.round;
    if (isWaiting && leaderTimeout > now) this.timers.setBy("leaderTimeout", leaderTimeout, out);
    const due = Math.min(this.parts.synchronizer.dueAt, this.parts.commitSyncer.dueAt);
    this.timers.setBy("synchronize", Math.max(now + 1, due), out);
  }
}
