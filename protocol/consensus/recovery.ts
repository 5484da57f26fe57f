/**
 * From the log back to the state that wrote it. Blocks and commits are taken in the order in which they were written;
 * what the log's tail lost comes again from peers or by deciding, with equal digests. Source: guides: consensus, 3.5.
 */
import type { AuthorityIndex } from "./block.ts";
import type { BlockManager } from "./block-manager.ts";
import type { BlockVerifier, VerifiedBlock } from "./block-verifier.ts";
import { type Commit, decodeCommit } from "./commit.ts";
import type { DagState, Vertex } from "./dag-state.ts";
import type { RecoveredLog } from "./events.ts";
import type { Linearizer } from "./linearizer.ts";

export interface RecoveryParts {
  readonly ownIndex: AuthorityIndex;
  readonly dag: DagState;
  readonly manager: BlockManager;
  readonly linearizer: Linearizer;
  readonly verifier: BlockVerifier;
  /** A block is in the DAG again. */
  readonly onAccepted: (vertex: Vertex) => void;
  readonly onOwnBlock: (block: VerifiedBlock) => void;
  /** Once for each commit, in order. */
  readonly onCommit: (commit: Commit) => void;
}

/** @returns true if the log held nothing: the disk is new, or was lost */
export function recover(log: RecoveredLog, parts: RecoveryParts): boolean {
  const { dag, manager, linearizer, verifier } = parts;
  /** Commits that blocks above the gc round may be of. */
  let recent: Commit[] = [];
  let isEmpty = true;
  const enter = (vertices: readonly Vertex[]): void => {
    vertices.forEach(parts.onAccepted);
  };
  for (const record of log.records) {
    isEmpty = false;
    if (record.kind === "block") {
      const block = verifier.restored(record.bytes);
      if (block.author === parts.ownIndex) parts.onOwnBlock(block);
      enter(manager.restore(block));
      continue;
    }
    const commit = decodeCommit(record.bytes);
    linearizer.resumeAt(commit);
    parts.onCommit(commit);
    recent.push(commit);
    markCommitted(commit, dag);
    enter(manager.collect(linearizer.gcRound));
    recent = recent.filter(({ leader }) => leader.round > linearizer.gcRound);
    dag.evict(linearizer.gcRound);
  }
  // Where the log starts in the middle, blocks may have entered after the commit that ordered them.
  for (const commit of recent) markCommitted(commit, dag);
  return isEmpty;
}

/** The blocks of a commit are ordered: they are not brought in again, and their payloads are no longer needed. */
export function markCommitted(commit: Commit, dag: DagState): void {
  for (const ref of commit.blocks) {
    const vertex = dag.find(ref);
    if (vertex === undefined) continue;
    vertex.isCommitted = true;
    vertex.block = undefined;
  }
}
