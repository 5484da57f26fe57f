/**
 * The log in memory: for measurements without a disk, and for tests. It answers at once, before the call returns, and
 * takes every flush for durable. What it holds survives a driver, not a process; of blocks it may be told to keep only the
 * newest, so that a long measurement does not fill the memory.
 */
import { toHex } from "../../protocol/base/bytes.ts";
import type { AuthorityIndex, BlockRef, Round } from "../../protocol/consensus/block.ts";
import { encodeCommit } from "../../protocol/consensus/commit.ts";
import type { LogRecord, RecoveredRecord } from "../../protocol/consensus/events.ts";
import type { AppliedRecord, RecoveredState, Store } from "../runtime/ports.ts";

type Kept =
  | { readonly kind: "commit"; readonly bytes: Uint8Array }
  | { readonly kind: "block"; readonly bytes: Uint8Array; readonly key: string };

export interface MemoryStoreOptions {
  /** Of blocks that are kept; older ones are forgotten. No limit if it is not given. */
  readonly blockBytesMax?: number;
}

export class MemoryStore implements Store {
  private readonly blockBytesMax: number;
  /** Undefined where a block was forgotten. */
  private readonly log: (Kept | undefined)[] = [];
  private blockBytes = 0;
  /** Place of the oldest record that may be a block which is kept. */
  private oldest = 0;
  private readonly blocks = new Map<string, Uint8Array>();
  /** Place in the log of commit index − 1. */
  private readonly commitPlaces: number[] = [];
  private readonly last = new Map<AuthorityIndex, { round: Round; bytes: Uint8Array }>();
  private applied: AppliedRecord | undefined;
  private highestSignedRound: Round = 0;

  constructor({ blockBytesMax = Infinity }: MemoryStoreOptions = {}) {
    this.blockBytesMax = blockBytesMax;
  }

  recover(): RecoveredState {
    const records: readonly RecoveredRecord[] = this.log.flatMap((record) => record ?? []);
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
      const key = toHex(digest);
      this.log.push({ kind: "block", bytes, key });
      this.blocks.set(key, bytes);
      if (round > this.lastRound(author)) this.last.set(author, { round, bytes });
      this.blockBytes += bytes.length;
    }
    this.forget();
  }

  private forget(): void {
    for (; this.blockBytes > this.blockBytesMax; this.oldest++) {
      const record = this.log[this.oldest];
      if (record?.kind !== "block") continue;
      this.log[this.oldest] = undefined;
      this.blocks.delete(record.key);
      this.blockBytes -= record.bytes.length;
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
