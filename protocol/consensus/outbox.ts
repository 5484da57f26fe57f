/**
 * The effects of one step, put in their order: first what a peer did wrong, then the log (one write: blocks and commits
 * as they came about), then our own blocks, which are on disk by then, then commits to the application, then what is
 * asked for and set.
 */
import type { Round } from "./block.ts";
import type { VerifiedBlock } from "./block-verifier.ts";
import type { Commit } from "./commit.ts";
import type { ConsensusEffect, LogRecord } from "./events.ts";

export class Outbox {
  private readonly reports: ConsensusEffect[] = [];
  private readonly records: LogRecord[] = [];
  private readonly own: ConsensusEffect[] = [];
  private readonly commits: ConsensusEffect[] = [];
  private readonly rest: ConsensusEffect[] = [];
  private highestSignedRound: Round | undefined;

  report(effect: ConsensusEffect): void {
    this.reports.push(effect);
  }

  block(block: VerifiedBlock): void {
    this.records.push({ kind: "block", block });
  }

  /** A block that we have just signed. It must be among the records too. */
  ownBlock(block: VerifiedBlock): void {
    this.highestSignedRound = block.round;
    this.own.push({ kind: "broadcast", block });
  }

  commit(commit: Commit, blocks: readonly VerifiedBlock[]): void {
    this.records.push({ kind: "commit", commit });
    this.commits.push({ kind: "commit", commit, blocks });
  }

  afterCommits(effect: ConsensusEffect): void {
    this.commits.push(effect);
  }

  add(effect: ConsensusEffect): void {
    this.rest.push(effect);
  }

  effects(): readonly ConsensusEffect[] {
    const { highestSignedRound, records } = this;
    const persist: ConsensusEffect[] =
      records.length === 0
        ? []
        : highestSignedRound === undefined
          ? [{ kind: "persist", records, durable: false }]
          : [{ kind: "persist", records, durable: true, highestSignedRound }];
    return [...this.reports, ...persist, ...this.own, ...this.commits, ...this.rest];
  }
}
