/**
 * Decoded pictures on disk, by content hash. A cache folder holds segments: each is one file, written once
 * (atomically) and never changed, so readers and writers of several processes need no lock.
 *
 * Segment, little-endian:
 *   "SOMAIMG1" · u32 record count · u32 CRC-32 of the table
 *   table: per record  32 bytes SHA-256 of the encoded picture · u32 width · u32 height ·
 *                      u32 source width · u32 source height · u32 CRC-32 of the pixels
 *   pixels of all records in the same order, width × height × 3 bytes each
 * A damaged segment is deleted whole: everything in it can be decoded again.
 */
import { open, readdir, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { assert } from "../base/errors.ts";
import { writeFileAtomic } from "../base/files.ts";
import { contentHash } from "./digest.ts";
import type { PixelMemory } from "./image-store.ts";

const MAGIC = "SOMAIMG1";
const HEAD_BYTES = 16;
const RECORD_BYTES = 52;
const SUFFIX = ".images";
/** No sane segment has more records; a larger count is damage. */
const SEGMENT_RECORDS_MAX = 1 << 22;

/** A decoded picture and the size it had before it was scaled. */
export interface DecodedPicture {
  readonly width: number;
  readonly height: number;
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  /** Uint8Array [height × width × 3], RGB interleaved. */
  readonly pixels: Uint8Array;
}

interface CacheRecord extends Omit<DecodedPicture, "pixels"> {
  readonly hash: string;
  readonly offset: number;
  readonly checksum: number;
}

/**
 * The pictures of `wanted` (SHA-256 hex of the encoded bytes) that the folder holds, checked.
 * A segment that fails a check is deleted and gives nothing.
 * @param memory  where their pixels are kept
 */
export async function readCachedPictures(
  folder: string,
  wanted: ReadonlySet<string>,
  memory: PixelMemory,
): Promise<Map<string, DecodedPicture>> {
  const found = new Map<string, DecodedPicture>();
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((file) => file.endsWith(SUFFIX)).sort()) {
    if (found.size === wanted.size) break;
    const path = join(folder, name);
    // Another process may have removed it, or the disk may fail: then it is decoded again.
    const file = await open(path, "r").catch(() => undefined);
    if (file === undefined) continue;
    try {
      const pictures = await readSegment(file, wanted, found);
      if (pictures === undefined) await rm(path, { force: true }).catch(() => undefined);
      for (const [hash, picture] of pictures ?? [])
        found.set(hash, { ...picture, pixels: memory.add(picture.pixels) });
    } finally {
      await file.close();
    }
  }
  return found;
}

/** Write pictures as one new segment; its name is the hash of its table, so equal segments coincide. */
export async function writeCachedPictures(
  folder: string,
  pictures: ReadonlyMap<string, DecodedPicture>,
): Promise<void> {
  if (pictures.size === 0) return;
  const table = Buffer.alloc(pictures.size * RECORD_BYTES);
  let at = 0;
  let pixelBytes = 0;
  for (const [hash, picture] of pictures) {
    assert(
      picture.pixels.length === picture.width * picture.height * 3,
      `${picture.pixels.length} bytes are not ${picture.width}×${picture.height} RGB pixels`,
    );
    table.set(Buffer.from(hash, "hex"), at);
    table.writeUInt32LE(picture.width, at + 32);
    table.writeUInt32LE(picture.height, at + 36);
    table.writeUInt32LE(picture.sourceWidth, at + 40);
    table.writeUInt32LE(picture.sourceHeight, at + 44);
    table.writeUInt32LE(crc32(picture.pixels), at + 48);
    at += RECORD_BYTES;
    pixelBytes += picture.pixels.length;
  }
  const segment = Buffer.alloc(HEAD_BYTES + table.length + pixelBytes);
  segment.write(MAGIC, 0, "latin1");
  segment.writeUInt32LE(pictures.size, 8);
  segment.writeUInt32LE(crc32(table), 12);
  segment.set(table, HEAD_BYTES);
  at = HEAD_BYTES + table.length;
  for (const { pixels } of pictures.values()) {
    segment.set(pixels, at);
    at += pixels.length;
  }
  await writeFileAtomic(join(folder, `${contentHash(table).slice(0, 24)}${SUFFIX}`), segment);
}

/** The wanted pictures of one segment that `known` lacks, or undefined if the segment is damaged. */
async function readSegment(
  file: FileHandle,
  wanted: ReadonlySet<string>,
  known: ReadonlyMap<string, unknown>,
): Promise<Map<string, DecodedPicture> | undefined> {
  const records = await readTable(file);
  if (records === undefined) return undefined;
  const pictures = new Map<string, DecodedPicture>();
  const needed = records.filter(({ hash }) => wanted.has(hash) && !known.has(hash));
  for (const run of consecutiveRuns(needed)) {
    const bytes = await readExactly(file, run.offset, run.sizeBytes);
    if (bytes === undefined) return undefined;
    for (const { hash, offset, checksum, ...size } of run.records) {
      const start = bytes.byteOffset + offset - run.offset;
      const pixels = new Uint8Array(bytes.buffer, start, size.width * size.height * 3);
      if (crc32(pixels) !== checksum) return undefined;
      pictures.set(hash, { ...size, pixels });
    }
  }
  return pictures;
}

/** The records of a segment, or undefined unless head, table and file size agree. */
async function readTable(file: FileHandle): Promise<CacheRecord[] | undefined> {
  const head = await readExactly(file, 0, HEAD_BYTES);
  if (head?.toString("latin1", 0, 8) !== MAGIC) return undefined;
  const count = head.readUInt32LE(8);
  if (count > SEGMENT_RECORDS_MAX) return undefined;
  const table = await readExactly(file, HEAD_BYTES, count * RECORD_BYTES);
  if (table === undefined || crc32(table) !== head.readUInt32LE(12)) return undefined;
  const records: CacheRecord[] = [];
  let offset = HEAD_BYTES + table.length;
  for (let at = 0; at < table.length; at += RECORD_BYTES) {
    const width = table.readUInt32LE(at + 32);
    const height = table.readUInt32LE(at + 36);
    records.push({
      hash: table.toString("hex", at, at + 32),
      width,
      height,
      sourceWidth: table.readUInt32LE(at + 40),
      sourceHeight: table.readUInt32LE(at + 44),
      checksum: table.readUInt32LE(at + 48),
      offset,
    });
    offset += width * height * 3;
  }
  const { size } = await file.stat();
  return size === offset ? records : undefined;
}

interface Run {
  readonly offset: number;
  sizeBytes: number;
  readonly records: CacheRecord[];
}

/** Neighbouring records joined, so that a whole set is a few large reads. */
function consecutiveRuns(records: readonly CacheRecord[]): Run[] {
  const runs: Run[] = [];
  for (const record of records) {
    const sizeBytes = record.width * record.height * 3;
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.sizeBytes === record.offset) {
      last.sizeBytes += sizeBytes;
      last.records.push(record);
    } else {
      runs.push({ offset: record.offset, sizeBytes, records: [record] });
    }
  }
  return runs;
}

async function readExactly(
  file: FileHandle,
  offset: number,
  sizeBytes: number,
): Promise<Buffer | undefined> {
  const buffer = Buffer.alloc(sizeBytes);
  const { bytesRead } = await file.read(buffer, 0, sizeBytes, offset);
  return bytesRead === sizeBytes ? buffer : undefined;
}
