/** Transactions on their way into our blocks: whole batches, first come first served, bounded by bytes. */
import { Reader, Writer } from "../base/wire.ts";
import { RejectedError } from "../base/errors.ts";
import type { ConsensusParameters } from "../base/parameters.ts";
import type { TransactionBatch } from "./events.ts";

/** What goes into one block. */
export interface TakenTransactions {
  /** The payload in parts: the count, then the batches' frames. */
  readonly payload: readonly Uint8Array[];
  /** Ids of the batches, but for those that are proposed a second time. */
  readonly batches: readonly number[];
}

type Limits = Pick<
  ConsensusParameters,
  | "transactionBytesMax"
  | "blockTransactionBytesMax"
  | "blockTransactionCountMax"
  | "pendingTransactionBytesMax"
>;

/** Id of what comes back from a block that was never ordered. */
const AGAIN = -1;

export class TransactionQueue {
  private readonly limits: Limits;
  private pending: TransactionBatch[] = [];
  /** Batches before this one are taken. */
  private head = 0;
  private size = 0;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  get sizeBytes(): number {
    return this.size;
  }

  /** @returns false if too many wait, or the batch would make a block that nobody accepts */
  add(batch: TransactionBatch): boolean {
    const isFull = this.size + batch.frames.length > this.limits.pendingTransactionBytesMax;
    if (isFull || !this.isSound(batch)) return false;
    this.pending.push(batch);
    this.size += batch.frames.length;
    return true;
  }

  /** The oldest batches, as many as a block holds. */
  take(): TakenTransactions {
    const taken: TransactionBatch[] = [];
    let sizeBytes = 0;
    let count = 0;
    for (let batch = this.pending[this.head]; batch !== undefined;) {
      const fits =
        sizeBytes + batch.frames.length <= this.limits.blockTransactionBytesMax &&
        count + batch.count <= this.limits.blockTransactionCountMax;
      if (!fits) break;
      taken.push(batch);
      sizeBytes += batch.frames.length;
      count += batch.count;
      batch = this.pending[++this.head];
    }
    this.size -= sizeBytes;
    if (this.head === this.pending.length) {
      this.pending = [];
      this.head = 0;
    } else if (this.head > 1024) {
      this.pending = this.pending.slice(this.head);
      this.head = 0;
    }
    const length = new Writer(5);
    length.length(count);
    return {
      payload: [length.finish(), ...taken.map(({ frames }) => frames)],
      batches: taken.flatMap(({ id }) => (id === AGAIN ? [] : [id])),
    };
  }

  /** The payload of a block of ours that will never be ordered: first in the next one. */
  takeBack(payload: Uint8Array): void {
    const reader = new Reader(payload);
    const count = reader.length(payload.length);
    if (count === 0) return;
    const frames = payload.slice(reader.offset); // a copy: the block's bytes may go
    this.pending = [{ id: AGAIN, count, frames }, ...this.pending.slice(this.head)];
    this.head = 0;
    this.size += frames.length;
  }

  /** The frames are as many transactions as is said, none too long, and fit into one block. */
  private isSound({ frames, count }: TransactionBatch): boolean {
    if (count < 1 || count > this.limits.blockTransactionCountMax) return false;
    if (frames.length > this.limits.blockTransactionBytesMax) return false;
    try {
      const reader = new Reader(frames);
      for (let i = 0; i < count; i++) reader.skip(reader.length(this.limits.transactionBytesMax));
      reader.finish();
      return true;
    } catch (error) {
      if (error instanceof RejectedError) return false;
      throw error;
    }
  }
}
