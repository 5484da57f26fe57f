/**
 * One core, one queue in, effects performed in order: the only place where the pure consensus meets the world. A durable
 * persist is waited for before the next effect, so that no block of ours leaves before it is on disk. The same driver
 * runs on sockets and files, in memory, and in the simulator: what differs are the ports.
 */
import { assert, present, SomaError } from "../../base/errors.ts";
import { equalBytes } from "../../protocol/base/bytes.ts";
import type { Machine } from "../../protocol/base/effects.ts";
import type { RejectionCode } from "../../protocol/base/errors.ts";
import type { ConsensusParameters } from "../../protocol/base/parameters.ts";
import type { AuthorityIndex } from "../../protocol/consensus/block.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import type { Committee } from "../../protocol/consensus/committee.ts";
import type {
  ConsensusEffect,
  ConsensusEvent,
  ConsensusTimer,
  RecoveredLog,
  RequestId,
  TransactionBatch,
} from "../../protocol/consensus/events.ts";
import type { PeerMessage } from "../network/message.ts";
import { BlockServer } from "./block-server.ts";
import { BAN_MS, STRIKES_MAX } from "./limits.ts";
import { OpenRequests } from "./open-requests.ts";
import { PeerStreams } from "./peer-streams.ts";
import type {
  Application,
  Cancel,
  Clock,
  Network,
  Store,
  TransportFault,
  Watermark,
} from "./ports.ts";
import { CommitReplay, diverged, tapOwnBlocks } from "./replay.ts";

/** What a driver tells whoever runs it, in the order in which it happens. */
export type DriverNotice =
  | Extract<
      ConsensusEffect,
      {
        readonly kind:
          | "transactionsProposed"
          | "transactionsRefused"
          | "equivocation"
          | "clockAhead"
          | "epochEnded"
          /** The application has applied it. */
          | "commit";
      }
    >
  | {
      readonly kind: "misbehaved";
      readonly peer: AuthorityIndex;
      readonly code: RejectionCode | TransportFault;
      readonly detail: string;
    }
  | { readonly kind: "connected" | "disconnected" | "banned"; readonly peer: AuthorityIndex }
  /** The log is read, the application is up to date, the core runs. */
  | { readonly kind: "started"; readonly replayedCount: number; readonly cutBytes: number }
  /** The driver has stopped for good and the node must end: the disk failed, or the committee broke its promise. */
  | { readonly kind: "failed"; readonly error: SomaError };

export interface DriverOptions {
  readonly committee: Committee;
  readonly ownIndex: AuthorityIndex;
  readonly parameters: ConsensusParameters;
  readonly makeCore: (recovered: RecoveredLog) => Machine<ConsensusEvent, ConsensusEffect>;
  readonly clock: Clock;
  readonly network: Network;
  readonly store: Store;
  readonly application: Application;
  readonly onNotice: (notice: DriverNotice) => void;
}

type WithoutTime<E> = E extends unknown ? Omit<E, "now"> : never;

interface QueuedEvent {
  readonly event: WithoutTime<ConsensusEvent>;
  /** The message that brought it is dealt with. */
  readonly release: (() => void) | undefined;
}

export class ConsensusDriver {
  private readonly options: DriverOptions;
  private readonly streams: PeerStreams;
  private readonly server: BlockServer;
  private readonly requests = new OpenRequests();
  private readonly timers = new Map<ConsensusTimer, Cancel>();
  private readonly strikes = new Map<AuthorityIndex, number>();
  private readonly peers: readonly AuthorityIndex[];

  private core: Machine<ConsensusEvent, ConsensusEffect> | undefined;
  private watermark: Watermark = { index: 0, digest: new Uint8Array() };
  private queue: QueuedEvent[] = [];
  /** Of transactions in `queue`, which grows while the disk is waited for; those that the core has are its own to count. */
  private queuedTransactionBytes = 0;
  private effects: readonly ConsensusEffect[] = [];
  /** The next of `effects` to perform. */
  private effectIndex = 0;
  /** Our last block is asked for: also of peers that come later, as all do when a node starts. */
  private asksOwnBlock = false;
  /** Until the application is up to date, the core takes no step: its commits would come before those of the log. */
  private isReplaying = true;
  private isPumping = false;
  private isFlushing = false;
  private isStopped = false;

  constructor(options: DriverOptions) {
    this.options = options;
    const { committee, ownIndex, network } = options;
    this.peers = Array.from({ length: committee.size }, (_, i) => i).filter((i) => i !== ownIndex);
    this.streams = new PeerStreams(network, this.peers);
    this.server = new BlockServer(options);
  }

  /** Read the log, bring the application up to date, go. */
  start(): void {
    const { store, ownIndex, parameters, makeCore, application } = this.options;
    const recovered = store.recover({
      ownIndex,
      gcDepthRounds: parameters.gcDepthRounds,
      onFailure: (error) => {
        this.fail(error);
      },
    });
    const tap = tapOwnBlocks(recovered.log, ownIndex, parameters);
    this.core = makeCore(tap.log);
    for (const block of tap.ownBlocks()) this.streams.remember(block);
    this.watermark = application.restore(recovered.applied);
    const { lastCommitIndex: lastIndex, cutBytes } = recovered;
    new CommitReplay({ ...this.options, watermark: this.watermark, lastIndex }, (result) => {
      if (this.isStopped) return;
      if (result instanceof SomaError) {
        this.fail(result);
        return;
      }
      const replayedCount = result.index - this.watermark.index;
      this.watermark = result;
      this.options.onNotice({ kind: "started", replayedCount, cutBytes });
      this.isReplaying = false;
      this.queue.unshift({ event: { kind: "started" }, release: undefined }); // before what was submitted meanwhile
      this.pump();
      this.listen();
    }).run();
  }

  /** Transactions for our next blocks; refused if too many wait (a notice says so). */
  submit(batch: TransactionBatch): void {
    const { parameters, onNotice } = this.options;
    const sizeBytes = batch.frames.length;
    if (this.queuedTransactionBytes + sizeBytes > parameters.pendingTransactionBytesMax) {
      onNotice({ kind: "transactionsRefused", batch: batch.id });
      return;
    }
    this.queuedTransactionBytes += sizeBytes;
    this.enqueue({ kind: "transactionsSubmitted", batch }, () => {
      this.queuedTransactionBytes -= sizeBytes;
    });
  }

  /** Stop for good. What was appended is written. */
  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    for (const cancel of this.timers.values()) cancel();
    this.timers.clear();
    this.queue = [];
    this.options.network.stop();
    this.options.store.close();
  }

  private fail(error: SomaError): void {
    if (this.isStopped) return;
    this.stop();
    this.options.onNotice({ kind: "failed", error });
  }

  // ---- what happens ----

  private listen(): void {
    this.options.network.start({
      connected: (peer) => {
        if (this.isStopped) return;
        this.streams.connected(peer);
        const aboveRound = this.options.store.lastRound(peer);
        this.options.network.send(peer, { kind: "subscribe", aboveRound });
        if (this.asksOwnBlock) this.options.network.send(peer, { kind: "askOwnBlock" });
        this.options.onNotice({ kind: "connected", peer });
      },
      disconnected: (peer) => {
        if (this.isStopped) return;
        this.streams.disconnected(peer);
        this.server.disconnected(peer);
        for (const request of this.requests.takeAll(peer)) {
          this.enqueue({ kind: "fetchFailed", request });
        }
        this.options.onNotice({ kind: "disconnected", peer });
      },
      received: (from, message, release) => {
        if (!this.isStopped) this.receive(from, message, release);
      },
      writable: (peer) => {
        if (!this.isStopped) this.streams.sendMore(peer);
      },
      misbehaved: (peer, code, detail) => {
        if (!this.isStopped) this.strike({ kind: "misbehaved", peer, code, detail });
      },
    });
  }

  private receive(from: AuthorityIndex, message: PeerMessage, release: () => void): void {
    switch (message.kind) {
      case "subscribe":
        this.streams.subscribed(from, message.aboveRound);
        release();
        return;
      case "blocks":
        this.enqueue({ kind: "blocksReceived", from, blocks: message.blocks }, release);
        return;
      case "fetchBlocks":
      case "fetchCommits":
      case "askOwnBlock":
        this.server.answer(from, message, release);
        return;
      case "fetchedBlocks": {
        const { request, blocks } = message;
        // An answer counts only from whom we asked: else one peer could close another's request.
        if (this.requests.take(from, request)) {
          this.enqueue({ kind: "blocksFetched", request, blocks }, release);
        } else release();
        return;
      }
      case "fetchedCommits": {
        const { request, commits, certifiers } = message;
        if (this.requests.take(from, request)) {
          this.enqueue({ kind: "commitsFetched", request, commits, certifiers }, release);
        } else release();
        return;
      }
      case "ownBlock":
        this.enqueue({ kind: "ownBlockReported", from, block: message.block }, release);
        return;
    }
  }

  private enqueue(event: WithoutTime<ConsensusEvent>, release?: () => void): void {
    if (this.isStopped) return;
    this.queue.push({ event, release });
    this.pump();
  }

  // ---- the loop ----

  /** Perform what is to be performed, then step, until nothing is left or the disk is waited for. Never nested. */
  private pump(): void {
    if (this.isPumping || this.isFlushing || this.isReplaying) return;
    const core = present(this.core, "a driver is started before it is given events");
    this.isPumping = true;
    while (this.canGoOn()) {
      const effect = this.effects[this.effectIndex];
      if (effect !== undefined) {
        this.effectIndex++;
        this.perform(effect);
        continue;
      }
      const next = this.queue.shift();
      if (next === undefined) break;
      const event = { ...next.event, now: this.options.clock.now() };
      this.effects = core.step(event);
      this.effectIndex = 0;
      next.release?.();
    }
    this.isPumping = false;
  }

  private canGoOn(): boolean {
    return !this.isStopped && !this.isFlushing;
  }

  private perform(effect: ConsensusEffect): void {
    switch (effect.kind) {
      case "persist":
        this.options.store.append(effect.records);
        if (effect.durable) this.flush(effect.highestSignedRound);
        return;
      case "broadcast":
        this.asksOwnBlock = false; // the core knows where it stands
        this.streams.broadcast(effect.block);
        return;
      case "fetchBlocks": {
        const { request, peer, refs } = effect;
        this.ask(peer, { kind: "fetchBlocks", request, refs });
        return;
      }
      case "fetchCommits": {
        const { request, peer, fromIndex, toIndex } = effect;
        this.ask(peer, { kind: "fetchCommits", request, fromIndex, toIndex });
        return;
      }
      case "askOwnBlock":
        this.asksOwnBlock = true;
        for (const peer of this.peers) this.options.network.send(peer, { kind: "askOwnBlock" });
        return;
      case "setTimer":
        this.setTimer(effect.timer, effect.at);
        return;
      case "commit":
        this.apply(effect.commit, effect);
        return;
      case "misbehaved":
        this.strike(effect);
        return;
      case "transactionsProposed":
      case "transactionsRefused":
      case "equivocation":
      case "clockAhead":
      case "epochEnded":
        this.options.onNotice(effect);
        return;
      case "halted":
        this.fail(
          new SomaError({
            code: "CONSENSUS_HALTED",
            kind: "failure",
            what: `consensus has stopped: ${effect.reason}`,
            next: "more validators are faulty than the committee can bear; compare the logs of all before any is started again",
          }),
        );
        return;
    }
  }

  private flush(highestSignedRound: number | undefined): void {
    this.isFlushing = true;
    this.options.store.flush(highestSignedRound, () => {
      this.isFlushing = false;
      if (!this.isStopped) this.pump(); // returns at once if the disk answered before flush returned
    });
  }

  private ask(
    peer: AuthorityIndex,
    message: Extract<PeerMessage, { readonly kind: "fetchBlocks" | "fetchCommits" }>,
  ): void {
    if (this.options.network.send(peer, message)) this.requests.add(peer, message.request);
    else this.failLater(message.request);
  }

  /** Behind the effects that are being performed. */
  private failLater(request: RequestId): void {
    this.queue.push({ event: { kind: "fetchFailed", request }, release: undefined });
  }

  private setTimer(timer: ConsensusTimer, at: number): void {
    this.timers.get(timer)?.();
    const cancel = this.options.clock.schedule(at, () => {
      this.timers.delete(timer);
      this.enqueue({ kind: "timerFired", timer });
    });
    this.timers.set(timer, cancel);
  }

  private apply(
    commit: Commit,
    effect: Extract<ConsensusEffect, { readonly kind: "commit" }>,
  ): void {
    const { application, store, onNotice } = this.options;
    if (commit.index <= this.watermark.index) {
      // The log lost its tail, the application did not: the same commits come again.
      if (commit.index < this.watermark.index) return;
      if (!equalBytes(commit.digest, this.watermark.digest)) this.fail(diverged(commit.index));
      return;
    }
    assert(commit.index === this.watermark.index + 1, `commit ${commit.index} is out of order`);
    const state = application.apply(commit, effect.blocks);
    this.watermark = { index: commit.index, digest: commit.digest };
    store.appendApplied({ ...this.watermark, state });
    onNotice(effect);
  }

  private strike(notice: Extract<DriverNotice, { readonly kind: "misbehaved" }>): void {
    const { peer } = notice;
    this.options.onNotice(notice);
    const strikes = (this.strikes.get(peer) ?? 0) + 1;
    this.strikes.set(peer, strikes % STRIKES_MAX);
    if (strikes < STRIKES_MAX) return;
    this.options.network.ban(peer, BAN_MS);
    this.options.onNotice({ kind: "banned", peer });
  }
}
