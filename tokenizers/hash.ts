/**
 * Domain-separated SHA-256: H(tag, ...parts) = sha256("soma/" + tag + "/v1" || 0x00 || parts).
 * Source: protocol part 1. The one door for @noble/hashes: pure, synchronous, equal on every machine.
 */
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { assert } from "../base/errors.ts";

/** SHA-256 of bytes: 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return nobleSha256(bytes);
}

/** H(tag, ...parts). Parts are raw bytes; the caller puts a length before any part that is not of fixed width. */
export function taggedHash(tag: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const head = new TextEncoder().encode(`soma/${tag}/v1`);
  const hash = nobleSha256.create().update(head).update(Uint8Array.of(0));
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** An integer 0 … 2^32 − 1 as 4 little-endian bytes. */
export function u32(value: number): Uint8Array {
  // setUint32 would wrap silently, and two indices would share one hash.
  assert(Number.isInteger(value) && value >= 0 && value < 2 ** 32, `${value} is not a u32`);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Bytes of a hex string, or undefined if it is not hex of even length. */
export function fromHex(hex: string): Uint8Array | undefined {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex)) return undefined;
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}
