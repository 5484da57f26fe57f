/**
 * TensorBoard event files, written by hand: a TFRecord file of Event messages, scalars only.
 * TFRecord: u64 length, masked crc32c of it, data, masked crc32c of that; all little-endian. Event fields:
 * 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log.
 * Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, framework/summary.proto.
 */

export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTimeS: number;
  readonly step: number;
  readonly scalars: Readonly<Record<string, number>>;
}

/** What every event file begins with. */
export function fileVersionRecord(wallTimeS: number): Uint8Array {
  return record([...double(1, wallTimeS), ...bytes(3, utf8("brain.Event:2"))]);
}

/** Says that a session begins (again) at `step`: TensorBoard drops what an earlier file has from there on. */
export function sessionStartRecord(wallTimeS: number, step: number): Uint8Array {
  return record([...double(1, wallTimeS), ...varint(2, step), ...bytes(7, varint(1, 1))]);
}

/** One event with a value for each tag. */
export function scalarRecord(event: ScalarEvent): Uint8Array {
  const summary = Object.entries(event.scalars).flatMap(([tag, value]) =>
    bytes(1, [...bytes(1, utf8(tag)), ...float(2, value)]),
  );
  return record([...double(1, event.wallTimeS), ...varint(2, event.step), ...bytes(5, summary)]);
}

/** CRC-32C (Castagnoli), reflected, as iSCSI's. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** A crc stored beside its data is rotated and shifted, so that a crc of data with crcs inside stays good. */
export function maskedCrc32c(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

function record(event: readonly number[]): Uint8Array {
  const data = Uint8Array.from(event);
  const out = new Uint8Array(12 + data.length + 4);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return out;
}

// Protocol buffer fields: a key (number << 3 | wire type), then the value. Wire types: 0 varint, 1 eight bytes,
// 2 length and bytes, 5 four bytes.

function varint(field: number, value: number): number[] {
  return [...base128(field * 8), ...base128(value)];
}

function double(field: number, value: number): number[] {
  const buffer = new Uint8Array(8);
  new DataView(buffer.buffer).setFloat64(0, value, true);
  return [...base128(field * 8 + 1), ...buffer];
}

function bytes(field: number, value: ArrayLike<number>): number[] {
  return [...base128(field * 8 + 2), ...base128(value.length), ...Array.from(value)];
}

function float(field: number, value: number): number[] {
  const buffer = new Uint8Array(4);
  new DataView(buffer.buffer).setFloat32(0, value, true);
  return [...base128(field * 8 + 5), ...buffer];
}

function base128(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
  return out;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
