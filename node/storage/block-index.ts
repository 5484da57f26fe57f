/**
 * Where each block lies in the log, by digest: an open-addressed table over typed arrays, 44 bytes a block and its share
 * of the table, where a Map of strings would take five times as much.
 */
import { assert, present } from "../../base/errors.ts";
import { readU32 } from "../../protocol/base/bytes.ts";
import type { Digest } from "../../protocol/consensus/block.ts";
import { DIGEST_BYTES } from "../../protocol/base/hash.ts";

const CAPACITY_MIN = 1024;

export class BlockIndex {
  private digests = new Uint8Array(CAPACITY_MIN * DIGEST_BYTES);
  private positions = new Float64Array(CAPACITY_MIN);
  /** Entry + 1 by hash, 0 where free; at most half full. */
  private table = new Uint32Array(2 * CAPACITY_MIN);
  private count = 0;

  get size(): number {
    return this.count;
  }

  /** @returns false if the block is known already: its first place stays */
  add(digest: Digest, position: number): boolean {
    assert(digest.length === DIGEST_BYTES, "a digest has 32 bytes");
    if (this.count === this.positions.length) this.grow();
    const place = this.placeOf(digest);
    if (this.table[place] !== 0) return false;
    this.digests.set(digest, this.count * DIGEST_BYTES);
    this.positions[this.count] = position;
    this.table[place] = ++this.count;
    return true;
  }

  /** Position of the block's record. */
  find(digest: Digest): number | undefined {
    const entry = present(this.table[this.placeOf(digest)], "a place is in the table");
    return entry === 0 ? undefined : this.positions[entry - 1];
  }

  /** Positions at or behind `start`, the first `countMax`. Blocks are added in the order in which they lie. */
  positionsFrom(start: number, countMax: number): readonly number[] {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.positions[middle] ?? 0) < start) low = middle + 1;
      else high = middle;
    }
    return [...this.positions.subarray(low, Math.min(this.count, low + countMax))];
  }

  /** Where the digest is in the table, or where it belongs. */
  private placeOf(digest: Digest): number {
    const mask = this.table.length - 1;
    let place = readU32(digest, 0) & mask; // digests are random enough
    for (;;) {
      const entry = this.table[place] ?? 0;
      if (entry === 0 || this.isDigestOf(entry - 1, digest)) return place;
      place = (place + 1) & mask;
    }
  }

  private isDigestOf(entry: number, digest: Digest): boolean {
    const start = entry * DIGEST_BYTES;
    for (let i = 0; i < DIGEST_BYTES; i++) {
      if (digest[i] !== this.digests[start + i]) return false;
    }
    return true;
  }

  private grow(): void {
    const capacity = 2 * this.positions.length;
    const [digests, positions] = [this.digests, this.positions];
    this.digests = new Uint8Array(capacity * DIGEST_BYTES);
    this.digests.set(digests);
    this.positions = new Float64Array(capacity);
    this.positions.set(positions);
    this.table = new Uint32Array(2 * capacity);
    for (let i = 0; i < this.count; i++) {
      const digest = digests.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES);
      this.table[this.placeOf(digest)] = i + 1;
    }
  }
}
