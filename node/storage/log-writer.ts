/**
 * Appends to the log: what comes while the disk is busy waits and goes out in one write, and one fsync serves all that
 * was written before it. After a failure nothing more is written: what a failed fsync left on disk nobody knows, and a
 * second one may report success without having written (so never again).
 */
import type { Round } from "../../protocol/consensus/block.ts";
import type { DiskFile } from "./disk.ts";
import type { HighestSigned } from "./highest-signed.ts";
import { isBodyWhole, RECORD_HEAD_BYTES, type RecordHeads, type RecordKind } from "./record.ts";

/** What waits is written without being asked for from so many bytes on, so that memory holds no more than a few blocks. */
const WRITE_BYTES_MIN = 1024 * 1024;

interface FlushRequest {
  /** All before this position is to be on disk. */
  readonly end: number;
  readonly round: Round | undefined;
  readonly done: () => void;
}

export interface LogWriterOptions {
  readonly file: DiskFile;
  readonly highestSigned: HighestSigned;
  readonly heads: RecordHeads;
  /** Where the next record goes; all before is on disk. */
  readonly end: number;
  /** Once, and nothing after it. */
  readonly onFailure: (file: DiskFile, error: Error) => void;
}

export class LogWriter {
  private readonly options: LogWriterOptions;
  private endPosition: number;
  private writtenEnd: number;
  private durableEnd: number;
  /** Heads and bodies behind writtenEnd, in order. */
  private waiting: Uint8Array[] = [];
  /** Bodies by position that are not in the file yet. */
  private readonly unwritten = new Map<number, Uint8Array>();
  private flushes: FlushRequest[] = [];
  private isBusy = false;
  /** Failed or closed: nothing more is written. */
  private hasEnded = false;
  private isClosing = false;
  private onClosed: (() => void) | undefined;

  constructor(options: LogWriterOptions) {
    this.options = options;
    this.endPosition = options.end;
    this.writtenEnd = options.end;
    this.durableEnd = options.end;
  }

  /** @param body kept until it is written: never changed  @returns the record's position */
  append(kind: RecordKind, body: Uint8Array): number {
    const position = this.endPosition;
    const head = this.options.heads.encode(kind, body, position, this.durableEnd);
    this.waiting.push(head, body);
    this.unwritten.set(position, body);
    this.endPosition += head.length + body.length;
    if (this.endPosition - this.writtenEnd >= WRITE_BYTES_MIN) this.work();
    return position;
  }

  /**
   * @param done when all appended so far is on disk, and then the round, if given. In this order: a round that was
   * written down before its block would be lost for good in a crash between the two, as it may not be signed again; if
   * that befell more validators than may fail, no round above it would ever have a quorum
   */
  flush(round: Round | undefined, done: () => void): void {
    this.flushes.push({ end: this.endPosition, round, done });
    this.work();
  }

  /** The body of the record at `position`, whole; undefined if the file no longer holds what was written. */
  read(position: number, done: (body: Uint8Array | undefined) => void): void {
    const waiting = this.unwritten.get(position);
    if (waiting !== undefined) {
      done(waiting);
      return;
    }
    const { file, heads } = this.options;
    file.read(position, RECORD_HEAD_BYTES, (headError, bytes) => {
      const head = headError === undefined ? heads.decode(bytes, 0, position) : undefined;
      if (head === undefined) {
        done(undefined);
        return;
      }
      file.read(position + RECORD_HEAD_BYTES, head.length, (error, body) => {
        done(error === undefined && isBodyWhole(head, body) ? body : undefined);
      });
    });
  }

  /** Write what waits, make it durable, close the files. Callbacks of flushes no longer come. @param done not after a failure */
  close(done?: () => void): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.onClosed = done;
    this.flushes = [];
    this.work();
  }

  private work(): void {
    if (this.isBusy || this.hasEnded) return;
    const [flush] = this.flushes;
    if (flush !== undefined && this.writtenEnd >= flush.end) this.serve(flush);
    else if (this.waiting.length > 0) this.write();
    else if (this.isClosing) this.settle();
  }

  /** What the flush asks for is written: sync it, then sign, then say so. */
  private serve(flush: FlushRequest): void {
    if (this.durableEnd < flush.end) this.sync();
    else if (flush.round !== undefined) this.sign(flush, flush.round);
    else {
      this.flushes.shift();
      this.work();
      flush.done();
    }
  }

  /** All is written: make it durable, note that it is (what is damaged later will not pass for a torn tail), close. */
  private settle(): void {
    const { file, highestSigned } = this.options;
    if (this.durableEnd < this.writtenEnd) this.sync();
    else if (highestSigned.durableEnd < this.durableEnd) {
      this.isBusy = true;
      highestSigned.write(highestSigned.round, this.durableEnd, (error) => {
        this.finish(error);
      });
    } else {
      this.hasEnded = true;
      file.close();
      highestSigned.close();
      this.onClosed?.();
    }
  }

  private sign(flush: FlushRequest, round: Round): void {
    this.isBusy = true;
    this.options.highestSigned.write(round, this.durableEnd, (error) => {
      if (this.flushes[0] === flush) this.flushes[0] = { ...flush, round: undefined };
      this.finish(error);
    });
  }

  private write(): void {
    const parts = this.waiting;
    const start = this.writtenEnd;
    const end = this.endPosition;
    this.waiting = [];
    this.isBusy = true;
    this.options.file.write(start, parts, (error) => {
      if (error === undefined) {
        this.writtenEnd = end;
        // In the order in which they were appended: those of this write are the first.
        for (const position of this.unwritten.keys()) {
          if (position >= end) break;
          this.unwritten.delete(position);
        }
      }
      this.finish(error);
    });
  }

  /** One serves all flushes of what was written before it. */
  private sync(): void {
    const end = this.writtenEnd;
    this.isBusy = true;
    this.options.file.sync((error) => {
      if (error === undefined) this.durableEnd = end;
      this.finish(error);
    });
  }

  private finish(error: Error | undefined): void {
    this.isBusy = false;
    if (error === undefined) {
      this.work();
      return;
    }
    this.hasEnded = true;
    this.options.onFailure(this.options.file, error);
  }
}
