/**
 * What a log file holds: read whole and checked byte for byte when it is opened. A tail that nobody was promised is cut
 * off; damage to anything before it is an error that names the place, since cutting there would lose what was promised
 * and going on would serve what is not true.
 */
import { SomaError } from "../../base/errors.ts";
import { decode, fixedBytes, struct, u64, bytes } from "../../protocol/base/codec.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { DIGEST_BYTES } from "../../protocol/base/hash.ts";
import { type AuthorityIndex, Block, type Round } from "../../protocol/consensus/block.ts";
import { decodeCommit } from "../../protocol/consensus/commit.ts";
import type { AppliedRecord } from "../runtime/ports.ts";
import { BlockIndex } from "./block-index.ts";
import type { DiskFile } from "./disk.ts";
import {
  BODY_BYTES_MAX,
  FILE_HEAD_BYTES,
  isBodyWhole,
  RECORD_HEAD_BYTES,
  type RecordHead,
  RecordHeads,
} from "./record.ts";

/** Read at a time. */
const CHUNK_BYTES = 4 * 1024 * 1024;

export const appliedCodec = struct<AppliedRecord>({
  index: u64,
  digest: fixedBytes(DIGEST_BYTES),
  state: bytes(BODY_BYTES_MAX),
});

/** A record and where it begins. */
export interface LogRecordAt extends RecordHead {
  readonly position: number;
  /** A view, for as long as the next record is not asked for. */
  readonly body: Uint8Array;
}

/** The records from `start` to the first place that is none: `end` says where that is. */
export class LogScan {
  private readonly file: DiskFile;
  private readonly heads: RecordHeads;
  private chunk: Uint8Array = new Uint8Array(0);
  private chunkStart: number;
  private position: number;

  constructor(file: DiskFile, heads: RecordHeads, start: number) {
    this.file = file;
    this.heads = heads;
    this.position = start;
    this.chunkStart = start;
  }

  /** Where the next record would begin. */
  get end(): number {
    return this.position;
  }

  next(): LogRecordAt | undefined {
    const { position } = this;
    const head = this.heads.decode(this.read(position, RECORD_HEAD_BYTES), 0, position);
    if (head === undefined) return undefined;
    const body = this.read(position + RECORD_HEAD_BYTES, head.length);
    if (!isBodyWhole(head, body)) return undefined;
    this.position = position + RECORD_HEAD_BYTES + head.length;
    return { ...head, position, body };
  }

  /** A view, shorter only at the file's end. */
  private read(position: number, length: number): Uint8Array {
    const offset = position - this.chunkStart;
    if (offset + length > this.chunk.length) {
      this.chunk = this.file.readSync(position, Math.max(CHUNK_BYTES, length));
      this.chunkStart = position;
      return this.chunk.subarray(0, length);
    }
    return this.chunk.subarray(offset, offset + length);
  }
}

/** What is known of a log without reading it again. */
export class LogContents {
  readonly blocks = new BlockIndex();
  /** Position of commit index − 1. */
  readonly commits: number[] = [];
  /** By author: the block with the highest round. */
  readonly lastBlocks = new Map<AuthorityIndex, { round: Round; position: number }>();
  /** Blocks of a higher round than all before them, in log order: whatever is above a round lies at or behind the first such. */
  private readonly rising: { readonly round: Round; readonly position: number }[] = [];
  applied: AppliedRecord | undefined;

  addBlock(block: Pick<Block, "author" | "round" | "digest">, position: number): void {
    const { author, round, digest } = block;
    this.blocks.add(digest, position);
    if (round > (this.rising.at(-1)?.round ?? 0)) this.rising.push({ round, position });
    if (round <= (this.lastBlocks.get(author)?.round ?? 0)) return;
    this.lastBlocks.set(author, { round, position });
  }

  /** @returns false if it is not the next one */
  addCommit(index: number, position: number): boolean {
    if (index !== this.commits.length + 1) return false;
    this.commits.push(position);
    return true;
  }

  /** Where the first block above `round` lies; `end` if there is none. */
  startAbove(round: Round, end: number): number {
    return this.rising.find((each) => each.round > round)?.position ?? end;
  }
}

export interface OpenedLog {
  readonly contents: LogContents;
  /** Where the next record goes. */
  readonly end: number;
  readonly cutBytes: number;
}

export interface OpenOptions {
  readonly heads: RecordHeads;
  /** How far the log is known to have been on disk. */
  readonly durableEnd: number;
}

/** @throws SomaError LOG_CORRUPT */
export function openLog(file: DiskFile, { heads, durableEnd }: OpenOptions): OpenedLog {
  const contents = new LogContents();
  const scan = new LogScan(file, heads, FILE_HEAD_BYTES);
  let promised = durableEnd;
  for (let record = scan.next(); record !== undefined; record = scan.next()) {
    promised = Math.max(promised, record.durableEnd);
    if (!note(contents, record)) throw corrupt(file, record.position);
  }
  const size = file.sizeSync();
  const { end } = scan;
  if (end < promised || isPromisedBehind(file, heads, end)) throw corrupt(file, end);
  if (end < size) file.truncateSync(end);
  // A process that was killed may have left what is read here in the machine's memory alone.
  file.syncSync();
  return { contents, end, cutBytes: size - end };
}

/** @returns false for a record whose bytes are right and whose content is not: a bug or a forgery, and no tail */
function note(contents: LogContents, { kind, body, position }: LogRecordAt): boolean {
  try {
    switch (kind) {
      case "block":
        contents.addBlock(new Block(body, body.length), position);
        return true;
      case "commit":
        return contents.addCommit(decodeCommit(body).index, position);
      case "applied":
        contents.applied = decode(appliedCodec, body.slice());
        return true;
    }
  } catch (error) {
    if (error instanceof RejectedError) return false;
    throw error;
  }
}

/**
 * Does a record behind `end` tell that `end` was on disk when it was made? Then what stands at `end` is no torn tail.
 * Records there need not be in order or whole: a crash may lose any of the sectors that were not synced.
 */
function isPromisedBehind(file: DiskFile, heads: RecordHeads, end: number): boolean {
  const size = file.sizeSync();
  for (let start = end + 1; start < size; start += CHUNK_BYTES) {
    const bytes = file.readSync(start, CHUNK_BYTES + RECORD_HEAD_BYTES - 1);
    for (let i = 0; i + RECORD_HEAD_BYTES <= bytes.length; i++) {
      const head = heads.decode(bytes, i, start + i);
      if (head !== undefined && head.durableEnd > end) return true;
    }
  }
  return false;
}

export function corrupt(file: DiskFile, position: number): SomaError {
  return new SomaError({
    code: "LOG_CORRUPT",
    kind: "corrupt",
    what: `${file.path} is damaged at byte ${position}, in what was safely on disk`,
    next: "check the disk; then remove the log (keep highest-signed) and start again: all of it comes from peers",
  });
}
