/**
 * The log in memory: for measurements without a disk, and for tests. It answers at once, before the call returns, and
 * takes every flush for durable. What it holds survives a driver, not a process.
 */
import { toHex } from "../../protocol/base/bytes.ts";
import type { AuthorityIndex, BlockRef, Round } from "../../protocol/consensus/block.ts";
import { encodeCommit } from "../../protocol/consensus/commit.ts";
import type { LogRecord, RecoveredRecord } from "../../protocol/consensus/events.ts";
import type { AppliedRecord, RecoveredState, Store } from "../runtime/ports.ts";

interface Kept {
  readonly kind: "block" | "commit";
  readonly bytes: Uint8Array;
}

export class MemoryStore implements Store {
  private readonly log: Kept[] = [];
  private readonly blocks = new Map<string, Uint8Array>();
  /** Place in the log of commit index − 1. */
  private readonly commitPlaces: number[] = [];
  private readonly last = new Map<AuthorityIndex, { round: Round; bytes: Uint8Array }>();
  private applied: AppliedRecord | undefined;
  private highestSignedRound: Round = 0;

  recover(): RecoveredState {
    const records: readonly RecoveredRecord[] = [...this.log];
    return {
      log: { records, highestSignedRound: this.highestSignedRound },
      lastCommitIndex: this.commitPlaces.length,
      applied: this.applied,
      cutBytes: 0,
    };
  }

  append(records: readonly LogRecord[]): void {
    for (const record of records) {
      if (record.kind === "commit") {
        this.commitPlaces.push(this.log.length);
        this.log.push({ kind: "commit", bytes: encodeCommit(record.commit) });
        continue;
      }
      const { author, round, digest, bytes } = record.block;
      this.log.push({ kind: "block", bytes });
      this.blocks.set(toHex(digest), bytes);
      if (round > this.lastRound(author)) this.last.set(author, { round, bytes });
    }
  }

  appendApplied(record: AppliedRecord): void {
    this.applied = record;
  }

  flush(highestSignedRound: Round | undefined, done: () => void): void {
    this.highestSignedRound = Math.max(this.highestSignedRound, highestSignedRound ?? 0);
    done();
  }

  readBlocks(
    refs: readonly BlockRef[],
    sizeBytesMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void {
    const found: Uint8Array[] = [];
    let sizeBytes = 0;
    for (const { digest } of refs) {
      const bytes = this.blocks.get(toHex(digest));
      if (bytes === undefined) continue;
      found.push(bytes);
      sizeBytes += bytes.length;
      if (sizeBytes >= sizeBytesMax) break;
    }
    done(found);
  }

  readCommits(
    fromIndex: number,
    toIndex: number,
    done: (commits: readonly Uint8Array[]) => void,
  ): void {
    const places = this.commitPlaces.slice(Math.max(0, fromIndex - 1), Math.max(0, toIndex));
    done(places.flatMap((place) => this.log[place]?.bytes ?? []));
  }

  readBlocksAfter(
    commitIndex: number,
    countMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void {
    const found: Uint8Array[] = [];
    const first = this.commitPlaces[commitIndex - 1] ?? this.log.length;
    for (let i = first; i < this.log.length && found.length < countMax; i++) {
      const record = this.log[i];
      if (record?.kind === "block") found.push(record.bytes);
    }
    done(found);
  }

  readLastBlock(author: AuthorityIndex, done: (block: Uint8Array | undefined) => void): void {
    done(this.last.get(author)?.bytes);
  }

  lastRound(author: AuthorityIndex): Round {
    return this.last.get(author)?.round ?? 0;
  }

  close(): void {
    // Nothing waits and nothing is open.
  }
}
