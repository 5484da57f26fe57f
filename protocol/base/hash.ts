/**
 * Domain-separated SHA-256: H(tag, ...parts) = sha256(utf8("soma/" + tag + "/v1") || 0x00 || parts).
 * Source: protocol part 1. By node:crypto, which is nine times as fast as JavaScript on a block's payload; a test holds
 * it equal to tokenizers/hash.ts (see docs/decisions/0003).
 */
import { createHash, hash } from "node:crypto";
import { u32Bytes, utf8 } from "./bytes.ts";

export const DIGEST_BYTES = 32;

/** "soma/tag/v1" and a zero byte: what a hash of one purpose starts with. */
export type HashDomain = Uint8Array & { readonly domain: true };

export function hashDomain(tag: string): HashDomain {
  return utf8(`soma/${tag}/v1\0`) as HashDomain;
}

/** SHA-256 of bytes: 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return hash("sha256", bytes, "buffer");
}

/** Where short inputs are joined for one call: making a hash object costs more than copying a few hundred bytes. */
const SCRATCH = new Uint8Array(8192);
const SCRATCH_VIEW = new DataView(SCRATCH.buffer);

/**
 * H(tag, ...parts). Parts are raw: values of fixed width as they are. A byte string of variable length is a part with
 * its length before it: see hashStructure and lengthPrefixed.
 */
export function hashParts(domain: HashDomain, ...parts: readonly Uint8Array[]): Uint8Array {
  let size = domain.length;
  for (const part of parts) size += part.length;
  if (size > SCRATCH.length) {
    const state = createHash("sha256").update(domain);
    for (const part of parts) state.update(part);
    return state.digest();
  }
  SCRATCH.set(domain);
  let offset = domain.length;
  for (const part of parts) {
    SCRATCH.set(part, offset);
    offset += part.length;
  }
  return sha256(SCRATCH.subarray(0, size));
}

/** H(tag, structure): an encoded structure, or any byte string, is one part with its length before it as u32. */
export function hashStructure(domain: HashDomain, structure: Uint8Array): Uint8Array {
  const start = domain.length + 4;
  if (start + structure.length > SCRATCH.length) {
    return hashParts(domain, u32Bytes(structure.length), structure);
  }
  SCRATCH.set(domain);
  SCRATCH_VIEW.setUint32(domain.length, structure.length, true);
  SCRATCH.set(structure, start);
  return sha256(SCRATCH.subarray(0, start + structure.length));
}
