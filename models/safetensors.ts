/**
 * The safetensors format: a little-endian u64 header length, a JSON header, then the raw tensors without gaps.
 * Source: the format's README ("Format") and the checks of the Rust reader (safetensors 0.8, `validate`).
 * Stricter than both in one point: a name that appears twice in the header is refused, not silently replaced.
 */
import { assert, SomaError } from "../base/errors.ts";

/** A tensor in plain memory. */
export interface HostTensor {
  readonly shape: readonly number[];
  /** Float32Array [product of shape], row-major. */
  readonly data: Float32Array;
}

export interface Safetensors {
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bytes of a header at most: the format's own limit, so that a length in a stranger's file cannot ask for more. */
export const HEADER_BYTES_MAX = 100_000_000;

const LENGTH_BYTES = 8;
const METADATA = "__metadata__";

/** Types that are read; all are widened to float32, which holds each of them exactly. */
const TYPE_BYTES = { F32: 4, F16: 2, BF16: 2 } as const;
type FloatType = keyof typeof TYPE_BYTES;

/** One tensor as the header describes it; offsets count from the end of the header. */
interface Entry {
  readonly name: string;
  readonly type: FloatType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/**
 * The file's bytes: tensors as F32, sorted by name, header padded with spaces to a multiple of 8. Equal input
 * gives equal bytes, the same that Python's safetensors writes when there is at most one metadata key.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const sorted = [...tensors].sort(([a], [b]) => compareUtf8(a, b));
  // Pairs, not an object: an object would move names that look like numbers to the front.
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) {
    fields.push(`"${METADATA}":${JSON.stringify(metadata)}`);
  }
  let dataBytes = 0;
  for (const [name, { shape, data }] of sorted) {
    assert(name !== METADATA, `no tensor may be called ${METADATA}`);
    assert(
      data.length === sizeOf(shape),
      `${name}: ${data.length} values for shape [${shape.join(", ")}]`,
    );
    const offsets = [dataBytes, dataBytes + data.byteLength];
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"F32","shape":${JSON.stringify(shape)},"data_offsets":${JSON.stringify(offsets)}}`,
    );
    dataBytes += data.byteLength;
  }
  const header = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerBytes = Math.ceil(header.length / 8) * 8;
  assert(headerBytes <= HEADER_BYTES_MAX, "the header is within the format's limit");

  const file = new Uint8Array(LENGTH_BYTES + headerBytes + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.fill(0x20, LENGTH_BYTES, LENGTH_BYTES + headerBytes);
  file.set(header, LENGTH_BYTES);
  let position = LENGTH_BYTES + headerBytes;
  for (const [, { data }] of sorted) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), position);
    position += data.byteLength;
  }
  return file;
}

/**
 * Read a file of float tensors. F32 tensors are views of `bytes` where it is aligned to 4: do not change it after.
 * @param where  what the bytes are, for messages, e.g. "last/model.safetensors"
 * @throws SomaError CORRUPT_SAFETENSORS (corrupt) for anything the format forbids
 */
export function readSafetensors(bytes: Uint8Array, where = "safetensors file"): Safetensors {
  const refuse = (what: string): SomaError =>
    new SomaError({
      code: "CORRUPT_SAFETENSORS",
      kind: "corrupt",
      what: `${where}: ${what}`,
      next: "restore the file from where it came from, or write it again",
    });
  if (bytes.length < LENGTH_BYTES) throw refuse(`${bytes.length} bytes hold no header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const declared = view.getBigUint64(0, true);
  if (declared > BigInt(HEADER_BYTES_MAX)) {
    throw refuse(`header of ${declared} bytes, at most ${HEADER_BYTES_MAX} are allowed`);
  }
  const headerBytes = Number(declared);
  if (LENGTH_BYTES + headerBytes > bytes.length) {
    throw refuse(`header of ${headerBytes} bytes in a file of ${bytes.length}: it is truncated`);
  }
  const dataStart = LENGTH_BYTES + headerBytes;
  const { entries, metadata } = parseHeader(bytes.subarray(LENGTH_BYTES, dataStart), refuse);
  checkLayout(entries, bytes.length - dataStart, refuse);

  const tensors = new Map<string, HostTensor>();
  for (const entry of entries) {
    const raw = bytes.subarray(dataStart + entry.begin, dataStart + entry.end);
    tensors.set(entry.name, { shape: entry.shape, data: widen(raw, entry.type) });
  }
  return { tensors, metadata };
}

type Refuse = (what: string) => SomaError;

function parseHeader(
  header: Uint8Array,
  refuse: Refuse,
): { entries: readonly Entry[]; metadata: Readonly<Record<string, string>> } {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
    parsed = JSON.parse(text);
  } catch {
    throw refuse("the header is not JSON in UTF-8");
  }
  // The padding stands behind: anything before the brace would let one file be read as another format too.
  if (!text.startsWith("{") || !isRecord(parsed)) throw refuse("the header is not a JSON object");
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw refuse(`the name ${JSON.stringify(repeated)} appears twice`);

  const entries: Entry[] = [];
  let metadata: Readonly<Record<string, string>> = {};
  for (const [name, value] of Object.entries(parsed)) {
    if (name === METADATA) metadata = parseMetadata(value, refuse);
    else entries.push(parseEntry(name, value, refuse));
  }
  return { entries, metadata };
}

function parseMetadata(value: unknown, refuse: Refuse): Readonly<Record<string, string>> {
  if (!isRecord(value)) throw refuse("the metadata is not an object");
  const pairs: [string, string][] = [];
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw refuse(`metadata ${JSON.stringify(key)} is not a string`);
    pairs.push([key, text]);
  }
  return Object.fromEntries(pairs);
}

function parseEntry(name: string, value: unknown, refuse: Refuse): Entry {
  const called = JSON.stringify(name);
  if (!isRecord(value)) throw refuse(`tensor ${called} is not an object`);
  const { dtype, shape, data_offsets: offsets, ...rest } = value;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw refuse(`tensor ${called} has an unknown field "${unknown}"`);
  if (typeof dtype !== "string" || !Object.hasOwn(TYPE_BYTES, dtype)) {
    throw refuse(
      `tensor ${called} has type ${JSON.stringify(dtype)}; F32, F16 and BF16 can be read`,
    );
  }
  const type = dtype as FloatType;
  if (!isCounts(shape)) throw refuse(`tensor ${called} has a bad shape`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    throw refuse(`tensor ${called} has bad offsets`);
  }
  const [begin = 0, end = 0] = offsets;
  const wanted = sizeOf(shape) * TYPE_BYTES[type];
  if (begin > end || end - begin !== wanted) {
    throw refuse(
      `tensor ${called} of shape [${shape.join(", ")}] needs ${wanted} bytes, its offsets give ${end - begin}`,
    );
  }
  return { name, type, shape, begin, end };
}

/** Tensors must fill the data exactly, each byte belonging to one: no overlap, no gap, nothing behind. */
function checkLayout(entries: readonly Entry[], dataBytes: number, refuse: Refuse): void {
  const inOrder = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of inOrder) {
    const called = JSON.stringify(name);
    if (begin < position) throw refuse(`tensor ${called} overlaps the one before it`);
    if (begin > position) throw refuse(`a gap of ${begin - position} bytes before ${called}`);
    if (end > dataBytes) {
      throw refuse(`tensor ${called} ends at byte ${end} of ${dataBytes}: the file is truncated`);
    }
    position = end;
  }
  if (position !== dataBytes) throw refuse(`${dataBytes - position} bytes behind the last tensor`);
}

/** `raw` as float32: a view where type and alignment allow it, else a copy. */
function widen(raw: Uint8Array, type: FloatType): Float32Array {
  if (type === "F32") {
    const aligned = raw.byteOffset % 4 === 0 ? raw : raw.slice();
    return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
  }
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const read = type === "F16" ? halfToFloat : brainToFloat;
  return Float32Array.from({ length: raw.byteLength / 2 }, (_, i) =>
    read(view.getUint16(2 * i, true)),
  );
}

/** IEEE 754 binary16. */
function halfToFloat(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new DataView(new ArrayBuffer(4));

/** bfloat16: the upper half of a float32. */
function brainToFloat(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}

/**
 * A key that one object of valid JSON text has twice, if any. `JSON.parse` keeps the last without a word, and
 * two readers that disagree on which one counts would load different weights.
 */
function repeatedKey(text: string): string | undefined {
  const open: { keys: Set<string> | undefined; expectsKey: boolean }[] = [];
  for (let i = 0; i < text.length; i++) {
    const top = open.at(-1);
    switch (text.charAt(i)) {
      case "{":
        open.push({ keys: new Set(), expectsKey: true });
        break;
      case "[":
        open.push({ keys: undefined, expectsKey: false });
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case ",":
        if (top?.keys !== undefined) top.expectsKey = true;
        break;
      case '"': {
        const start = i;
        for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
        if (top?.keys === undefined || !top.expectsKey) break;
        const key = JSON.parse(text.slice(start, i + 1)) as string; // escapes may spell one name in two ways
        if (top.keys.has(key)) return key;
        top.keys.add(key);
        top.expectsKey = false;
        break;
      }
      default: // space, ":", and the characters of numbers and words
    }
  }
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/** Values of a shape; 1 for a scalar. May pass 2^53 for a stranger's shape, where no byte count can match it. */
function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Order of names by their UTF-8 bytes, as Rust sorts strings: differs from JavaScript's own beyond U+FFFF. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
