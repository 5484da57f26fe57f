/**
 * Clients of one validator, all in one: opaque transactions at a steady rate, whether or not earlier ones are done. Those
 * of one tick are one buffer, as a front that collects them would hand them over. A tick that is late is made up for, and
 * counts from when it was due: a validator that stalls does not slow its own clients down to look better.
 */
import { assert } from "../../../base/errors.ts";
import type { TransactionBatch } from "../../../protocol/consensus/events.ts";
import { Writer } from "../../../protocol/base/wire.ts";
import { seededRng } from "../../../tokenizers/random.ts";

const TICK_MS = 5;
/** Where each transaction's own number goes. */
const STAMP_BYTES = 8;
/** Of one buffer: more go into the next. */
const TRANSACTIONS_PER_BATCH_MAX = 512;

export interface LoadOptions {
  /** Transactions a second. */
  readonly rate: number;
  readonly transactionBytes: number;
  /** Of one buffer with the lengths in it: a block holds no more. Room for one transaction at least. */
  readonly batchBytesMax: number;
  /** Tells the transactions of one validator from those of another. */
  readonly source: number;
  /** Is there room for so many bytes more? Where there is none, a client is turned away before it has sent anything. */
  readonly hasRoom: (sizeBytes: number) => boolean;
  /** @param dueAt when its clients sent it, as performance.now() has it */
  readonly submit: (batch: TransactionBatch, dueAt: number) => void;
  readonly turnAway: (count: number) => void;
}

export class TransactionLoad {
  private readonly options: LoadOptions;
  private readonly frameBytes: number;
  private readonly prefixBytes: number;
  private readonly batchCountMax: number;
  /** As many frames as a batch may hold, filled with noise. */
  private readonly template: Uint8Array;
  private timer: NodeJS.Timeout | undefined;
  private dueAt = 0;
  private tickCount = 0;
  private owedCount = 0;
  private batchCount = 0;
  private stampCount = 0;

  constructor(options: LoadOptions) {
    this.options = options;
    const prefix = new Writer(5);
    prefix.length(options.transactionBytes);
    const prefixed = prefix.finish();
    this.prefixBytes = prefixed.length;
    this.frameBytes = prefixed.length + options.transactionBytes;
    const fitting = Math.floor(options.batchBytesMax / this.frameBytes);
    assert(fitting >= 1, `a block has no room for ${options.transactionBytes} bytes`);
    this.batchCountMax = Math.min(TRANSACTIONS_PER_BATCH_MAX, fitting);
    this.template = new Uint8Array(this.batchCountMax * this.frameBytes);
    const rng = seededRng(options.source, "bench transactions");
    for (let i = 0; i < this.template.length; i++) this.template[i] = rng.uniform(256);
    for (let i = 0; i < this.batchCountMax; i++) {
      this.template.set(prefixed, i * this.frameBytes);
    }
  }

  start(): void {
    this.dueAt = performance.now();
    this.timer = setInterval(() => {
      this.tick();
    }, TICK_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private tick(): void {
    const now = performance.now();
    for (; this.dueAt + TICK_MS <= now; this.dueAt += TICK_MS) {
      this.tickCount++;
      const dueCount = Math.floor((this.options.rate * this.tickCount * TICK_MS) / 1000);
      this.send(dueCount - this.owedCount);
      this.owedCount = dueCount;
    }
  }

  /** What is due at `dueAt`, in as few buffers as may be. */
  private send(dueCount: number): void {
    for (let left = dueCount; left > 0;) {
      const count = Math.min(left, this.batchCountMax);
      if (!this.options.hasRoom(count * this.frameBytes)) {
        this.options.turnAway(left);
        return;
      }
      left -= count;
      this.options.submit(this.batch(count), this.dueAt);
    }
  }

  private batch(count: number): TransactionBatch {
    const frames = this.template.slice(0, count * this.frameBytes);
    const stamp = new DataView(frames.buffer);
    for (let i = 0; i < count && this.options.transactionBytes >= STAMP_BYTES; i++) {
      const at = i * this.frameBytes + this.prefixBytes;
      stamp.setUint32(at, this.options.source, true);
      stamp.setUint32(at + 4, this.stampCount++, true);
    }
    return { id: this.batchCount++, count, frames };
  }
}
