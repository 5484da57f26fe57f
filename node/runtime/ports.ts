/**
 * What a driver needs of the world: time, peers, a disk, an application. Callbacks and no promises, so that a simulator
 * performs the same calls in virtual time, in an order of its own, and may crash between any two of them. A callback may
 * come before the call that was given it has returned.
 */
import type { SomaError } from "../../base/errors.ts";
import type { Milliseconds } from "../../protocol/base/effects.ts";
import type { RejectionCode } from "../../protocol/base/errors.ts";
import type {
  AuthorityIndex,
  Block,
  BlockRef,
  Digest,
  Round,
} from "../../protocol/consensus/block.ts";
import type { Commit } from "../../protocol/consensus/commit.ts";
import type { LogRecord, RecoveredLog } from "../../protocol/consensus/events.ts";
import type { PeerMessage } from "../network/message.ts";

export type Cancel = () => void;

export interface Clock {
  /** Never less than before. */
  now(): Milliseconds;
  /** Call `run` once, at `at` or soon after; never before this call has returned. */
  schedule(at: Milliseconds, run: () => void): Cancel;
}

/** Messages to and from the other validators, known by their index. In order and whole, or not at all. */
export interface Network {
  start(handler: NetworkHandler): void;
  /** @returns false if the peer is not connected or too much waits for it: the message was not taken */
  send(peer: AuthorityIndex, message: PeerMessage): boolean;
  /** Close the connection to a peer that broke a rule, and refuse it for a while. */
  ban(peer: AuthorityIndex, forMs: Milliseconds): void;
  /** No handler is called any more. */
  stop(): void;
}

export interface NetworkHandler {
  connected(peer: AuthorityIndex): void;
  /** After it `connected` comes again before anything else of this peer. */
  disconnected(peer: AuthorityIndex): void;
  /** @param release called once the message is dealt with: until then its bytes count as waiting, and the transport reads no more than its limit */
  received(from: AuthorityIndex, message: PeerMessage, release: () => void): void;
  /** After a `send` that was refused there is room again. */
  writable(peer: AuthorityIndex): void;
  /** The peer sent what is no message. The transport has closed the connection. */
  misbehaved(peer: AuthorityIndex, code: RejectionCode | TransportFault, detail: string): void;
}

/** Rules of a transport, besides those of encoding. */
export type TransportFault =
  /** A frame or a handshake was begun and not ended in time. */
  "FRAME_TIMEOUT";

/** How far an application has come: the one watermark between consensus and application. */
export interface Watermark {
  /** Of the last commit applied; 0 before the first. */
  readonly index: number;
  /** Digest of that commit; the genesis digest before the first. */
  readonly digest: Digest;
}

/** A watermark together with what the application knows at it, in one record: after a crash both are there or neither. */
export interface AppliedRecord extends Watermark {
  /** The application's own: a state root, a delta. Opaque here. */
  readonly state: Uint8Array;
}

export interface RecoverOptions {
  readonly ownIndex: AuthorityIndex;
  readonly gcDepthRounds: Round;
  /** The disk failed (also where nobody waits for it): what was promised durable may not be. The node must stop. */
  readonly onFailure: (error: SomaError) => void;
}

export interface RecoveredState {
  /** For the core. Read once. */
  readonly log: RecoveredLog;
  /** The last commit in the log; 0 if there is none. */
  readonly lastCommitIndex: number;
  readonly applied: AppliedRecord | undefined;
  /** Bytes of a torn tail that were cut off at opening: written when the node died, and never promised durable. */
  readonly cutBytes: number;
}

/** The log of one epoch. Answers are undefined or short where something is not there; bytes are handed out to keep. */
export interface Store {
  /** What was there at opening. Called once, first. */
  recover(options: RecoverOptions): RecoveredState;
  /** In order behind what is there. Not durable yet; readable at once. */
  append(records: readonly LogRecord[]): void;
  appendApplied(record: AppliedRecord): void;
  /** Make all appended so far durable, and then the round in a file of its own. After a failure `done` never comes. */
  flush(highestSignedRound: Round | undefined, done: () => void): void;
  /** Those that are there, in the order of `refs`, until `sizeBytesMax` is passed (at least one). */
  readBlocks(
    refs: readonly BlockRef[],
    sizeBytesMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void;
  /** Consecutive commits from `fromIndex` to at most `toIndex`, encoded. */
  readCommits(
    fromIndex: number,
    toIndex: number,
    done: (commits: readonly Uint8Array[]) => void,
  ): void;
  /** Up to `countMax` blocks that were appended after a commit: those that vote for it are among the first. */
  readBlocksAfter(
    commitIndex: number,
    countMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void;
  /** The block of this author with the highest round. */
  readLastBlock(author: AuthorityIndex, done: (block: Uint8Array | undefined) => void): void;
  /** Its round; 0 if there is none. */
  lastRound(author: AuthorityIndex): Round;
  /** Writes what waits; no callback comes any more. */
  close(): void;
}

/** What commits are for. Its state is a pure function of the commits applied. */
export interface Application {
  /**
   * Take up where the record says; undefined: from nothing.
   * @returns how far it stands: the record's watermark, or a later one of its own if it keeps its state elsewhere
   */
  restore(applied: AppliedRecord | undefined): Watermark;
  /** Each commit once, in order. @returns the state for the watermark's record, small */
  apply(commit: Commit, blocks: readonly Block[]): Uint8Array;
}
