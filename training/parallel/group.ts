/**
 * Arithmetic over ranks: sums and collections of float arrays through shared memory. Every rank gets the same bits,
 * because each number is added up by one rank alone, in rank order, and read by all.
 *
 * The memory has two halves of a slot for each rank, used in turn, and one slot for sums. A slot is written again
 * two operations later: by then every rank has met once more, so all have read it.
 */
import { assert, present, SomaError } from "../../base/errors.ts";
import { workerName, type Rendezvous } from "./rendezvous.ts";
import { shareOf } from "./share.ts";
import type { SharedMemory } from "./shared-memory.ts";

/** Numbers in a slot: longer arrays go through it in pieces, so memory does not grow with the model. */
const SLOT_LENGTH = 1 << 20;

/** Bytes of shared memory for so many ranks. */
export function groupBytes(size: number, slotLength = SLOT_LENGTH): number {
  return (2 * size + 1) * slotLength * Float32Array.BYTES_PER_ELEMENT;
}

export class Group {
  private readonly rendezvous: Rendezvous;
  private readonly memory: SharedMemory;
  private readonly slotLength: number;
  private half = 0;

  /** @param memory of `groupBytes(size)`  @param slotLength the same on every rank */
  constructor(rendezvous: Rendezvous, memory: SharedMemory, slotLength = SLOT_LENGTH) {
    this.rendezvous = rendezvous;
    this.memory = memory;
    this.slotLength = slotLength;
  }

  get rank(): number {
    return this.rendezvous.rank;
  }

  get size(): number {
    return this.rendezvous.size;
  }

  /** `values` becomes the sum over ranks, the same bits on each. @param values as long on every rank */
  async sum(values: Float32Array): Promise<void> {
    for (let start = 0; start < values.length; start += this.slotLength) {
      const piece = values.subarray(start, start + this.slotLength);
      this.memory.write(piece, this.slot(this.rank));
      await this.agree(`sum of ${values.length} from ${start}`);
      const { begin, end } = shareOf(piece.length, this);
      const sum = this.sumOfSlots(begin, piece.subarray(begin, end));
      this.memory.write(sum, this.sums(begin));
      this.half = 1 - this.half;
      await this.rendezvous.meet("added");
      this.memory.read(piece, this.sums(0));
    }
  }

  /** What each rank gives, in rank order. Lengths may differ. */
  async gather(values: Float32Array): Promise<readonly Float32Array[]> {
    let all: readonly Float32Array[] | undefined;
    for (let start = 0; ; start += this.slotLength) {
      this.memory.write(values.subarray(start, start + this.slotLength), this.slot(this.rank));
      const words = await this.rendezvous.meet(`gather ${values.length}`);
      all ??= words.map((word) => new Float32Array(lengthIn(word)));
      all.forEach((array, rank) => {
        this.memory.read(array.subarray(start, start + this.slotLength), this.slot(rank));
      });
      this.half = 1 - this.half;
      if (all.every(({ length }) => length <= start + this.slotLength)) return all;
    }
  }

  /** What the leader says. @param word of the leader; members give nothing */
  async hear(word = ""): Promise<string> {
    const words = await this.rendezvous.meet(word);
    return present(words[0], "the leader's word");
  }

  /**
   * Make sure that all ranks hold the same.
   * @param what  e.g. a digest  @throws SomaError WORKERS_DIFFER (failure) naming the first that differs
   */
  async agree(what: string): Promise<void> {
    const words = await this.rendezvous.meet(what);
    const rank = words.findIndex((word) => word !== words[0]);
    if (rank === -1) return;
    throw new SomaError({
      code: "WORKERS_DIFFER",
      kind: "failure",
      what: `${workerName(rank, this.size)} has "${present(words[rank], "its word")}" where worker 1 has "${present(words[0], "its word")}"`,
      next: "go on from the last checkpoint with --resume; if it happens again, train with one worker and report it",
    });
  }

  /** Of what lies in all slots from `begin` on. @param own  what this rank has put there */
  private sumOfSlots(begin: number, own: Float32Array): Float32Array {
    const offset = begin * Float32Array.BYTES_PER_ELEMENT;
    const read = new Float32Array(own.length);
    const valuesOf = (rank: number): Float32Array => {
      if (rank === this.rank) return own;
      this.memory.read(read, this.slot(rank) + offset);
      return read;
    };
    const sum = valuesOf(0).slice();
    for (let rank = 1; rank < this.size; rank++) {
      const term = valuesOf(rank);
      // `?? 0` is never reached: the arrays are of one length.
      for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (term[i] ?? 0);
    }
    return sum;
  }

  /** Where a rank's slot of the half in use begins, in bytes. */
  private slot(rank: number): number {
    return (this.half * this.size + rank) * this.slotLength * Float32Array.BYTES_PER_ELEMENT;
  }

  private sums(index: number): number {
    return (2 * this.size * this.slotLength + index) * Float32Array.BYTES_PER_ELEMENT;
  }
}

function lengthIn(word: string): number {
  const [, length] = /^gather (\d+)$/.exec(word) ?? [];
  assert(length !== undefined, `all ranks gather, but one says "${word}"`);
  return Number(length);
}
