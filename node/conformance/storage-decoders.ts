/**
 * Every way in for bytes from disk: the log's head, records and bodies, the file of highest signed rounds. A checksum
 * stops nearly all damage before anything is read, so that the contents are tried under checksums that are right too.
 */
import { crc32 } from "node:zlib";
import { equalBytes, concatBytes, u32Bytes, u64Bytes } from "../../protocol/base/bytes.ts";
import { decode, encode } from "../../protocol/base/codec.ts";
import { decodeCommit, encodeCommit } from "../../protocol/consensus/commit.ts";
import type { Rng } from "../../tokenizers/random.ts";
import { decodeSlot, encodeSlot, HighestSigned, SLOT_BYTES } from "../storage/highest-signed.ts";
import { appliedCodec, LogScan } from "../storage/log-contents.ts";
import { HIGHEST_SIGNED_FILE, LOG_FILE, openLogStore } from "../storage/log-store.ts";
import {
  decodeFileHead,
  encodeFileHead,
  FILE_HEAD_BYTES,
  isBodyWhole,
  RECORD_HEAD_BYTES,
  type RecordKind,
  RecordHeads,
} from "../storage/record.ts";
import { ByteDisk, ByteFile } from "./byte-disk.ts";
import type { Decoder } from "./fuzz.ts";
import { blockAround, drawnBytes, drawnCommit, drawnCount, drawnPayload } from "./sound-bytes.ts";

const IDENTITY = new Uint8Array(32).fill(9);
const SALT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const heads = new RecordHeads(SALT);
const FILE_HEAD = encodeFileHead({ salt: SALT, identity: IDENTITY });
const KINDS: readonly RecordKind[] = ["block", "commit", "applied"];

function drawnBody(kind: RecordKind, rng: Rng): Uint8Array {
  switch (kind) {
    case "block":
      return blockAround(drawnPayload(rng));
    case "commit":
      return drawnCommit(rng, 1);
    case "applied":
      return encode(appliedCodec, {
        index: drawnCount(rng),
        digest: drawnBytes(rng, 32),
        state: drawnBytes(rng, rng.uniform(50)),
      }).slice();
  }
}

function drawnKind(rng: Rng): RecordKind {
  return KINDS[rng.uniform(KINDS.length)] ?? "block";
}

/** A record behind `position` bytes of a log. */
function record(kind: RecordKind, body: Uint8Array, position: number): Uint8Array {
  return concatBytes(heads.encode(kind, body, position, FILE_HEAD_BYTES), body);
}

function recordAgain(input: Uint8Array): Uint8Array | undefined {
  const head = heads.decode(input, 0, FILE_HEAD_BYTES);
  const body = input.subarray(RECORD_HEAD_BYTES);
  if (head === undefined || !isBodyWhole(head, body)) return undefined;
  const { kind, durableEnd } = head;
  return concatBytes(heads.encode(kind, body, FILE_HEAD_BYTES, durableEnd), body);
}

function drawnLog(rng: Rng): Uint8Array {
  let log: Uint8Array = FILE_HEAD;
  for (let i = rng.uniform(4); i >= 0; i--) {
    const kind = i === 1 ? "commit" : i % 2 === 0 ? "block" : "applied";
    log = concatBytes(log, record(kind, drawnBody(kind, rng), log.length));
  }
  return log;
}

/** A log as a validator opens it: undefined if a tail was cut off, which must leave the start of what was there. */
function logAgain(input: Uint8Array): Uint8Array | undefined {
  const disk = new ByteDisk({ [LOG_FILE]: input });
  const store = openLogStore({ disk, identity: IDENTITY, salt: SALT });
  const recovered = store.recover({
    ownIndex: 0,
    gcDepthRounds: 60,
    onFailure: (error) => {
      throw error;
    },
  });
  for (const each of recovered.log.records) if (each.kind === "commit") decodeCommit(each.bytes);
  if (decodeFileHead(input) === undefined) return undefined; // no head was ever whole: begun anew
  const { bytes } = disk.open(LOG_FILE);
  if (!equalBytes(bytes, input.subarray(0, bytes.length))) throw new Error("cut off is no tail");
  return bytes.length === input.length ? rewritten(bytes) : undefined;
}

function rewritten(log: Uint8Array): Uint8Array {
  const head = decodeFileHead(log);
  if (head === undefined) return new Uint8Array(0);
  let again = encodeFileHead(head);
  const logHeads = new RecordHeads(head.salt);
  const scan = new LogScan(new ByteFile(LOG_FILE, log), logHeads, FILE_HEAD_BYTES);
  for (let next = scan.next(); next !== undefined; next = scan.next()) {
    const { kind, body, position, durableEnd } = next;
    again = concatBytes(again, logHeads.encode(kind, body, position, durableEnd), body);
  }
  return again;
}

/** Contents under the right checksum: the kind, then the body. */
function bodyAgain(input: Uint8Array): Uint8Array | undefined {
  const kind = KINDS[input[0] ?? KINDS.length];
  if (kind === undefined) return undefined;
  const body = input.subarray(1);
  const log = concatBytes(FILE_HEAD, record(kind, body, FILE_HEAD_BYTES));
  if (logAgain(log) === undefined) throw new Error("a whole record was cut off");
  const again =
    kind === "commit"
      ? encodeCommit(decodeCommit(body))
      : kind === "applied"
        ? encode(appliedCodec, decode(appliedCodec, body))
        : body;
  return concatBytes(input.subarray(0, 1), again);
}

/** The three numbers of a slot under the right checksum. */
function slotAgain(numbers: Uint8Array): Uint8Array | undefined {
  if (numbers.length !== 24) return undefined;
  const rest = concatBytes(new TextEncoder().encode("SOMASIGN"), numbers);
  const input = concatBytes(rest, u32Bytes(crc32(rest)));
  for (const parity of [0, 1]) {
    const slot = decodeSlot(input, parity);
    if (slot !== undefined) return encodeSlot(slot).slice(8, 32);
  }
  return undefined;
}

const SLOT_STEP = 4096;

function drawnSignedFile(rng: Rng): Uint8Array {
  const file = new ByteFile(HIGHEST_SIGNED_FILE, new Uint8Array(0));
  const signed = new HighestSigned(file);
  for (let i = rng.uniform(4); i >= 0; i--) signed.writeSync(rng.word(), drawnCount(rng));
  return file.bytes;
}

/** The file as a validator opens it: both slots must be whole. */
function signedFileAgain(input: Uint8Array): Uint8Array | undefined {
  const file = new ByteFile(HIGHEST_SIGNED_FILE, input.slice());
  new HighestSigned(file);
  if (input.length === 0) return undefined; // begun anew
  const again = input.slice();
  for (const i of [0, 1]) {
    const slot = decodeSlot(input.subarray(i * SLOT_STEP, i * SLOT_STEP + SLOT_BYTES), i);
    if (slot === undefined) throw new Error("a damaged slot was accepted");
    if (slot.sequence > 0) again.set(encodeSlot(slot), i * SLOT_STEP);
  }
  return again;
}

export const STORAGE_DECODERS: readonly Decoder[] = [
  {
    name: "log head",
    sample: (rng) => encodeFileHead({ salt: drawnBytes(rng, 8), identity: drawnBytes(rng, 32) }),
    roundTrip: (input) => {
      const head = decodeFileHead(input);
      if (head === undefined) return undefined;
      return concatBytes(encodeFileHead(head), input.subarray(FILE_HEAD_BYTES)); // the records
    },
  },
  {
    name: "log record",
    sample: (rng) => {
      const kind = drawnKind(rng);
      return record(kind, drawnBody(kind, rng), FILE_HEAD_BYTES);
    },
    roundTrip: recordAgain,
  },
  {
    name: "log body",
    sample: (rng) => {
      const kind = drawnKind(rng);
      return concatBytes(Uint8Array.of(KINDS.indexOf(kind)), drawnBody(kind, rng));
    },
    roundTrip: bodyAgain,
  },
  { name: "log", sample: drawnLog, roundTrip: logAgain },
  {
    name: "signed slot",
    sample: (rng) =>
      concatBytes(u64Bytes(drawnCount(rng)), u64Bytes(rng.word()), u64Bytes(drawnCount(rng))),
    roundTrip: slotAgain,
  },
  { name: "highest signed", sample: drawnSignedFile, roundTrip: signedFileAgain },
];
