/** A text file that is streamed and appears whole or not at all. */
import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { writeError } from "../base/files.ts";

export interface LineFile {
  /** @param text whole lines, each with its "\n" */
  write(text: string): Promise<void>;
  /** Puts the file in its place. */
  close(): Promise<void>;
  /** Leaves no trace. */
  abandon(): Promise<void>;
}

/** @throws SomaError DISK_FULL (resources), WRITE_FAILED (failure), here and from `write` and `close` */
export async function openLineFile(path: string): Promise<LineFile> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  let file: FileHandle;
  try {
    await mkdir(dirname(path), { recursive: true });
    file = await open(temporary, "wx");
  } catch (error) {
    throw writeError(path, error);
  }
  const abandon = async (): Promise<void> => {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
  };
  const guarded = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      await abandon();
      throw writeError(path, error);
    }
  };
  return {
    abandon,
    write: (text) => guarded(() => file.writeFile(text)),
    close: () =>
      guarded(async () => {
        await file.sync();
        await file.close();
        await rename(temporary, path);
      }),
  };
}
