/**
 * The one seeded generator: everything drawn anywhere (masks, shards, batches, weights) comes from it.
 * Blocks sha256(seed || u64 counter), counter = 0, 1, 2, …, each read as eight little-endian u32 words in
 * order; no word is thrown away between draws. Source: protocol part 1.
 */
import { assert } from "../base/errors.ts";
import { sha256, taggedHash } from "./hash.ts";

const TWO_32 = 2 ** 32;
const TWO_64 = 2n ** 64n;

export class Rng {
  private readonly input: Uint8Array; // seed || counter, 40 bytes
  private readonly words = new Uint32Array(8);
  private position: number;
  private blockIndex = -1;

  /** @param seed 32 bytes, copied  @param position words to skip: a saved state goes on where it was */
  constructor(seed: Uint8Array, position = 0) {
    assert(seed.length === 32, `a seed has 32 bytes, not ${seed.length}`);
    this.input = new Uint8Array(40);
    this.input.set(seed);
    this.position = position;
  }

  /** How many words were read: with the seed, the whole state. */
  get wordsRead(): number {
    return this.position;
  }

  /** The next u32. */
  word(): number {
    const block = Math.floor(this.position / 8);
    if (block !== this.blockIndex) this.load(block);
    return this.words[this.position++ % 8] ?? 0;
  }

  /** Uniform integer in 0 … bound − 1 by rejection. @param bound 1 … 2^32 */
  uniform(bound: number): number {
    assert(
      Number.isInteger(bound) && bound >= 1 && bound <= TWO_32,
      `bound ${bound} is outside 1 … 2^32`,
    );
    const limit = TWO_32 - (TWO_32 % bound);
    let word = this.word();
    while (word >= limit) word = this.word();
    return word % bound;
  }

  /** Uniform integer in 0 … bound − 1 for any bound up to 2^64: two words a draw, low first, above 2^32. */
  uniformBig(bound: bigint): bigint {
    assert(bound >= 1n && bound <= TWO_64, `bound ${bound} is outside 1 … 2^64`);
    if (bound <= BigInt(TWO_32)) return BigInt(this.uniform(Number(bound)));
    const limit = TWO_64 - (TWO_64 % bound);
    for (;;) {
      const low = BigInt(this.word());
      const value = (BigInt(this.word()) << 32n) | low;
      if (value < limit) return value % bound;
    }
  }

  /** k distinct positions of 0 … n − 1, in the order drawn (partial Fisher–Yates). */
  sample(n: number, k: number): Uint32Array {
    assert(k >= 0 && k <= n, `cannot draw ${k} of ${n}`);
    const a = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < k; i++) {
      const j = i + this.uniform(n - i);
      const kept = a[i] ?? 0;
      a[i] = a[j] ?? 0;
      a[j] = kept;
    }
    return a.slice(0, k);
  }

  /** Uniform in [0, 1), one word. Not for anything validators agree on. */
  unit(): number {
    return this.word() / TWO_32;
  }

  private load(block: number): void {
    const view = new DataView(this.input.buffer);
    view.setUint32(32, block % TWO_32, true);
    view.setUint32(36, Math.floor(block / TWO_32), true);
    const digest = sha256(this.input);
    const digestView = new DataView(digest.buffer, digest.byteOffset, 32);
    for (let i = 0; i < 8; i++) this.words[i] = digestView.getUint32(4 * i, true);
    this.blockIndex = block;
  }
}

/** A generator for one purpose of an experiment, independent of all other purposes: seed = H("rng", "seed/purpose"). */
export function seededRng(seed: number, purpose: string): Rng {
  return new Rng(taggedHash("rng", new TextEncoder().encode(`${seed}/${purpose}`)));
}
