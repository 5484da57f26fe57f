import fc from "fast-check";
import { expect, test } from "vitest";
import {
  crc32c,
  fileVersionRecord,
  maskedCrc32c,
  scalarRecord,
  sessionStartRecord,
} from "../../training/tensorboard.ts";

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

test("crc32c gives the published check values", () => {
  // RFC 3720, B.4, and the catalogue of parametrised CRC algorithms (CRC-32/ISCSI).
  expect(crc32c(ascii("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
});

test("the file begins with the record that TensorFlow writes", () => {
  // Written by TensorFlow's own EventsWriter for wall time 1.0: length 24, its crc, the event, its crc.
  const record = fileVersionRecord(1);
  const event = record.subarray(12, record.length - 4);
  expect(Array.from(record.subarray(0, 8))).toEqual([24, 0, 0, 0, 0, 0, 0, 0]);
  expect(Buffer.from(event).toString("latin1")).toBe(
    "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x1a\x0dbrain.Event:2",
  );
});

test("what is written is read back, record by record, whatever the tags and values", () => {
  const scalars = fc.dictionary(
    fc
      .string({ minLength: 1, maxLength: 300, unit: "grapheme" })
      .filter((tag) => tag !== "__proto__"),
    fc.float({ noNaN: true }),
    { noNullPrototype: true, maxKeys: 5 },
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          step: fc.nat({ max: 2 ** 40 }),
          wallTimeS: fc.double({ noNaN: true }),
          scalars,
        }),
      ),
      (events) => {
        const file = Buffer.concat([
          fileVersionRecord(5),
          ...events.map((event) => scalarRecord(event)),
        ]);
        const read = parseFile(file);
        expect(read[0]).toMatchObject({ fileVersion: "brain.Event:2", wallTimeS: 5 });
        expect(
          read.slice(1).map(({ step, wallTimeS, scalars }) => ({ step, wallTimeS, scalars })),
        ).toEqual(events);
      },
    ),
  );
});

test("a session's start carries its step, so that a reader drops what an earlier session wrote after it", () => {
  expect(parseFile(sessionStartRecord(2, 700))).toEqual([
    { wallTimeS: 2, step: 700, scalars: {}, sessionStatus: 1 },
  ]);
});

interface ReadEvent {
  wallTimeS: number;
  step: number;
  scalars: Record<string, number>;
  fileVersion?: string;
  sessionStatus?: number;
}

/** A reader of its own: lengths, both checksums, then the fields of Event by number. */
function parseFile(file: Uint8Array): ReadEvent[] {
  const events: ReadEvent[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  while (at < file.length) {
    const length = Number(view.getBigUint64(at, true));
    expect(view.getUint32(at + 8, true)).toBe(maskedCrc32c(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(view.getUint32(at + 12 + length, true)).toBe(maskedCrc32c(data));
    at += 16 + length;
    const event: ReadEvent = { wallTimeS: Number.NaN, step: 0, scalars: {} };
    for (const [field, value] of fieldsOf(data)) {
      if (field === 1) event.wallTimeS = doubleOf(value);
      if (field === 2) event.step = Number(value);
      if (field === 3) event.fileVersion = textOf(value);
      if (field === 5) {
        for (const [, inner] of fieldsOf(bytesOf(value))) {
          const summary = new Map(fieldsOf(bytesOf(inner)));
          event.scalars[textOf(summary.get(1))] = floatOf(summary.get(2));
        }
      }
      if (field === 7) event.sessionStatus = Number(fieldsOf(bytesOf(value))[0]?.[1]);
    }
    events.push(event);
  }
  return events;
}

type FieldValue = bigint | Uint8Array;

function fieldsOf(data: Uint8Array): [number, FieldValue][] {
  const fields: [number, FieldValue][] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(data[at++] ?? 0);
      value |= (byte & 127n) << shift;
      if (byte < 128n) return value;
    }
  };
  while (at < data.length) {
    const key = Number(varint());
    const type = key & 7;
    if (type === 0) {
      fields.push([key >> 3, varint()]);
      continue;
    }
    const length = type === 1 ? 8 : type === 5 ? 4 : Number(varint());
    fields.push([key >> 3, Uint8Array.from(data.subarray(at, at + length))]);
    at += length;
  }
  return fields;
}

function bytesOf(value: FieldValue | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error("not a field of bytes");
  return value;
}
const viewOf = (value: FieldValue | undefined): DataView => new DataView(bytesOf(value).buffer);
const doubleOf = (value: FieldValue | undefined): number => viewOf(value).getFloat64(0, true);
const floatOf = (value: FieldValue | undefined): number => viewOf(value).getFloat32(0, true);
const textOf = (value: FieldValue | undefined): string => new TextDecoder().decode(bytesOf(value));
