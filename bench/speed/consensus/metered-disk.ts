/** A disk that tells how long each sync took: what a log promises costs that much. */
import type { Disk, DiskFile } from "../../../node/storage/disk.ts";

/** @param onSync told of each sync that came back, with what it took */
export function meteredDisk(disk: Disk, onSync: (ms: number) => void): Disk {
  return { open: (name) => meteredFile(disk.open(name), onSync) };
}

function meteredFile(file: DiskFile, onSync: (ms: number) => void): DiskFile {
  return {
    path: file.path,
    sizeSync: () => file.sizeSync(),
    readSync: (position, length) => file.readSync(position, length),
    writeSync: (position, bytes) => {
      file.writeSync(position, bytes);
    },
    truncateSync: (length) => {
      file.truncateSync(length);
    },
    syncSync: () => {
      const startedAt = performance.now();
      file.syncSync();
      onSync(performance.now() - startedAt);
    },
    read: (position, length, done) => {
      file.read(position, length, done);
    },
    write: (position, parts, done) => {
      file.write(position, parts, done);
    },
    sync: (done) => {
      const startedAt = performance.now();
      file.sync((error) => {
        if (error === undefined) onSync(performance.now() - startedAt);
        done(error);
      });
    },
    close: () => {
      file.close();
    },
  };
}
