/** Files that are byte strings in memory: a log to be opened as it is, without a folder. Every call answers at once. */
import type { Disk, DiskFile, IoDone } from "../storage/disk.ts";

export class ByteDisk implements Disk {
  private readonly files = new Map<string, ByteFile>();

  /** @param contents by name; copied */
  constructor(contents: Readonly<Record<string, Uint8Array>>) {
    for (const [name, bytes] of Object.entries(contents)) {
      this.files.set(name, new ByteFile(name, bytes.slice()));
    }
  }

  open(name: string): ByteFile {
    const file = this.files.get(name) ?? new ByteFile(name, new Uint8Array(0));
    this.files.set(name, file);
    return file;
  }
}

export class ByteFile implements DiskFile {
  readonly path: string;
  bytes: Uint8Array;

  /** @param bytes kept, and changed in place */
  constructor(path: string, bytes: Uint8Array) {
    this.path = path;
    this.bytes = bytes;
  }

  sizeSync(): number {
    return this.bytes.length;
  }

  readSync(position: number, length: number): Uint8Array {
    return this.bytes.slice(position, position + length);
  }

  writeSync(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length;
    if (end > this.bytes.length) this.truncateSync(end);
    this.bytes.set(bytes, position);
  }

  truncateSync(length: number): void {
    const sized = new Uint8Array(length);
    sized.set(this.bytes.subarray(0, length));
    this.bytes = sized;
  }

  syncSync(): void {
    // Memory is as durable as it will ever be.
  }

  read(
    position: number,
    length: number,
    done: (error: Error | undefined, bytes: Uint8Array) => void,
  ): void {
    done(undefined, this.readSync(position, length));
  }

  write(position: number, parts: readonly Uint8Array[], done: IoDone): void {
    let at = position;
    for (const part of parts) {
      this.writeSync(at, part);
      at += part.length;
    }
    done(undefined);
  }

  sync(done: IoDone): void {
    done(undefined);
  }

  close(): void {
    // Nothing is held.
  }
}
