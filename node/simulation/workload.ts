/**
 * Transactions of a run, opaque and small: who was given what, what was promised, what came out. A batch that a correct
 * validator has put into a block of its own must be committed in the end, however often the validator dies.
 */
import { readU32, u32Bytes } from "../../protocol/base/bytes.ts";
import { Reader, Writer } from "../../protocol/base/wire.ts";
import type { AuthorityIndex, Block } from "../../protocol/consensus/block.ts";
import type { TransactionBatch } from "../../protocol/consensus/events.ts";
import type { Rng } from "../../tokenizers/random.ts";
import type { Micros } from "./event-queue.ts";

interface Given {
  readonly to: AuthorityIndex;
  readonly at: Micros;
  isPromised: boolean;
}

const TRANSACTIONS_MAX = 3;
const TRANSACTION_BYTES_MIN = 4;
const TRANSACTION_BYTES_SPREAD = 60;

export class Workload {
  private readonly rng: Rng;
  private readonly open = new Map<number, Given>();
  private readonly latencies: Micros[] = [];
  private madeCount = 0;

  constructor(rng: Rng) {
    this.rng = rng;
  }

  /** A batch for this validator. */
  make(to: AuthorityIndex, at: Micros): TransactionBatch {
    const id = ++this.madeCount;
    const count = 1 + this.rng.uniform(TRANSACTIONS_MAX);
    const writer = new Writer();
    for (let i = 0; i < count; i++) {
      const extra = this.rng.uniform(TRANSACTION_BYTES_SPREAD);
      writer.length(TRANSACTION_BYTES_MIN + extra);
      writer.raw(u32Bytes(id));
      writer.raw(new Uint8Array(extra).fill(i));
    }
    this.open.set(id, { to, at, isPromised: false });
    return { id, count, frames: writer.finish() };
  }

  /** The batches are in a block of the validator's that is on its disk. */
  promised(batches: readonly number[]): void {
    for (const id of batches) {
      const given = this.open.get(id);
      if (given !== undefined) given.isPromised = true;
    }
  }

  /** The validator's disk is lost: what it had promised and nobody committed may be gone. */
  forgotten(validator: AuthorityIndex): void {
    for (const [id, { to }] of this.open) if (to === validator) this.open.delete(id);
  }

  /** The validator has committed these blocks: those of its own hold what it was given. */
  committed(validator: AuthorityIndex, blocks: readonly Block[], now: Micros): void {
    for (const { author, payload } of blocks) {
      if (author !== validator || payload.length === 1) continue;
      const reader = new Reader(payload);
      for (let left = reader.length(payload.length); left > 0; left--) {
        const id = readU32(reader.bytes(payload.length), 0);
        const given = this.open.get(id);
        if (given === undefined) continue;
        this.open.delete(id);
        this.latencies.push(now - given.at);
      }
    }
  }

  /** By validator: the batches that it has promised and not committed yet. */
  owed(): ReadonlyMap<AuthorityIndex, readonly number[]> {
    const owed = new Map<AuthorityIndex, number[]>();
    for (const [id, { to, isPromised }] of this.open) {
      if (!isPromised) continue;
      const batches = owed.get(to);
      if (batches === undefined) owed.set(to, [id]);
      else batches.push(id);
    }
    return owed;
  }

  /** From submitting a batch to its commit by the validator that was given it: the share `of` is quicker. */
  latency(of: number): Micros | undefined {
    const ascending = this.latencies.toSorted((a, b) => a - b);
    return ascending[Math.min(ascending.length - 1, Math.floor(of * ascending.length))];
  }
}
