/**
 * The disk of one validator, which outlives its processes. It holds files as a real one does: what is written can be
 * read at once, and is lost in a crash, sector by sector, unless a sync came between. The real log runs on it.
 */
import type { Rng } from "../../tokenizers/random.ts";
import type { Disk, DiskFile, IoDone } from "../storage/disk.ts";
import { type EventQueue, type Micros, MS } from "./event-queue.ts";
import type { Host } from "./host.ts";

/** Ways in which a disk fails: a sync comes to nothing, and the process is told. */
export type DiskFailure = "EIO" | "ENOSPC" | "EROFS";

/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;
/** What a call takes. */
const CALL_MIN: Micros = 20;
const CALL_MAX: Micros = MS / 2;

/** A sector that was never written. */
const NOTHING = new Uint8Array(SECTOR_BYTES);

/** What a file holds, by the machine's memory and by its disk. */
class Contents {
  bytes = new Uint8Array(4096);
  size = 0;
  /** Size that survives a crash. */
  private durableSize = 0;
  /** By sector: those written since the last sync began, and what they held before. */
  private dirty = new Map<number, Uint8Array>();
  /** Those that a sync is about to make durable. */
  private syncing = new Map<number, Uint8Array>();

  write(position: number, parts: readonly Uint8Array[]): void {
    const end = position + parts.reduce((sum, { length }) => sum + length, 0);
    this.grow(end);
    for (let sector = floorSector(position); sector * SECTOR_BYTES < end; sector++) {
      if (this.dirty.has(sector)) continue;
      const isNew = sector * SECTOR_BYTES >= this.size;
      this.dirty.set(sector, isNew ? NOTHING : this.sector(sector).slice());
    }
    let at = position;
    for (const part of parts) {
      this.bytes.set(part, at);
      at += part.length;
    }
    this.size = Math.max(this.size, end);
  }

  truncate(length: number): void {
    this.grow(length);
    this.bytes.fill(0, length, this.bytes.length);
    this.size = length;
  }

  /** @returns what to call when the sync has succeeded */
  beginSync(): () => void {
    for (const [sector, before] of this.dirty) {
      if (!this.syncing.has(sector)) this.syncing.set(sector, before);
    }
    this.dirty = new Map();
    const { syncing, size } = this;
    return () => {
      if (this.syncing === syncing) this.syncing = new Map();
      this.durableSize = Math.max(this.durableSize, size);
    };
  }

  /** Of each sector that was not synced, the machine may have written it or not. */
  crash(rng: Rng): void {
    let size = this.durableSize;
    for (const unsynced of [this.dirty, this.syncing]) {
      for (const [sector, before] of unsynced) {
        if (rng.uniform(2) === 0) this.bytes.set(before, sector * SECTOR_BYTES);
        else size = Math.max(size, Math.min(this.size, (sector + 1) * SECTOR_BYTES));
      }
      unsynced.clear();
    }
    this.truncate(size);
    this.durableSize = size;
  }

  private sector(sector: number): Uint8Array {
    return this.bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  }

  /** Whole sectors for so many bytes. */
  private grow(length: number): void {
    if (length <= this.bytes.length) return;
    const larger = new Uint8Array(2 * SECTOR_BYTES * (floorSector(length) + 1));
    larger.set(this.bytes);
    this.bytes = larger;
  }
}

export class SimulatedDisk {
  private readonly queue: EventQueue;
  private readonly rng: Rng;
  private readonly files = new Map<string, Contents>();
  private nextFailure: DiskFailure | undefined;

  constructor(queue: EventQueue, rng: Rng) {
    this.queue = queue;
    this.rng = rng;
  }

  /** As one process has it: every call is a place to die, and nothing is answered once the process is gone. */
  mount(host: Host): Disk {
    return {
      open: (name) => {
        host.effect();
        const contents = this.files.get(name) ?? new Contents();
        this.files.set(name, contents);
        return this.file(name, contents, host);
      },
    };
  }

  /** The machine has lost its power. A process that loses its life alone takes nothing along. */
  crash(): void {
    for (const contents of this.files.values()) contents.crash(this.rng);
    this.nextFailure = undefined;
  }

  /** The files are gone, all but those of these names. */
  wipe(kept: readonly string[]): void {
    for (const name of this.files.keys()) if (!kept.includes(name)) this.files.delete(name);
  }

  /** Turn a bit somewhere in what a file holds. @returns false if it holds nothing */
  flipBit(name: string): boolean {
    const contents = this.files.get(name);
    if (contents === undefined || contents.size === 0) return false;
    const place = this.rng.uniform(contents.size);
    contents.bytes[place] = (contents.bytes[place] ?? 0) ^ (1 << this.rng.uniform(8));
    return true;
  }

  /** The next sync fails; undefined: it does not. */
  failNextSync(failure: DiskFailure | undefined): void {
    this.nextFailure = failure;
  }

  private file(name: string, contents: Contents, host: Host): DiskFile {
    const { life } = host;
    const later = (run: () => void): void => {
      host.effect();
      this.queue.after(CALL_MIN + this.rng.uniform(CALL_MAX - CALL_MIN), () => {
        host.enter(life, run);
      });
    };
    return {
      path: name,
      sizeSync: () => contents.size,
      readSync: (position, length) => read(contents, position, length),
      truncateSync: (length) => {
        host.effect();
        contents.truncate(length);
      },
      writeSync: (position, bytes) => {
        host.effect();
        contents.write(position, [bytes]);
      },
      syncSync: () => {
        host.effect();
        contents.beginSync()();
      },
      read: (position, length, done) => {
        later(() => {
          done(undefined, read(contents, position, length));
        });
      },
      write: (position, parts, done) => {
        // The process may die before the machine has begun with it, or after.
        const isBegun = this.rng.uniform(2) === 0;
        later(() => {
          if (!isBegun) contents.write(position, parts);
          done(undefined);
        });
        if (isBegun) contents.write(position, parts);
      },
      sync: (done) => {
        this.sync(contents, later, done);
      },
      close: () => undefined,
    };
  }

  private sync(contents: Contents, later: (run: () => void) => void, done: IoDone): void {
    const failure = this.nextFailure;
    this.nextFailure = undefined;
    const succeed = contents.beginSync();
    later(() => {
      if (failure !== undefined) {
        done(Object.assign(new Error(`${failure}: simulated`), { code: failure }));
        return;
      }
      succeed();
      done(undefined);
    });
  }
}

function floorSector(position: number): number {
  return Math.floor(position / SECTOR_BYTES);
}

/** A copy, shorter at the end of the file. */
function read(contents: Contents, position: number, length: number): Uint8Array {
  return contents.bytes.slice(position, Math.min(contents.size, position + length));
}
