/**
 * Memory that processes share without native code: a file on tmpfs that never touches a disk, read and written by
 * position. It loses its name as soon as it is open, so nothing is left behind however the processes end;
 * children get it as an inherited file descriptor.
 */
import { closeSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SomaError } from "../../base/errors.ts";

/** Linux's tmpfs first. Elsewhere the temporary folder, whose pages stay in memory as long as there is room. */
const FOLDERS: readonly string[] = ["/dev/shm", tmpdir()];
/** Written at once while room is reserved. */
const RESERVE_BYTES = 1 << 20;

export class SharedMemory {
  /** To be handed to a child process in `stdio`. */
  readonly fd: number;

  /** @param fd of `create` in another process, as it was inherited */
  constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * New memory of zeros. All of it is written once: a container's /dev/shm may be small, and it is now that we want to
   * know.
   * @param name shown by tools that list open files  @param folders tried in order
   * @throws SomaError NO_SHARED_MEMORY (resources) if no folder has room
   */
  static create(
    sizeBytes: number,
    name: string,
    folders: readonly string[] = FOLDERS,
  ): SharedMemory {
    const reasons: string[] = [];
    for (const folder of folders) {
      try {
        return SharedMemory.createIn(folder, sizeBytes, name);
      } catch (error) {
        reasons.push(error instanceof Error ? error.message : String(error));
      }
    }
    throw new SomaError({
      code: "NO_SHARED_MEMORY",
      kind: "resources",
      what: `no room for ${Math.ceil(sizeBytes / 2 ** 20)} MiB that the workers share (${reasons.join("; ")})`,
      next: "free space in the temporary folder, give a container more (docker run --shm-size), or train with fewer --workers",
    });
  }

  private static createIn(folder: string, sizeBytes: number, name: string): SharedMemory {
    const path = join(folder, name);
    const memory = new SharedMemory(openSync(path, "wx+", 0o600));
    try {
      unlinkSync(path);
      const zeros = new Uint8Array(Math.min(RESERVE_BYTES, sizeBytes));
      for (let at = 0; at < sizeBytes; at += zeros.length)
        writeAll(memory.fd, zeros.subarray(0, Math.min(zeros.length, sizeBytes - at)), at);
      return memory;
    } catch (error) {
      ftruncateSync(memory.fd); // give back what was reserved even if closing is put off
      memory.close();
      throw error;
    }
  }

  /** @param offset in bytes */
  write(values: Float32Array, offset: number): void {
    writeAll(this.fd, bytesOf(values), offset);
  }

  /** Fill `values` from `offset`, in bytes. */
  read(values: Float32Array, offset: number): void {
    const bytes = bytesOf(values);
    for (let done = 0; done < bytes.length;) {
      const count = readSync(this.fd, bytes, done, bytes.length - done, offset + done);
      if (count === 0) throw new RangeError(`shared memory ends before byte ${offset + done}`);
      done += count;
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
