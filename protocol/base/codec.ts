/**
 * Canonical encoding by composition: the BCS format, byte for byte that of @mysten/bcs. One value has one encoding.
 * There are no floats. A codec is a pair of functions over wire.ts.
 */
import { assert } from "../../base/errors.ts";
import { compareBytes } from "./bytes.ts";
import { RejectedError } from "./errors.ts";
import { readCount, Reader, Writer } from "./wire.ts";

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
