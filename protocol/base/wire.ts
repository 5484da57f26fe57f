/**
 * The bytes under the canonical encoding (BCS): integers, lengths, byte strings. Decoders refuse every other form of a
 * value: trailing bytes, lengths that are not minimal, a bool of 2. Nothing is allocated for a length before it is known
 * to fit its limit and the bytes that are left.
 */
import { assert } from "../../base/errors.ts";
import { RejectedError } from "./errors.ts";

/** Nesting of structures that a decoder follows. */
export const DEPTH_MAX = 16;

const TWO_32 = 2 ** 32;
const TWO_35 = 2 ** 35;
const SAFE_HIGH = 2 ** 21; // a u64 with this high word or more passes 2^53

/** Bytes in, values out. Views into `bytes`, no copies: whoever hands them over does not change them afterwards. */
export class Reader {
  /** Of all the bytes. */
  readonly view: DataView;
  private readonly input: Uint8Array;
  private position: number;
  private depth = 0;

  constructor(bytes: Uint8Array, position = 0) {
    this.input = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
  }

  get offset(): number {
    return this.position;
  }

  get remaining(): number {
    return this.input.length - this.position;
  }

  u8(): number {
    return this.input[this.take(1)] ?? 0;
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** A u64 that a number holds exactly; anything above 2^53 − 1 is refused. */
  u64(): number {
    const at = this.take(8);
    const high = this.view.getUint32(at + 4, true);
    if (high >= SAFE_HIGH) throw new RejectedError("INTEGER_TOO_LARGE", "a u64 above 2^53 − 1");
    return high * TWO_32 + this.view.getUint32(at, true);
  }

  u64Big(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }

  bool(): boolean {
    const byte = this.u8();
    if (byte > 1) throw new RejectedError("BAD_BOOL", `a bool is 0 or 1, not ${byte}`);
    return byte === 1;
  }

  /** A length: unsigned LEB128 of at most 32 bits in its shortest form. */
  length(limit: number): number {
    let value = 0;
    for (let place = 1; place < TWO_35; place *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * place;
      if (byte < 0x80) {
        if (byte === 0 && place > 1) {
          throw new RejectedError("LENGTH_NOT_CANONICAL", "a length with a needless zero byte");
        }
        if (value >= TWO_32) throw new RejectedError("INTEGER_TOO_LARGE", "a length above 32 bits");
        if (value > limit) {
          throw new RejectedError("LENGTH_OVER_LIMIT", `a length of ${value}, at most ${limit}`);
        }
        return value;
      }
    }
    throw new RejectedError("LENGTH_NOT_CANONICAL", "a length of more than 5 bytes");
  }

  /** `count` bytes, as a view. */
  fixed(count: number): Uint8Array {
    const at = this.take(count);
    return this.input.subarray(at, at + count);
  }

  /** A length and as many bytes, as a view. */
  bytes(limit: number): Uint8Array {
    return this.fixed(this.length(limit));
  }

  skip(count: number): void {
    this.take(count);
  }

  finish(): void {
    if (this.remaining !== 0) {
      throw new RejectedError("TRAILING_BYTES", `${this.remaining} bytes after the end`);
    }
  }

  /** Run `read` one level deeper. */
  nested<T>(read: () => T): T {
    if (++this.depth > DEPTH_MAX) {
      throw new RejectedError("TOO_DEEP", `nested more than ${DEPTH_MAX} deep`);
    }
    const value = read();
    this.depth--;
    return value;
  }

  private take(count: number): number {
    const at = this.position;
    if (count > this.input.length - at) {
      throw new RejectedError("TRUNCATED", `${count} bytes wanted, ${this.input.length - at} left`);
    }
    this.position = at + count;
    return at;
  }
}

/** Values in, bytes out. Values out of range are our own mistake: InvariantError. */
export class Writer {
  private output: Uint8Array;
  private view: DataView;
  private position = 0;

  /** @param sizeBytes what is expected; grows when more comes */
  constructor(sizeBytes = 256) {
    this.output = new Uint8Array(sizeBytes);
    this.view = new DataView(this.output.buffer);
  }

  u8(value: number): void {
    assertRange(value, 0x100);
    const at = this.grow(1); // first: it may move the view
    this.view.setUint8(at, value);
  }

  u16(value: number): void {
    assertRange(value, 0x10000);
    const at = this.grow(2); // first: it may move the view
    this.view.setUint16(at, value, true);
  }

  u32(value: number): void {
    assertRange(value, TWO_32);
    const at = this.grow(4); // first: it may move the view
    this.view.setUint32(at, value, true);
  }

  u64(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `${value} is not a u64 a number can hold`);
    const at = this.grow(8);
    this.view.setUint32(at, value % TWO_32, true);
    this.view.setUint32(at + 4, Math.floor(value / TWO_32), true);
  }

  u64Big(value: bigint): void {
    assert(value >= 0n && value < 2n ** 64n, `${value.toString()} is not a u64`);
    const at = this.grow(8); // first: it may move the view
    this.view.setBigUint64(at, value, true);
  }

  length(value: number): void {
    assertRange(value, TWO_32);
    let rest = value;
    while (rest >= 0x80) {
      this.u8((rest % 0x80) + 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.u8(rest);
  }

  /** The bytes as they are, without a length. */
  raw(bytes: Uint8Array): void {
    const at = this.grow(bytes.length);
    this.output.set(bytes, at);
  }

  /** What was written, as a view. */
  finish(): Uint8Array {
    return this.output.subarray(0, this.position);
  }

  private grow(count: number): number {
    const at = this.position;
    const needed = at + count;
    if (needed > this.output.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.output.length));
      larger.set(this.output);
      this.output = larger;
      this.view = new DataView(larger.buffer);
    }
    this.position = needed;
    return at;
  }
}

function assertRange(value: number, end: number): void {
  assert(Number.isInteger(value) && value >= 0 && value < end, `${value} is not in 0 … ${end - 1}`);
}

/** Bytes that a length below 2^32 takes. */
export function lengthSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** The length of a list, held against its limit and against the bytes that are left. */
export function readCount(reader: Reader, sizeMin: number, limit: number): number {
  const count = reader.length(limit);
  if (count * sizeMin > reader.remaining) {
    throw new RejectedError(
      "TRUNCATED",
      `${count} elements of at least ${sizeMin} bytes, ${reader.remaining} bytes left`,
    );
  }
  return count;
}
