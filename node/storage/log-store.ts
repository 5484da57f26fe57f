/**
 * The Store of a validator: one append-only log of blocks, commits and the application's watermark, and the
 * highest-signed file beside it. One log is of one network and one epoch.
 */
import { randomBytes } from "node:crypto";
import { assert, SomaError } from "../../base/errors.ts";
import { writeError } from "../../base/files.ts";
import { encode } from "../../protocol/base/codec.ts";
import type { AuthorityIndex, BlockRef, Round } from "../../protocol/consensus/block.ts";
import { decodeCommit, encodeCommit } from "../../protocol/consensus/commit.ts";
import type { LogRecord, RecoveredRecord } from "../../protocol/consensus/events.ts";
import type { AppliedRecord, RecoveredState, RecoverOptions, Store } from "../runtime/ports.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { HighestSigned } from "./highest-signed.ts";
import {
  appliedCodec,
  corrupt,
  type LogContents,
  LogScan,
  type OpenedLog,
  openLog,
} from "./log-contents.ts";
import { LogWriter } from "./log-writer.ts";
import {
  decodeFileHead,
  encodeFileHead,
  FILE_HEAD_BYTES,
  RecordHeads,
  SALT_BYTES,
} from "./record.ts";

export const LOG_FILE = "consensus.log";
export const HIGHEST_SIGNED_FILE = "highest-signed";

export interface LogStoreOptions {
  readonly disk: Disk;
  /** 32 bytes that name the network and the epoch. */
  readonly identity: Uint8Array;
  /** For a new log: 8 random bytes. */
  readonly salt?: Uint8Array;
}

/**
 * @throws SomaError LOG_CORRUPT, HIGHEST_SIGNED_CORRUPT (corrupt): damage to what was promised, the file named;
 * WRONG_LOG (refused): it is of another network or epoch
 */
export function openLogStore(options: LogStoreOptions): LogStore {
  const file = options.disk.open(LOG_FILE);
  try {
    const highestSigned = new HighestSigned(options.disk.open(HIGHEST_SIGNED_FILE));
    // A log that was removed, or is new: what was promised of the one before holds no longer.
    if (file.sizeSync() === 0 && highestSigned.durableEnd > 0) {
      highestSigned.writeSync(highestSigned.round, 0);
    }
    const { durableEnd } = highestSigned;
    const heads = new RecordHeads(readSalt(file, durableEnd, options));
    const opened = openLog(file, { heads, durableEnd });
    return new LogStore({ file, highestSigned, heads, opened });
  } catch (error) {
    throw error instanceof Error && "syscall" in error ? writeError(file.path, error) : error;
  }
}

/** Of the log that is there, or of a new one. */
function readSalt(file: DiskFile, durableEnd: number, options: LogStoreOptions): Uint8Array {
  const size = file.sizeSync();
  const head = decodeFileHead(file.readSync(0, FILE_HEAD_BYTES));
  if (head !== undefined) {
    if (head.identity.every((byte, i) => byte === options.identity[i])) return head.salt;
    throw new SomaError({
      code: "WRONG_LOG",
      kind: "refused",
      what: `${file.path} is the log of another network or another epoch`,
      next: "give the folder of this one, or an empty one",
    });
  }
  // The head is on disk before anything is behind it.
  if (size > FILE_HEAD_BYTES || durableEnd > 0) throw corrupt(file, 0);
  const salt = options.salt ?? new Uint8Array(randomBytes(SALT_BYTES));
  file.truncateSync(0);
  file.writeSync(0, encodeFileHead({ salt, identity: options.identity }));
  file.syncSync();
  return salt;
}

interface LogStoreParts {
  readonly file: DiskFile;
  readonly highestSigned: HighestSigned;
  readonly heads: RecordHeads;
  readonly opened: OpenedLog;
}

export class LogStore implements Store {
  private readonly parts: LogStoreParts;
  private readonly contents: LogContents;
  private readonly writer: LogWriter;
  private onFailure: ((error: SomaError) => void) | undefined;
  private isClosed = false;

  constructor(parts: LogStoreParts) {
    this.parts = parts;
    this.contents = parts.opened.contents;
    this.writer = new LogWriter({
      ...parts,
      end: parts.opened.end,
      onFailure: ({ path }, error) => {
        this.fail(writeError(path, error));
      },
    });
  }

  /** Reads what the core needs only: from the first block that may still be ordered, and our own last one. */
  recover({ ownIndex, gcDepthRounds, onFailure }: RecoverOptions): RecoveredState {
    this.onFailure = onFailure;
    const { highestSigned, opened } = this.parts;
    const lastCommitIndex = this.contents.commits.length;
    // A crash between the block and its round: the block is about to be sent again.
    const lastOwnRound = this.lastRound(ownIndex);
    if (lastOwnRound > highestSigned.round) highestSigned.writeSync(lastOwnRound, opened.end);
    return {
      log: {
        records: this.records(ownIndex, gcDepthRounds),
        highestSignedRound: highestSigned.round,
      },
      lastCommitIndex,
      applied: this.contents.applied,
      cutBytes: opened.cutBytes,
    };
  }

  private *records(ownIndex: AuthorityIndex, gcDepthRounds: Round): Iterable<RecoveredRecord> {
    const { file, heads, opened } = this.parts;
    const lastOwn = this.contents.lastBlocks.get(ownIndex)?.position ?? opened.end;
    const start = this.recoveryStart(gcDepthRounds);
    if (lastOwn < start) {
      const record = new LogScan(file, heads, lastOwn).next();
      if (record === undefined) throw corrupt(file, lastOwn);
      yield { kind: "block", bytes: record.body.slice() };
    }
    const scan = new LogScan(file, heads, start);
    for (let record = scan.next(); record !== undefined; record = scan.next()) {
      if (record.kind !== "applied") yield { kind: record.kind, bytes: record.body.slice() };
    }
    if (scan.end < opened.end) throw corrupt(file, scan.end);
  }

  private recoveryStart(gcDepthRounds: Round): number {
    const { file, heads, opened } = this.parts;
    const lastCommit = this.contents.commits.at(-1);
    if (lastCommit === undefined) return FILE_HEAD_BYTES;
    const record = new LogScan(file, heads, lastCommit).next();
    if (record === undefined) throw corrupt(file, lastCommit);
    const gcRound = decodeCommit(record.body).leader.round - gcDepthRounds;
    return Math.min(lastCommit, this.contents.startAbove(Math.max(0, gcRound), opened.end));
  }

  append(records: readonly LogRecord[]): void {
    for (const record of records) {
      if (record.kind === "block") {
        const { block } = record;
        this.contents.addBlock(block, this.writer.append("block", block.bytes));
      } else {
        const { commit } = record;
        const position = this.writer.append("commit", encodeCommit(commit));
        assert(this.contents.addCommit(commit.index, position), `commit ${commit.index} is next`);
      }
    }
  }

  appendApplied(record: AppliedRecord): void {
    this.writer.append("applied", encode(appliedCodec, record));
  }

  flush(highestSignedRound: Round | undefined, done: () => void): void {
    this.writer.flush(highestSignedRound, done);
  }

  readBlocks(
    refs: readonly BlockRef[],
    sizeBytesMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void {
    const positions = refs.flatMap(({ digest }) => this.contents.blocks.find(digest) ?? []);
    this.readAll(positions, sizeBytesMax, done);
  }

  readCommits(
    fromIndex: number,
    toIndex: number,
    done: (commits: readonly Uint8Array[]) => void,
  ): void {
    const positions = this.contents.commits.slice(Math.max(0, fromIndex - 1), Math.max(0, toIndex));
    this.readAll(positions, Infinity, done);
  }

  readBlocksAfter(
    commitIndex: number,
    countMax: number,
    done: (blocks: readonly Uint8Array[]) => void,
  ): void {
    const start = this.contents.commits[commitIndex - 1];
    this.readAll(
      start === undefined ? [] : this.contents.blocks.positionsFrom(start, countMax),
      Infinity,
      done,
    );
  }

  readLastBlock(author: AuthorityIndex, done: (block: Uint8Array | undefined) => void): void {
    const position = this.contents.lastBlocks.get(author)?.position;
    this.readAll(position === undefined ? [] : [position], Infinity, ([block]) => {
      done(block);
    });
  }

  lastRound(author: AuthorityIndex): Round {
    return this.contents.lastBlocks.get(author)?.round ?? 0;
  }

  /** @param done when the files are closed; not after a failure */
  close(done?: () => void): void {
    this.isClosed = true;
    this.writer.close(done);
  }

  /** Bodies at these positions, until `sizeBytesMax` is passed. Bytes that are not those written are never handed out. */
  private readAll(
    positions: readonly number[],
    sizeBytesMax: number,
    done: (bodies: readonly Uint8Array[]) => void,
  ): void {
    const bodies: Uint8Array[] = [];
    let sizeBytes = 0;
    let isLooping = false;
    let isWaiting = false;
    // A loop, not a recursion: what is not written yet, and a disk in memory, answer at once.
    const loop = (): void => {
      if (isLooping) return;
      isLooping = true;
      while (!isWaiting) {
        const position = positions[bodies.length];
        if (position === undefined || sizeBytes >= sizeBytesMax) {
          isWaiting = true; // for nothing
          done(bodies);
          break;
        }
        isWaiting = true;
        this.writer.read(position, (body) => {
          if (this.isClosed) return;
          if (body === undefined) {
            this.fail(corrupt(this.parts.file, position));
            return;
          }
          bodies.push(body);
          sizeBytes += body.length;
          isWaiting = false;
          loop();
        });
      }
      isLooping = false;
    };
    loop();
  }

  private fail(error: SomaError): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.onFailure?.(error);
  }
}
