/**
 * The highest round in which we have signed a block, in a file of its own: with a log that lost its tail, or is gone, it
 * alone keeps us from signing two blocks of one round. Two slots, written in turn; each lies in one sector, which a disk
 * writes whole or not at all. So the file always holds the newest round or the one before it, and a slot that is neither
 * is damage. It also keeps how far the log was on disk.
 *
 *   slot  magic [8] "SOMASIGN", sequence u64, round u64, durableEnd u64, crc u32 of the 32 bytes before
 */
import { crc32 } from "node:zlib";
import { SomaError } from "../../base/errors.ts";
import { RejectedError } from "../../protocol/base/errors.ts";
import { Reader, Writer } from "../../protocol/base/wire.ts";
import type { Round } from "../../protocol/consensus/block.ts";
import type { DiskFile, IoDone } from "./disk.ts";

const MAGIC = new TextEncoder().encode("SOMASIGN");
export const SLOT_BYTES = 36;
/** Far enough apart that no disk writes both at once. */
const SLOT_STEP = 4096;
const FILE_BYTES = SLOT_STEP + SLOT_BYTES;

/** What one slot of the file holds. */
export interface SignedSlot {
  /** 1, 2, …; slot sequence % 2. */
  readonly sequence: number;
  readonly round: Round;
  readonly durableEnd: number;
}

const NEVER: SignedSlot = { sequence: 0, round: 0, durableEnd: 0 };

export class HighestSigned {
  private readonly file: DiskFile;
  private newest: SignedSlot;

  /** @throws SomaError HIGHEST_SIGNED_CORRUPT: what it held may have been higher than what can be read */
  constructor(file: DiskFile) {
    this.file = file;
    if (file.sizeSync() === 0) {
      // Made just now, or cut off by a crash before anything was signed.
      file.truncateSync(FILE_BYTES);
    }
    file.syncSync(); // also what a killed process left in the machine's memory
    this.newest = newestOf(file);
  }

  get round(): Round {
    return this.newest.round;
  }

  /** How far the log was on disk when this was written. */
  get durableEnd(): number {
    return this.newest.durableEnd;
  }

  /** Durable when `done` is called without an error. One at a time. */
  write(round: Round, durableEnd: number, done: IoDone): void {
    this.file.write(this.turn(round, durableEnd), [encodeSlot(this.newest)], (error) => {
      if (error === undefined) this.file.sync(done);
      else done(error);
    });
  }

  /** Durable when it returns. For opening. */
  writeSync(round: Round, durableEnd: number): void {
    this.file.writeSync(this.turn(round, durableEnd), encodeSlot(this.newest));
    this.file.syncSync();
  }

  /** @returns where the newest slot goes: over the older one */
  private turn(round: Round, durableEnd: number): number {
    const sequence = this.newest.sequence + 1;
    this.newest = { sequence, round: Math.max(round, this.newest.round), durableEnd };
    return (sequence % 2) * SLOT_STEP;
  }

  close(): void {
    this.file.close();
  }
}

function newestOf(file: DiskFile): SignedSlot {
  const slots = [0, 1].map((i) => decodeSlot(file.readSync(i * SLOT_STEP, SLOT_BYTES), i));
  const [first, second] = slots;
  const areWhole = first !== undefined && second !== undefined;
  if (!areWhole || Math.abs(first.sequence - second.sequence) !== 1) {
    if (areWhole && first.sequence === 0 && second.sequence === 0) return NEVER;
    throw new SomaError({
      code: "HIGHEST_SIGNED_CORRUPT",
      kind: "corrupt",
      what: `${file.path} is damaged: which rounds were signed is not known`,
      next: "remove the whole folder of the log: the validator then learns its last block from its peers before it signs again",
    });
  }
  return first.sequence > second.sequence ? first : second;
}

export function encodeSlot({ sequence, round, durableEnd }: SignedSlot): Uint8Array {
  const writer = new Writer(SLOT_BYTES);
  writer.raw(MAGIC);
  writer.u64(sequence);
  writer.u64(round);
  writer.u64(durableEnd);
  writer.u32(crc32(writer.finish()));
  return writer.finish();
}

/** @param parity the slot's place: sequence % 2  @returns undefined for a damaged slot */
export function decodeSlot(bytes: Uint8Array, parity: number): SignedSlot | undefined {
  if (bytes.length < SLOT_BYTES) return undefined;
  if (bytes.every((byte) => byte === 0)) return NEVER;
  const reader = new Reader(bytes);
  const magic = reader.fixed(MAGIC.length);
  const rest = bytes.subarray(0, SLOT_BYTES - 4);
  const crc = new Reader(bytes, SLOT_BYTES - 4).u32();
  if (!MAGIC.every((byte, i) => byte === magic[i]) || crc !== crc32(rest)) return undefined;
  try {
    const slot = { sequence: reader.u64(), round: reader.u64(), durableEnd: reader.u64() };
    return slot.sequence % 2 === parity ? slot : undefined;
  } catch (error) {
    if (error instanceof RejectedError) return undefined; // more than a number holds: we never wrote it
    throw error;
  }
}
