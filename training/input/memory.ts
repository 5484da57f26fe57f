/**
 * Memory of one step's batches, used again for another step once the batches are no longer read: arrays laid one after
 * another into one buffer that threads share. What does not fit gets a buffer of its own, and the next time there is
 * room.
 */

/** Arrays begin at a multiple of this: wide enough for any number and any vector unit. */
const ALIGNMENT = 64;

export class BatchMemory {
  private buffer = new SharedArrayBuffer(0);
  private used = 0;

  /** Everything that was handed out may be overwritten from here on. */
  reset(): void {
    if (this.used > this.buffer.byteLength) this.buffer = new SharedArrayBuffer(this.used);
    this.used = 0;
  }

  /** Float32Array [length] with whatever was in it, valid until `reset`. */
  floats(length: number): Float32Array {
    const { buffer, offset } = this.take(4 * length);
    return new Float32Array(buffer, offset, length);
  }

  /** Int32Array [length] with whatever was in it, valid until `reset`. */
  ints(length: number): Int32Array {
    const { buffer, offset } = this.take(4 * length);
    return new Int32Array(buffer, offset, length);
  }

  private take(sizeBytes: number): { readonly buffer: SharedArrayBuffer; readonly offset: number } {
    const offset = this.used;
    this.used += Math.ceil(sizeBytes / ALIGNMENT) * ALIGNMENT;
    return this.used <= this.buffer.byteLength
      ? { buffer: this.buffer, offset }
      : { buffer: new SharedArrayBuffer(sizeBytes), offset: 0 };
  }
}
