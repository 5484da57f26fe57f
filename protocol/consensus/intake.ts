/**
 * From what peers sent to verified blocks that are new here. What breaks a rule is charged to the peer that sent it;
 * what is known already costs a hash, not a signature.
 */
import type { Milliseconds } from "../base/effects.ts";
import { RejectedError } from "../base/errors.ts";
import { type AuthorityIndex, type Block, type BlockRef, refKey, refName } from "./block.ts";
import type { BlockManager } from "./block-manager.ts";
import type { BlockVerifier, VerifiedBlock } from "./block-verifier.ts";
import type { CommitProgress } from "./certifiers.ts";
import type { DagState } from "./dag-state.ts";
import type { Outbox } from "./outbox.ts";

/** Timestamps further ahead of our clock than this are told. */
const CLOCK_TOLERANCE_MS = 500;

export interface IntakeOptions {
  readonly ownIndex: AuthorityIndex;
  readonly verifier: BlockVerifier;
  readonly dag: DagState;
  readonly manager: BlockManager;
  /** Told of every verified block's votes. */
  readonly progress: CommitProgress;
}

export class Intake {
  private readonly options: IntakeOptions;
  private readonly toldAhead = new Set<AuthorityIndex>();

  constructor(options: IntakeOptions) {
    this.options = options;
  }

  /** Blocks that a peer sent. @param wall our clock's time  @param asked if they answer a request: only these are taken */
  blocks(
    from: AuthorityIndex,
    encoded: readonly Uint8Array[],
    wall: Milliseconds,
    out: Outbox,
    asked?: ReadonlyMap<string, BlockRef>,
  ): readonly VerifiedBlock[] {
    const { verifier, progress } = this.options;
    const found: VerifiedBlock[] = [];
    for (const bytes of encoded) {
      charge(from, out, () => {
        const block = verifier.read(bytes);
        if (asked?.has(refKey(block)) === false) {
          throw new RejectedError("NOT_ASKED_FOR", `${refName(block)} was not asked for`);
        }
        if (this.isKnown(block)) return;
        const verified = verifier.verify(block);
        progress.note(verified);
        this.tellClock(verified, wall, out);
        found.push(verified);
      });
    }
    return found;
  }

  /** Our own last block, as a peer tells it; undefined if it proves nothing. */
  ownBlock(from: AuthorityIndex, bytes: Uint8Array, out: Outbox): VerifiedBlock | undefined {
    const { verifier, ownIndex } = this.options;
    let found: VerifiedBlock | undefined;
    charge(from, out, () => {
      const block = verifier.verify(verifier.read(bytes));
      if (block.author !== ownIndex) {
        throw new RejectedError("NOT_ASKED_FOR", `${refName(block)} is not by us`);
      }
      found = block;
    });
    return found;
  }

  /** A clock ahead of ours is told once, until it is right again: no reason to refuse, since commits take the median. */
  private tellClock(block: VerifiedBlock, wall: Milliseconds, out: Outbox): void {
    const aheadMs = block.timestampMs - wall;
    if (aheadMs <= CLOCK_TOLERANCE_MS) {
      this.toldAhead.delete(block.author);
    } else if (!this.toldAhead.has(block.author)) {
      this.toldAhead.add(block.author);
      out.report({ kind: "clockAhead", author: block.author, aheadMs });
    }
  }

  private isKnown(block: Block): boolean {
    const { dag, manager } = this.options;
    if (block.round === 0) return false; // genesis is not sent: no block of round 0 is only late
    return (
      block.round <= manager.gcRound ||
      dag.find(block) !== undefined ||
      manager.suspendedBlock(block) !== undefined
    );
  }
}

/** Run `read`; what it refuses is the peer's fault. The one place where refusals are caught. */
export function charge(peer: AuthorityIndex, out: Outbox, read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof RejectedError)) throw error;
    out.report({ kind: "misbehaved", peer, code: error.code, detail: error.message });
  }
}
