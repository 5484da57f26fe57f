/**
 * What happens to a ConsensusCore, and what it wants done. Events carry bytes as they came: the core decodes and checks
 * them and names the peer that is to blame. Effects are performed in order (base/effects.ts).
 */
import type { Milliseconds } from "../base/effects.ts";
import type { RejectionCode } from "../base/errors.ts";
import type { AuthorityIndex, BlockRef, Digest, Round } from "./block.ts";
import type { VerifiedBlock } from "./block-verifier.ts";
import type { Commit } from "./commit.ts";

/** Names a request; its answer carries it back. Unique within one life of a core. */
export type RequestId = number;

/** One timer of each name; setting it again replaces it. */
export type ConsensusTimer =
  /** The leaders of the round before were waited for long enough. */
  | "leaderTimeout"
  /** The shortest time between two own blocks is over. */
  | "roundDelay"
  /** Nothing was proposed for a while: send the last own block again. */
  | "rebroadcast"
  /** Ask (again) for blocks and commits that are missed. */
  | "synchronize"
  /** Ask (again) for our own last block. */
  | "ownBlock";

/** Transactions on their way into a block: each with its length before it (BCS), joined. At most one block's worth. */
export interface TransactionBatch {
  /** Chosen by the submitter; comes back when the batch is proposed, refused or lost. */
  readonly id: number;
  readonly count: number;
  readonly frames: Uint8Array;
}

interface Timed {
  readonly now: Milliseconds;
}

export type ConsensusEvent = Timed &
  (
    | { readonly kind: "started" }
    /** Blocks that a peer pushed. */
    | {
        readonly kind: "blocksReceived";
        readonly from: AuthorityIndex;
        readonly blocks: readonly Uint8Array[];
      }
    /** Answer to fetchBlocks: those that the peer had, in any order. */
    | {
        readonly kind: "blocksFetched";
        readonly request: RequestId;
        readonly blocks: readonly Uint8Array[];
      }
    /** Answer to fetchCommits: consecutive commits, and signed headers whose votes certify the last of them. */
    | {
        readonly kind: "commitsFetched";
        readonly request: RequestId;
        readonly commits: readonly Uint8Array[];
        readonly certifiers: readonly Uint8Array[];
      }
    /** The peer could not be asked, did not answer in time, or closed. */
    | { readonly kind: "fetchFailed"; readonly request: RequestId }
    /** Answer to askOwnBlock: the last block of ours that the peer knows, if any. */
    | {
        readonly kind: "ownBlockReported";
        readonly from: AuthorityIndex;
        readonly block: Uint8Array | undefined;
      }
    | { readonly kind: "timerFired"; readonly timer: ConsensusTimer }
    | { readonly kind: "transactionsSubmitted"; readonly batch: TransactionBatch }
  );

export type LogRecord =
  | { readonly kind: "block"; readonly block: VerifiedBlock }
  | { readonly kind: "commit"; readonly commit: Commit };

/** Two blocks of one author and round. Both are in the log, whose signed headers are enough for a ban. */
export interface EquivocationEvidence {
  readonly author: AuthorityIndex;
  readonly round: Round;
  readonly first: Digest;
  readonly second: Digest;
}

export type ConsensusEffect =
  /** Append the records in order. If durable, they and all appended before are on disk before the next effect begins. */
  | {
      readonly kind: "persist";
      readonly records: readonly LogRecord[];
      readonly durable: boolean;
      /** Set when an own block is among them: written to a file of its own, and durable too. */
      readonly highestSignedRound?: Round;
    }
  /** Send our own block to all peers. Its persist came before. */
  | { readonly kind: "broadcast"; readonly block: VerifiedBlock }
  | {
      readonly kind: "fetchBlocks";
      readonly request: RequestId;
      readonly peer: AuthorityIndex;
      readonly refs: readonly BlockRef[];
    }
  /** Ask for consecutive commits from `fromIndex` on, at most up to `toIndex`. */
  | {
      readonly kind: "fetchCommits";
      readonly request: RequestId;
      readonly peer: AuthorityIndex;
      readonly fromIndex: number;
      readonly toIndex: number;
    }
  /** Ask every peer for the last block of ours that it knows. */
  | { readonly kind: "askOwnBlock" }
  | { readonly kind: "setTimer"; readonly timer: ConsensusTimer; readonly at: Milliseconds }
  /** Hand to the application, in order. `blocks` are those of the commit, in its order. */
  | { readonly kind: "commit"; readonly commit: Commit; readonly blocks: readonly VerifiedBlock[] }
  /** The batches are in our block of this round. */
  | {
      readonly kind: "transactionsProposed";
      readonly round: Round;
      readonly batches: readonly number[];
    }
  /** Too many wait: the batch was not taken. */
  | { readonly kind: "transactionsRefused"; readonly batch: number }
  | { readonly kind: "equivocation"; readonly evidence: EquivocationEvidence }
  /** The peer sent what breaks a rule. Whether it is dropped is the driver's choice. */
  | {
      readonly kind: "misbehaved";
      readonly peer: AuthorityIndex;
      readonly code: RejectionCode;
      readonly detail: string;
    }
  /** A peer's clock is ahead of ours: told, not punished, since commits take the median. */
  | { readonly kind: "clockAhead"; readonly author: AuthorityIndex; readonly aheadMs: Milliseconds }
  /** `last` ends the epoch. No commit follows; blocks still flow so that others get here. */
  | { readonly kind: "epochEnded"; readonly last: Commit }
  /** More validators are faulty than the committee can bear. The core has stopped; the node must too. */
  | { readonly kind: "halted"; readonly reason: string };

/** What a core starts from: the log in the order in which it was written. */
export interface RecoveredLog {
  /** At least: the last commit, and every block above its gc round; commits before it as far as those blocks reach. More does no harm. */
  readonly records: Iterable<RecoveredRecord>;
  /** From the file of its own; 0 if there is none. */
  readonly highestSignedRound: Round;
}

export type RecoveredRecord =
  | { readonly kind: "block"; readonly bytes: Uint8Array }
  | { readonly kind: "commit"; readonly bytes: Uint8Array };

/** Signs digests of our own blocks. Deterministic: signing twice gives the same bytes. */
export interface Signer {
  readonly publicKey: Uint8Array;
  sign(digest: Digest): Uint8Array;
}
