/**
 * Files that survive a crash: written to a temporary name, flushed, then renamed into place, so that a
 * reader sees the old content or the new, never half of it.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { SomaError } from "./errors.ts";

/**
 * Write `data` to `path` atomically and durably; the folder is made if missing.
 * @throws SomaError DISK_FULL (resources) or WRITE_FAILED (failure); the old file is untouched then.
 */
export async function writeFileAtomic(path: string, data: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one to tell
    throw writeError(path, error);
  }
}

/** The SomaError for a failed write to `path`. */
export function writeError(path: string, error: unknown): SomaError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new SomaError(
      {
        code: "DISK_FULL",
        kind: "resources",
        what: `no space left to write ${path}`,
        next: "free disk space and run the command again; what was saved before is intact",
      },
      { cause: error },
    );
  }
  return new SomaError(
    {
      code: "WRITE_FAILED",
      kind: "failure",
      what: `cannot write ${path} (${code})`,
      next: "check that the folder exists and may be written to",
    },
    { cause: error },
  );
}

/** Where prepared data and compiled libraries are kept, shared by all clones: $SOMA_CACHE, else $XDG_CACHE_HOME/soma, else ~/.cache/soma. */
export function cacheDirectory(): string {
  const own = process.env["SOMA_CACHE"];
  if (own !== undefined && own !== "") return own;
  const xdg = process.env["XDG_CACHE_HOME"];
  return join(xdg !== undefined && xdg !== "" ? xdg : join(homedir(), ".cache"), "soma");
}
