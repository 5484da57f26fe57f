/**
 * A disk in memory that can die in the middle of any call, by kill −9 (what was written stays) or with the machine (of
 * the sectors not synced each may be lost). Every call answers before it returns. The disk outlives its processes: open
 * its files again after `revive`.
 */
import type { Disk, DiskFile, IoDone } from "../../node/storage/disk.ts";
import type { Rng } from "../../tokenizers/random.ts";

const SECTOR_BYTES = 512;

export type Death = "kill" | "power";

interface Contents {
  bytes: Uint8Array;
  /** By number: what a sector that was written since the last sync held before. */
  readonly unsynced: Map<number, Uint8Array>;
  syncedSize: number;
}

/** Thrown by calls without a callback once the process is dead. */
export class Dead extends Error {}

export class CrashDisk implements Disk {
  readonly files = new Map<string, Contents>();
  private readonly rng: Rng;
  /** Calls that change something, so far. */
  callCount = 0;
  /** The call at which the process dies. */
  diesAt = Infinity;
  /** What the next sync answers. */
  nextSyncError: Error | undefined;
  private isDead = false;

  constructor(rng: Rng) {
    this.rng = rng;
  }

  get hasDied(): boolean {
    return this.isDead;
  }

  /** The next process finds what the last one left. */
  revive(death: Death): void {
    for (const contents of this.files.values()) {
      if (death === "power") this.losePower(contents);
      contents.unsynced.clear();
      contents.syncedSize = contents.bytes.length;
    }
    this.isDead = false;
    this.diesAt = Infinity;
  }

  /** Turn one bit. */
  flip(name: string, bit: number): void {
    const bytes = this.files.get(name)?.bytes;
    if (bytes === undefined) throw new Error(`no file ${name}`);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  }

  bytesOf(name: string): Uint8Array {
    return this.files.get(name)?.bytes ?? new Uint8Array(0);
  }

  open(name: string): DiskFile {
    const contents = this.files.get(name) ?? {
      bytes: new Uint8Array(0),
      unsynced: new Map<number, Uint8Array>(),
      syncedSize: 0,
    };
    this.files.set(name, contents);
    return {
      path: name,
      sizeSync: () => contents.bytes.length,
      readSync: (position, length) => contents.bytes.slice(position, position + length),
      writeSync: (position, bytes) => {
        if (!this.write(contents, position, bytes)) throw new Dead();
      },
      truncateSync: (length) => {
        if (!this.call()) throw new Dead();
        const sized = new Uint8Array(length);
        sized.set(contents.bytes.subarray(0, length));
        contents.bytes = sized;
        contents.syncedSize = Math.min(contents.syncedSize, length);
      },
      syncSync: () => {
        if (!this.call()) throw new Dead();
        this.sync(contents);
      },
      read: (position, length, done) => {
        if (!this.isDead) done(undefined, contents.bytes.slice(position, position + length));
      },
      write: (position, parts, done) => {
        if (this.write(contents, position, join(parts))) done(undefined);
      },
      sync: (done: IoDone) => {
        if (!this.call()) return;
        const error = this.nextSyncError;
        this.nextSyncError = undefined;
        if (error === undefined) this.sync(contents);
        done(error);
      },
      close: () => undefined,
    };
  }

  /** @returns false if the process is dead, or dies now */
  private call(): boolean {
    if (this.isDead) return false;
    this.isDead = this.callCount++ >= this.diesAt;
    return !this.isDead;
  }

  private write(contents: Contents, position: number, bytes: Uint8Array): boolean {
    if (this.isDead) return false;
    const isAlive = this.call();
    // Killed in the middle, a call has written some of it: whole sectors, or all.
    const written = isAlive ? bytes : bytes.subarray(0, this.cut(position, bytes.length));
    const end = position + written.length;
    for (let sector = Math.floor(position / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) {
      if (contents.unsynced.has(sector)) continue;
      const start = sector * SECTOR_BYTES;
      contents.unsynced.set(sector, contents.bytes.slice(start, start + SECTOR_BYTES));
    }
    if (end > contents.bytes.length) {
      const larger = new Uint8Array(end);
      larger.set(contents.bytes);
      contents.bytes = larger;
    }
    contents.bytes.set(written, position);
    return isAlive;
  }

  private cut(position: number, length: number): number {
    const wanted = this.rng.uniform(length + 1);
    if (wanted === length) return length;
    const end = Math.floor((position + wanted) / SECTOR_BYTES) * SECTOR_BYTES;
    return Math.max(0, end - position);
  }

  private sync(contents: Contents): void {
    contents.unsynced.clear();
    contents.syncedSize = contents.bytes.length;
  }

  private losePower(contents: Contents): void {
    let size = contents.syncedSize;
    for (const [sector, before] of contents.unsynced) {
      const start = sector * SECTOR_BYTES;
      if (this.rng.uniform(2) === 0) {
        size = Math.max(size, Math.min(contents.bytes.length, start + SECTOR_BYTES));
        continue;
      }
      contents.bytes.fill(0, start, Math.min(start + SECTOR_BYTES, contents.bytes.length));
      contents.bytes.set(before.subarray(0, Math.max(0, contents.bytes.length - start)), start);
    }
    contents.bytes = contents.bytes.slice(0, size);
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
