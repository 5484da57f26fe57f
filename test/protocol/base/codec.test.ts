import { bcs } from "@mysten/bcs";
import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  bool,
  bytes,
  type Codec,
  decode,
  encode,
  fixedBytes,
  map,
  option,
  struct,
  text,
  u16,
  u32,
  u64,
  u64Big,
  u8,
  union,
  type ValueOf,
  vector,
} from "../../../protocol/base/codec.ts";
import { DEPTH_MAX, lengthSize, Writer } from "../../../protocol/base/wire.ts";
import { RejectedError, type RejectionCode } from "../../../protocol/base/errors.ts";

/** A structure with every kind of field. */
const everything = struct({
  a: u8,
  b: u16,
  c: u32,
  d: u64,
  e: u64Big,
  f: bool,
  g: fixedBytes(3),
  h: bytes(300),
  i: text(400),
  j: option(u16),
  k: vector(struct({ x: u32, y: bytes(4) }), 200),
  l: union<
    | { readonly kind: "none" }
    | { readonly kind: "one"; readonly value: number }
    | { readonly kind: "many"; readonly values: readonly number[] }
  >({ none: struct({}), one: struct({ value: u8 }), many: struct({ values: vector(u16, 9) }) }),
  m: map(u16, bool, 50),
});
type Everything = ValueOf<typeof everything>;

/** The same, told to the program whose format it is. */
const oracle = bcs.struct("Everything", {
  a: bcs.u8(),
  b: bcs.u16(),
  c: bcs.u32(),
  d: bcs.u64(),
  e: bcs.u64(),
  f: bcs.bool(),
  g: bcs.fixedArray(3, bcs.u8()),
  h: bcs.vector(bcs.u8()),
  i: bcs.string(),
  j: bcs.option(bcs.u16()),
  k: bcs.vector(bcs.struct("Pair", { x: bcs.u32(), y: bcs.vector(bcs.u8()) })),
  l: bcs.enum("Union", {
    none: null,
    one: bcs.u8(),
    many: bcs.vector(bcs.u16()),
  }),
  m: bcs.map(bcs.u16(), bcs.bool()),
});

function forOracle(value: Everything): Parameters<typeof oracle.serialize>[0] {
  const l =
    value.l.kind === "none"
      ? { none: true as const }
      : value.l.kind === "one"
        ? { one: value.l.value }
        : { many: [...value.l.values] };
  return {
    ...value,
    g: [...value.g],
    h: [...value.h],
    j: value.j ?? null,
    k: value.k.map(({ x, y }) => ({ x, y: [...y] })),
    l,
    m: new Map(value.m),
  };
}

const arbitrary: fc.Arbitrary<Everything> = fc.record({
  a: fc.integer({ min: 0, max: 0xff }),
  b: fc.integer({ min: 0, max: 0xffff }),
  c: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  d: fc.maxSafeNat(),
  e: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  f: fc.boolean(),
  g: fc.uint8Array({ minLength: 3, maxLength: 3 }),
  h: fc.uint8Array({ maxLength: 300 }),
  i: fc.string({ unit: "grapheme", maxLength: 30 }),
  j: fc.option(fc.integer({ min: 0, max: 0xffff }), { nil: undefined }),
  k: fc.array(
    fc.record({ x: fc.integer({ min: 0, max: 2 ** 32 - 1 }), y: fc.uint8Array({ maxLength: 4 }) }),
    { maxLength: 200 },
  ),
  l: fc.oneof(
    fc.constant({ kind: "none" as const }),
    fc.record({ kind: fc.constant("one" as const), value: fc.integer({ min: 0, max: 255 }) }),
    fc.record({
      kind: fc.constant("many" as const),
      values: fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 9 }),
    }),
  ),
  m: fc
    .array(fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.boolean()), { maxLength: 50 })
    .map((pairs) => new Map(pairs)),
});

function refusal(codec: Codec<unknown>, input: Uint8Array | readonly number[]): RejectionCode {
  try {
    decode(codec, Uint8Array.from(input));
  } catch (error) {
    if (error instanceof RejectedError) return error.code;
    throw error;
  }
  throw new Error("it was accepted");
}

test("what is written is, byte for byte, what @mysten/bcs writes", () => {
  fc.assert(
    fc.property(arbitrary, (value) => {
      const ours = encode(everything, value);
      expect(Buffer.from(ours)).toEqual(Buffer.from(oracle.serialize(forOracle(value)).toBytes()));
    }),
    { numRuns: 300 },
  );
});

test("what is written is read back", () => {
  fc.assert(
    fc.property(arbitrary, (value) => {
      const read = decode(everything, encode(everything, value));
      expect({ ...read, m: new Map([...read.m].sort()) }).toEqual({
        ...value,
        m: new Map([...value.m].sort()),
      });
    }),
  );
});

/** More in a fuzzing session: SOMA_FUZZ_COUNT=1000000. */
const FUZZ_COUNT = Number(process.env["SOMA_FUZZ_COUNT"] ?? 3000);

test("bytes from nowhere are refused by name, or are exactly the encoding of what was read", () => {
  fc.assert(
    fc.property(
      arbitrary,
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      fc.integer({ min: -3, max: 3 }),
      (value, changes, length) => {
        const sound = encode(everything, value);
        const input = new Uint8Array(Math.max(0, sound.length + length));
        input.set(sound.subarray(0, input.length));
        for (const [at, byte] of changes) input[at % Math.max(1, input.length)] = byte;
        let read: Everything;
        try {
          read = decode(everything, input);
        } catch (error) {
          if (error instanceof RejectedError) return;
          throw error;
        }
        expect(Buffer.from(encode(everything, read))).toEqual(Buffer.from(input));
      },
    ),
    { numRuns: FUZZ_COUNT },
  );
});

describe("refused by name", () => {
  const list = vector(u32, 1000);
  const cases: readonly [string, Codec<unknown>, readonly number[], RejectionCode][] = [
    ["a byte after the end", u16, [1, 2, 3], "TRAILING_BYTES"],
    ["a byte too few", u32, [1, 2, 3], "TRUNCATED"],
    ["nothing at all", u8, [], "TRUNCATED"],
    ["a list cut short", list, [2, 1, 0, 0, 0, 1], "TRUNCATED"],
    ["a length in two bytes where one is enough", bytes(9), [0x80, 0x00], "LENGTH_NOT_CANONICAL"],
    ["a length of 1 in two bytes", bytes(9), [0x81, 0x00, 7], "LENGTH_NOT_CANONICAL"],
    ["a length that goes on for ever", list, [255, 255, 255, 255, 255, 1], "LENGTH_NOT_CANONICAL"],
    ["a length of 2^32", list, [0x80, 0x80, 0x80, 0x80, 0x10], "INTEGER_TOO_LARGE"],
    ["a length over its limit", bytes(3), [4, 1, 2, 3, 4], "LENGTH_OVER_LIMIT"],
    ["a length that nothing follows", list, [0xe8, 0x07, 1, 2, 3, 4], "TRUNCATED"],
    ["a bool of 2", bool, [2], "BAD_BOOL"],
    ["an option of 2", option(u8), [2, 1], "BAD_BOOL"],
    ["a u64 above 2^53", u64, [0, 0, 0, 0, 0, 0, 0x20, 0], "INTEGER_TOO_LARGE"],
    ["an unknown variant", union({ a: struct({}) }), [1], "UNKNOWN_VARIANT"],
    ["a string over its limit", text(3), [4, 0x61, 0x61, 0x61, 0x61], "LENGTH_OVER_LIMIT"],
    ["half a character", text(9), [1, 0xc3], "BAD_UTF8"],
    ["a character in more bytes than it needs", text(9), [2, 0xc0, 0x80], "BAD_UTF8"],
    ["a surrogate in UTF-8", text(9), [3, 0xed, 0xa0, 0x80], "BAD_UTF8"],
    ["a key twice", map(u8, u8, 9), [2, 5, 0, 5, 1], "KEYS_NOT_ASCENDING"],
    ["keys out of order", map(u8, u8, 9), [2, 5, 0, 4, 1], "KEYS_NOT_ASCENDING"],
  ];
  test.each(cases)("%s", (_title, codec, input, code) => {
    expect(refusal(codec, input)).toBe(code);
  });

  test("a structure nested too deep", () => {
    let nested: Codec<unknown> = u8;
    for (let depth = 0; depth <= DEPTH_MAX; depth++) nested = option(nested);
    expect(
      refusal(
        nested,
        Array.from({ length: DEPTH_MAX + 2 }, () => 1),
      ),
    ).toBe("TOO_DEEP");
  });
});

test("there are no floats, so none that is NaN, infinite or −0: nothing in the formats reads or writes one", () => {
  const sources = ["protocol", "node/network", "node/storage"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(`${folder}/${name}`, "utf8")),
  );
  expect(sources.length).toBeGreaterThan(40);
  expect(
    sources.filter((text) => /[gs]etFloat(16|32|64)|(read|write)(Float|Double)/.test(text)),
  ).toEqual([]);
});

test("a huge length costs no memory: nothing is made before the bytes are known to be there", () => {
  const huge = vector(fixedBytes(1), 2 ** 32 - 1);
  const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  for (let i = 0; i < 1000; i++)
    expect(refusal(huge, [255, 255, 255, 255, 15, 1])).toBe("TRUNCATED");
  const after = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  expect(after - before).toBeLessThan(64 * 1024 * 1024);
});

test("values that do not fit are our own mistake", () => {
  expect(() => encode(u8, 256)).toThrow("0 … 255");
  expect(() => encode(u64, 2 ** 53)).toThrow("u64");
  expect(() => encode(u64Big, 2n ** 64n)).toThrow("u64");
  expect(() => encode(fixedBytes(2), Uint8Array.of(1))).toThrow("1 bytes where 2 belong");
  expect(() => encode(bytes(2), Uint8Array.of(1, 2, 3))).toThrow("at most 2");
  expect(() => encode(text(9), "\ud800")).toThrow("surrogate");
  expect(() => encode(vector(u8, 1), [1, 2])).toThrow("at most 1");
  expect(() => vector(struct({}), 9)).toThrow("no bytes");
});

test("a length takes as many bytes as it is said to take", () => {
  for (const value of [0, 1, 127, 128, 16_383, 16_384, 2 ** 21, 2 ** 28, 2 ** 32 - 1]) {
    const writer = new Writer(1);
    writer.length(value);
    expect(writer.finish().length).toBe(lengthSize(value));
  }
});
