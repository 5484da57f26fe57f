/**
 * The little of a file system that a log needs, as a port: a folder of the machine here, memory that loses what a crash
 * loses in memory-disk.ts.
 */
import {
  close,
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  constants as fileFlags,
  read,
  readSync,
  writeSync,
  writev,
} from "node:fs";
import { join } from "node:path";
import { writeError } from "../../base/files.ts";

export type IoDone = (error: Error | undefined) => void;

/** One file. Calls with a callback may overlap; those without are for opening, before anything else is under way. */
export interface DiskFile {
  /** For people. */
  readonly path: string;
  sizeSync(): number;
  /** Fewer bytes only at the file's end. */
  readSync(position: number, length: number): Uint8Array;
  writeSync(position: number, bytes: Uint8Array): void;
  truncateSync(length: number): void;
  /** All written is on disk when it returns. */
  syncSync(): void;
  read(
    position: number,
    length: number,
    done: (error: Error | undefined, bytes: Uint8Array) => void,
  ): void;
  /** All parts, one behind the other. */
  write(position: number, parts: readonly Uint8Array[], done: IoDone): void;
  /** All written before is on disk when `done` is called. */
  sync(done: IoDone): void;
  close(): void;
}

export interface Disk {
  /** A file, made if it is missing; that it is there is on disk then. */
  open(name: string): DiskFile;
}

/** Files of a folder, which is made if it is missing. */
export class FolderDisk implements Disk {
  private readonly directory: string;

  /** @throws SomaError DISK_FULL, WRITE_FAILED; so does `open` */
  constructor(directory: string) {
    try {
      mkdirSync(directory, { recursive: true });
    } catch (error) {
      throw writeError(directory, error);
    }
    this.directory = directory;
  }

  open(name: string): DiskFile {
    const path = join(this.directory, name);
    try {
      const descriptor = openSync(path, fileFlags.O_RDWR | fileFlags.O_CREAT, 0o600);
      syncFolder(this.directory);
      return new FolderFile(path, descriptor);
    } catch (error) {
      throw writeError(path, error);
    }
  }
}

class FolderFile implements DiskFile {
  readonly path: string;
  private readonly descriptor: number;

  constructor(path: string, descriptor: number) {
    this.path = path;
    this.descriptor = descriptor;
  }

  sizeSync(): number {
    return fstatSync(this.descriptor).size;
  }

  readSync(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let count = 0;
    while (count < length) {
      const got = readSync(this.descriptor, bytes, count, length - count, position + count);
      if (got === 0) break;
      count += got;
    }
    return bytes.subarray(0, count);
  }

  writeSync(position: number, bytes: Uint8Array): void {
    let count = 0;
    while (count < bytes.length) {
      count += writeSync(this.descriptor, bytes, count, bytes.length - count, position + count);
    }
  }

  truncateSync(length: number): void {
    ftruncateSync(this.descriptor, length);
  }

  syncSync(): void {
    fsyncSync(this.descriptor);
  }

  read(
    position: number,
    length: number,
    done: (error: Error | undefined, bytes: Uint8Array) => void,
  ): void {
    const bytes = new Uint8Array(length);
    const more = (count: number): void => {
      read(this.descriptor, bytes, count, length - count, position + count, (error, got) => {
        if (error !== null) done(error, bytes.subarray(0, count));
        else if (got === 0 || count + got === length)
          done(undefined, bytes.subarray(0, count + got));
        else more(count + got);
      });
    };
    more(0);
  }

  write(position: number, parts: readonly Uint8Array[], done: IoDone): void {
    const wanted = parts.reduce((sum, { length }) => sum + length, 0);
    writev(this.descriptor, parts, position, (error, written) => {
      if (error !== null) done(error);
      else if (written === wanted) done(undefined);
      else this.write(position + written, behind(parts, written), done);
    });
  }

  sync(done: IoDone): void {
    // The data and the file's length; times may wait.
    fdatasync(this.descriptor, (error) => {
      done(error ?? undefined);
    });
  }

  close(): void {
    close(this.descriptor, () => undefined); // what mattered was synced
  }
}

/** What is left of the parts after `count` bytes: disks may take less than they are given. */
function behind(parts: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const part of parts) {
    if (skip < part.length) rest.push(part.subarray(skip));
    skip = Math.max(0, skip - part.length);
  }
  return rest;
}

/** Windows cannot open a folder; there the journal must do. */
function syncFolder(directory: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(directory, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
