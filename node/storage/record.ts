/**
 * Form of the log file: a head, then records one behind the other. All integers are little-endian.
 *
 *   head    magic [8] "SOMALOG1", salt [8], identity [32], zero [12], crc u32 of the 60 bytes before
 *   record  kind u8, zero [3], length u32, durableEnd u64, bodyCrc u32, headCrc u32; then `length` bytes of body
 *
 * `durableEnd` is how far the log was on disk when the record was made: it tells a torn tail, which nobody was promised,
 * from damage to what was promised. `headCrc` covers the log's random salt and the record's position too, so that bytes
 * of a stale or a foreign log, or of a record that someone hid in his transactions, are never taken for a record.
 */
import { crc32 } from "node:zlib";
import { assert } from "../../base/errors.ts";
import { Reader, Writer } from "../../protocol/base/wire.ts";

export type RecordKind = "block" | "commit" | "applied";
const KINDS: readonly RecordKind[] = ["block", "commit", "applied"];

export const FILE_HEAD_BYTES = 64;
export const RECORD_HEAD_BYTES = 24;
/** Above every block and every commit: a length that passes it is damage. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;
export const SALT_BYTES = 8;
export const IDENTITY_BYTES = 32;

const MAGIC = new TextEncoder().encode("SOMALOG1");

/** Starts every log. */
export interface FileHead {
  /** Random, of this log alone. */
  readonly salt: Uint8Array;
  /** Names the network and the epoch that the log is of. */
  readonly identity: Uint8Array;
}

export function encodeFileHead({ salt, identity }: FileHead): Uint8Array {
  assert(salt.length === SALT_BYTES && identity.length === IDENTITY_BYTES, "sizes of a log's head");
  const writer = new Writer(FILE_HEAD_BYTES);
  writer.raw(MAGIC);
  writer.raw(salt);
  writer.raw(identity);
  writer.raw(new Uint8Array(12));
  writer.u32(crc32(writer.finish()));
  return writer.finish();
}

/** @returns undefined for what is no head of a log, or a damaged one */
export function decodeFileHead(bytes: Uint8Array): FileHead | undefined {
  if (bytes.length < FILE_HEAD_BYTES) return undefined;
  const reader = new Reader(bytes);
  const magic = reader.fixed(MAGIC.length);
  const salt = reader.fixed(SALT_BYTES).slice();
  const identity = reader.fixed(IDENTITY_BYTES).slice();
  reader.skip(12);
  const isWhole = reader.u32() === crc32(bytes.subarray(0, FILE_HEAD_BYTES - 4));
  return isWhole && MAGIC.every((byte, i) => byte === magic[i]) ? { salt, identity } : undefined;
}

export interface RecordHead {
  readonly kind: RecordKind;
  readonly length: number;
  readonly durableEnd: number;
  readonly bodyCrc: number;
}

/** Heads of records of one log. */
export class RecordHeads {
  /** Salt and position, before each crc. */
  private readonly seed = new Uint8Array(SALT_BYTES + 8);
  private readonly seedView = new DataView(this.seed.buffer);

  constructor(salt: Uint8Array) {
    this.seed.set(salt);
  }

  encode(kind: RecordKind, body: Uint8Array, position: number, durableEnd: number): Uint8Array {
    assert(body.length <= BODY_BYTES_MAX, `a record of ${body.length} bytes`);
    const head = new Uint8Array(RECORD_HEAD_BYTES);
    const view = new DataView(head.buffer);
    head[0] = KINDS.indexOf(kind) + 1;
    view.setUint32(4, body.length, true);
    view.setBigUint64(8, BigInt(durableEnd), true);
    view.setUint32(16, crc32(body), true);
    view.setUint32(20, this.crc(head, position), true);
    return head;
  }

  /** The head at `offset` of `bytes`, which is at `position` of the log; undefined if there is none. */
  decode(bytes: Uint8Array, offset: number, position: number): RecordHead | undefined {
    const kind = KINDS[(bytes[offset] ?? 0) - 1];
    const hasZeros = bytes[offset + 1] === 0 && bytes[offset + 2] === 0 && bytes[offset + 3] === 0;
    if (kind === undefined || !hasZeros || bytes.length - offset < RECORD_HEAD_BYTES) {
      return undefined; // most of what is no head ends here, before anything is computed
    }
    const head = bytes.subarray(offset, offset + RECORD_HEAD_BYTES);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    if (view.getUint32(20, true) !== this.crc(head, position)) return undefined;
    const length = view.getUint32(4, true);
    if (length > BODY_BYTES_MAX) return undefined;
    const durableEnd = Number(view.getBigUint64(8, true));
    if (!Number.isSafeInteger(durableEnd)) return undefined;
    return { kind, length, durableEnd, bodyCrc: view.getUint32(16, true) };
  }

  private crc(head: Uint8Array, position: number): number {
    this.seedView.setBigUint64(SALT_BYTES, BigInt(position), true);
    return crc32(head.subarray(0, RECORD_HEAD_BYTES - 4), crc32(this.seed));
  }
}

/** True if the body is the one that was written. */
export function isBodyWhole(head: RecordHead, body: Uint8Array): boolean {
  return body.length === head.length && crc32(body) === head.bodyCrc;
}
