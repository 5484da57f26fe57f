import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { readSafetensors, writeSafetensors, type HostTensor } from "../../models/safetensors.ts";

const vector = (name: string): Uint8Array =>
  readFileSync(new URL(`../vectors/safetensors/${name}.safetensors`, import.meta.url));

/** A file of any header text and data. */
function file(header: string, data = new Uint8Array(0), declared?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, declared ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

function tensor(begin: number, end: number, shape: readonly number[], dtype = "F32"): string {
  return JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
}

const shapes = fc.array(fc.nat({ max: 4 }), { maxLength: 3 });
const tensors = fc
  .uniqueArray(fc.tuple(fc.string({ unit: "grapheme" }), shapes, fc.nat()), {
    selector: ([name]) => name,
    maxLength: 6,
  })
  .map((entries) => {
    const map = new Map<string, HostTensor>();
    for (const [name, shape, seed] of entries) {
      if (name === "__metadata__") continue;
      const size = shape.reduce((product, n) => product * n, 1);
      map.set(name, { shape, data: Float32Array.from({ length: size }, (_, i) => seed / (i + 1)) });
    }
    return map;
  });

describe("safetensors", () => {
  test("what is written is read back, from any alignment", () => {
    fc.assert(
      fc.property(
        tensors,
        fc.dictionary(fc.string(), fc.string()),
        fc.nat({ max: 7 }),
        (map, metadata, shift) => {
          const written = writeSafetensors(map, metadata);
          const shifted = new Uint8Array(written.length + shift).subarray(shift);
          shifted.set(written);
          const read = readSafetensors(shifted);
          expect(read.tensors).toEqual(map);
          expect({ ...read.metadata }).toEqual({ ...metadata });
        },
      ),
    );
  });

  test("equal tensors give equal bytes, whatever the order they came in", () => {
    fc.assert(
      fc.property(tensors, (map) => {
        const reversed = new Map([...map].reverse());
        expect(writeSafetensors(reversed)).toEqual(writeSafetensors(map));
      }),
    );
  });

  test("the header is padded so that the data is aligned to 8 bytes, and aligned data is not copied", () => {
    const bytes = writeSafetensors(new Map([["a", { shape: [2], data: Float32Array.of(1, 2) }]]));
    expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
    expect(readSafetensors(bytes).tensors.get("a")?.data.buffer).toBe(bytes.buffer);
  });

  test("a file of Python's safetensors is read, and written again byte for byte", () => {
    const bytes = vector("float32");
    const { tensors: read, metadata } = readSafetensors(bytes);
    expect(read.get("b.weight")).toEqual({
      shape: [2, 3],
      data: Float32Array.of(0, 0.25, 0.5, 0.75, 1, 1.25),
    });
    expect(read.get("10")?.data).toEqual(Float32Array.of(-0, Infinity));
    expect(read.get("scalar")).toEqual({ shape: [], data: Float32Array.of(2.25) });
    expect(metadata).toEqual({ format: "soma" });
    expect(Buffer.from(writeSafetensors(read, metadata)).equals(bytes)).toBe(true);
  });

  test("half precision and bfloat16 are widened exactly", () => {
    const { tensors: read } = readSafetensors(vector("halves"));
    expect(read.get("half")?.shape).toEqual([2, 3]);
    expect([...(read.get("half")?.data ?? [])]).toEqual([
      1,
      -2.5,
      1023 * 2 ** -24, // 6.1e-5, the largest that is subnormal
      2 ** -24, // 5.96e-8, the smallest
      65504,
      -Infinity,
    ]);
    const brains = [...(read.get("brain")?.data ?? [])];
    expect(brains.slice(0, 3)).toEqual([1, -2.5, 3.140625]);
    expect(Math.abs((brains[3] ?? 0) / 1e38 - 1)).toBeLessThan(2 ** -7);
  });

  const eight = new Uint8Array(8);
  test.each<[string, Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /0 bytes hold no header/],
    ["a header length beyond the file", file("{}", eight, 100n), /truncated/],
    ["a header over 100 MB", file("{}", eight, 100_000_001n), /at most 100000000/],
    ["a header length of 2^64 − 1", file("{}", eight, 2n ** 64n - 1n), /at most/],
    ["a header that is not JSON", file("{a}"), /not JSON/],
    [
      "a header that is not UTF-8",
      Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff, 0x22),
      /UTF-8/,
    ],
    ["a header that is a list", file("[]"), /not a JSON object/],
    ["a header behind spaces", file(" {}"), /not a JSON object/],
    ["a name twice", file(`{"a":${tensor(0, 4, [1])},"a":${tensor(4, 8, [1])}}`, eight), /twice/],
    ["a name twice, once escaped", file(`{"a":${tensor(0, 8, [2])},"\\u0061":1}`, eight), /twice/],
    ["a field twice", file(`{"a":{"dtype":"F32","dtype":"F16"}}`), /"dtype" appears twice/],
    ["an unknown type", file(`{"a":${tensor(0, 8, [1], "F64")}}`, eight), /type "F64"/],
    ["a type from the prototype", file(`{"a":${tensor(0, 8, [1], "toString")}}`, eight), /type/],
    ["an unknown field", file(`{"a":{"dtype":"F32","x":1}}`), /unknown field "x"/],
    ["a negative dimension", file(`{"a":${tensor(0, 8, [-2])}}`, eight), /bad shape/],
    ["a fractional dimension", file(`{"a":${tensor(0, 8, [0.5])}}`, eight), /bad shape/],
    ["offsets that go back", file(`{"a":${tensor(8, 0, [2])}}`, eight), /its offsets give -8/],
    ["three offsets", file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}}`), /offsets/],
    ["a shape that does not match", file(`{"a":${tensor(0, 8, [3])}}`, eight), /needs 12 bytes/],
    [
      "a shape whose size overflows",
      file(`{"a":${tensor(0, 8, [2 ** 53 - 1, 2 ** 53 - 1])}}`, eight),
      /needs/,
    ],
    ["an overlap", file(`{"a":${tensor(0, 8, [2])},"b":${tensor(4, 8, [1])}}`, eight), /overlaps/],
    ["a gap", file(`{"a":${tensor(4, 8, [1])}}`, eight), /a gap of 4 bytes/],
    ["data that ends early", file(`{"a":${tensor(0, 12, [3])}}`, eight), /truncated/],
    ["data behind the last tensor", file(`{"a":${tensor(0, 4, [1])}}`, eight), /4 bytes behind/],
    ["metadata that is not text", file(`{"__metadata__":{"a":1}}`), /not a string/],
  ])("%s is refused as corrupt", (_, bytes, message) => {
    expect(() => readSafetensors(bytes, "x.safetensors")).toThrow(message);
    try {
      readSafetensors(bytes, "x.safetensors");
    } catch (error) {
      expect(error).toBeInstanceOf(SomaError);
      expect((error as SomaError).exitCode).toBe(5);
      expect((error as SomaError).message).toMatch(/^x\.safetensors: /);
    }
  });

  test("no damaged byte of the header ends in anything but a refusal or a well-formed result", () => {
    const good = writeSafetensors(
      new Map([
        ["a", { shape: [2], data: Float32Array.of(1, 2) }],
        ["b", { shape: [1, 1], data: Float32Array.of(3) }],
      ]),
    );
    fc.assert(
      fc.property(fc.nat({ max: good.length - 13 }), fc.nat({ max: 255 }), (at, value) => {
        const bad = good.slice();
        bad[at] = value;
        try {
          for (const { shape, data } of readSafetensors(bad).tensors.values()) {
            expect(data.length).toBe(shape.reduce((product, n) => product * n, 1));
          }
        } catch (error) {
          expect(error).toBeInstanceOf(SomaError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("a truncated file is always refused", () => {
    const bytes = vector("float32");
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readSafetensors(bytes.subarray(0, length))).toThrow(SomaError);
    }
  });
});
