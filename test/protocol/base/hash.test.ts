import fc from "fast-check";
import { expect, test } from "vitest";
import { u32Bytes, u64Bytes } from "../../../protocol/base/bytes.ts";
import { hashDomain, hashParts, hashStructure, sha256 } from "../../../protocol/base/hash.ts";
import { sha256 as nobleSha256, taggedHash } from "../../../tokenizers/hash.ts";

const tag = fc.stringMatching(/^[a-z]{1,20}$/);

test("node:crypto and noble name everything alike, however it is cut into parts", () => {
  fc.assert(
    fc.property(tag, fc.array(fc.uint8Array({ maxLength: 6000 }), { maxLength: 4 }), (t, parts) => {
      expect(hashParts(hashDomain(t), ...parts)).toEqual(Buffer.from(taggedHash(t, ...parts)));
    }),
    { numRuns: 200 },
  );
});

test("long inputs, which are not joined first, are hashed alike", () => {
  for (const size of [8178, 8179, 8180, 100_000]) {
    const bytes = new Uint8Array(size).fill(size % 251);
    expect(sha256(bytes)).toEqual(Buffer.from(nobleSha256(bytes)));
    expect(hashParts(hashDomain("block"), bytes)).toEqual(Buffer.from(taggedHash("block", bytes)));
  }
});

test("a structure is hashed with its length before it", () => {
  const bytes = Uint8Array.of(1, 2, 3);
  expect(hashStructure(hashDomain("block"), bytes)).toEqual(
    Buffer.from(taggedHash("block", Uint8Array.of(3, 0, 0, 0), bytes)),
  );
});

test("a hash that was returned does not change with the next one", () => {
  const first = hashParts(hashDomain("a"), Uint8Array.of(1));
  const kept = Uint8Array.from(first);
  hashParts(hashDomain("a"), Uint8Array.of(2));
  expect(Uint8Array.from(first)).toEqual(kept);
});

test("integers are little-endian and nothing wraps", () => {
  expect(u32Bytes(0x01020304)).toEqual(Uint8Array.of(4, 3, 2, 1));
  expect(u64Bytes(2 ** 53 - 1)).toEqual(Uint8Array.of(255, 255, 255, 255, 255, 255, 31, 0));
  for (const wrong of [-1, 1.5, 2 ** 32, NaN]) expect(() => u32Bytes(wrong)).toThrow("u32");
  for (const wrong of [-1, 1.5, 2 ** 53, NaN]) expect(() => u64Bytes(wrong)).toThrow("u64");
});
