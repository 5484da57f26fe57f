/**
 * Canonical encoding: the BCS format, byte for byte that of @mysten/bcs. One value has one encoding and decoders
 * refuse every other: trailing bytes, lengths that are not minimal, a bool of 2, keys out of order. Nothing is
 * allocated for a length before it is known to fit its limit and the bytes that are left. There are no floats.
 */
import { assert } from "../../base/errors.ts";
import { compareBytes } from "./bytes.ts";
import { RejectedError } from "./errors.ts";

/** Nesting of structures that a decoder follows. */
export const DEPTH_MAX = 16;

const TWO_32 = 2 ** 32;
const SAFE_HIGH = 2 ** 21; // a u64 with this high word or more passes 2^53

/** Bytes in, values out. Views into `bytes`, no copies: whoever hands them over does not change them afterwards. */
export class Reader {
  private readonly input: Uint8Array;
  private readonly view: DataView;
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
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) {
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

/** How one type is written and read. */
export interface Codec<T> {
  /** Fewest bytes of a value: what a vector's length is held against before anything is allocated. */
  readonly sizeMin: number;
  write(writer: Writer, value: T): void;
  /** @throws RejectedError */
  read(reader: Reader): T;
}

export type ValueOf<C> = C extends Codec<infer T> ? T : never;

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer();
  codec.write(writer, value);
  return writer.finish();
}

/** The one value that `bytes` encode. @throws RejectedError */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = codec.read(reader);
  reader.finish();
  return value;
}

function scalar<T>(
  sizeMin: number,
  write: (writer: Writer, value: T) => void,
  read: (reader: Reader) => T,
): Codec<T> {
  return { sizeMin, write, read };
}

export const u8 = scalar<number>(
  1,
  (w, v) => {
    w.u8(v);
  },
  (r) => r.u8(),
);
export const u16 = scalar<number>(
  2,
  (w, v) => {
    w.u16(v);
  },
  (r) => r.u16(),
);
export const u32 = scalar<number>(
  4,
  (w, v) => {
    w.u32(v);
  },
  (r) => r.u32(),
);
/** Up to 2^53 − 1. */
export const u64 = scalar<number>(
  8,
  (w, v) => {
    w.u64(v);
  },
  (r) => r.u64(),
);
export const u64Big = scalar<bigint>(
  8,
  (w, v) => {
    w.u64Big(v);
  },
  (r) => r.u64Big(),
);
export const bool = scalar<boolean>(
  1,
  (w, v) => {
    w.u8(v ? 1 : 0);
  },
  (r) => r.bool(),
);

/** Exactly `count` bytes; read as a view. */
export function fixedBytes(count: number): Codec<Uint8Array> {
  return scalar<Uint8Array>(
    count,
    (writer, value) => {
      assert(value.length === count, `${value.length} bytes where ${count} belong`);
      writer.raw(value);
    },
    (reader) => reader.fixed(count),
  );
}

/** A byte string; read as a view. */
export function bytes(limit: number): Codec<Uint8Array> {
  return scalar<Uint8Array>(
    1,
    (writer, value) => {
      assert(value.length <= limit, `${value.length} bytes, at most ${limit}`);
      writer.length(value.length);
      writer.raw(value);
    },
    (reader) => reader.bytes(limit),
  );
}

/** UTF-8. @param limit in bytes */
export function text(limit: number): Codec<string> {
  const inner = bytes(limit);
  return scalar<string>(
    1,
    (writer, value) => {
      const encoded = new TextEncoder().encode(value);
      const isWhole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(encoded) === value;
      assert(isWhole, "a string with half a surrogate pair");
      inner.write(writer, encoded);
    },
    (reader) => {
      const encoded = inner.read(reader);
      try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(encoded);
      } catch {
        throw new RejectedError("BAD_UTF8", `${encoded.length} bytes that are not UTF-8`);
      }
    },
  );
}

export function option<T>(inner: Codec<T>): Codec<T | undefined> {
  return scalar<T | undefined>(
    1,
    (writer, value) => {
      writer.u8(value === undefined ? 0 : 1);
      if (value !== undefined) inner.write(writer, value);
    },
    (reader) => (reader.bool() ? reader.nested(() => inner.read(reader)) : undefined),
  );
}

export function vector<T>(inner: Codec<T>, limit: number): Codec<readonly T[]> {
  assert(inner.sizeMin > 0, "elements of no bytes would let a length stand for nothing");
  return scalar<readonly T[]>(
    1,
    (writer, values) => {
      assert(values.length <= limit, `${values.length} elements, at most ${limit}`);
      writer.length(values.length);
      for (const value of values) inner.write(writer, value);
    },
    (reader) => {
      const count = readCount(reader, inner.sizeMin, limit);
      return reader.nested(() => Array.from({ length: count }, () => inner.read(reader)));
    },
  );
}

/** A map whose keys ascend by their encoding, each once. */
export function map<K, V>(key: Codec<K>, value: Codec<V>, limit: number): Codec<ReadonlyMap<K, V>> {
  const pairs = vector(struct({ key: encodedAlone(key), value }), limit);
  return scalar<ReadonlyMap<K, V>>(
    1,
    (writer, values) => {
      const list = [...values].map(([k, v]) => ({ key: encode(key, k), value: v }));
      list.sort((a, b) => compareBytes(a.key, b.key));
      pairs.write(writer, list);
    },
    (reader) => {
      const list = pairs.read(reader);
      const found = new Map<K, V>();
      list.forEach((pair, i) => {
        const before = list[i - 1];
        if (before !== undefined && compareBytes(before.key, pair.key) >= 0) {
          throw new RejectedError(
            "KEYS_NOT_ASCENDING",
            `key ${i} of a map is not above key ${i - 1}`,
          );
        }
        found.set(decode(key, pair.key), pair.value);
      });
      return found;
    },
  );
}

/** A value kept as its encoding: the order of a map is that of its keys' bytes. */
function encodedAlone<T>(inner: Codec<T>): Codec<Uint8Array> {
  return {
    sizeMin: inner.sizeMin,
    write: (writer, value) => {
      writer.raw(value);
    },
    read: (reader) => {
      const value = inner.read(reader);
      return encode(inner, value);
    },
  };
}

type Fields<T> = { readonly [Name in keyof T]: Codec<T[Name]> };

/** Fields in the order in which they are named. */
export function struct<T extends object>(fields: Fields<T>): Codec<T> {
  const names = Object.keys(fields) as (keyof T)[];
  return scalar<T>(
    names.reduce((sum, name) => sum + fields[name].sizeMin, 0),
    (writer, value) => {
      for (const name of names) fields[name].write(writer, value[name]);
    },
    (reader) =>
      reader.nested(() => {
        const value: Partial<T> = {};
        for (const name of names) value[name] = fields[name].read(reader);
        return value as T;
      }),
  );
}

type Variant<T extends { readonly kind: string }> = {
  readonly [Kind in T["kind"]]: Codec<Omit<Extract<T, { readonly kind: Kind }>, "kind">>;
};

/** A union `{ kind, … }`: the number of the kind, in the order in which they are named, then its fields. */
export function union<T extends { readonly kind: string }>(variants: Variant<T>): Codec<T> {
  const kinds = Object.keys(variants) as T["kind"][];
  const codecOf = variants as Readonly<Record<string, Codec<object>>>;
  return scalar<T>(
    1,
    (writer, value) => {
      const index = kinds.indexOf(value.kind);
      assert(index >= 0, `no variant ${value.kind}`);
      writer.length(index);
      codecOf[value.kind]?.write(writer, value);
    },
    (reader) => {
      const index = reader.length(2 ** 32 - 1);
      const kind = kinds[index];
      const inner = kind === undefined ? undefined : codecOf[kind];
      if (inner === undefined) {
        throw new RejectedError("UNKNOWN_VARIANT", `variant ${index} of ${kinds.length}`);
      }
      return { kind, ...reader.nested(() => inner.read(reader)) } as unknown as T;
    },
  );
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
