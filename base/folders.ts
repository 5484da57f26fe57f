/**
 * Folders that survive a crash: written beside their place under a temporary name, flushed, then swapped in.
 * A reader sees all of the old files or all of the new ones. No file system call exchanges two folders on every
 * platform, so the swap is two renames, and `settleFolder` finishes one that a crash cut in half.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { writeError } from "./files.ts";

/** Name inside the folder → content. */
export type FolderFiles = ReadonlyMap<string, Uint8Array | string>;

export interface FolderWriteOptions {
  /** Writes one file durably; given by tests to fail where a disk would. */
  readonly writeFile?: (path: string, content: Uint8Array | string) => Promise<void>;
}

/**
 * Replace `directory` by a folder that holds exactly `files`. One writer at a time per directory.
 * @throws SomaError DISK_FULL (resources) or WRITE_FAILED (failure); the old folder is untouched then
 */
export async function writeFolderAtomic(
  directory: string,
  files: FolderFiles,
  options: FolderWriteOptions = {},
): Promise<void> {
  const target = resolve(directory);
  const temporary = besideName(target, `${randomBytes(6).toString("hex")}.tmp`);
  const previous = besideName(target, "previous");
  const writeFile = options.writeFile ?? writeFileDurable;
  try {
    await settleFolder(target);
    await removeAbandoned(target);
    await mkdir(temporary, { recursive: true });
    for (const [name, content] of files) await writeFile(join(temporary, name), content);
    await flushDirectory(temporary);
    const replaces = await renameIfPresent(target, previous);
    await rename(temporary, target);
    await flushDirectory(dirname(target));
    if (replaces) await rm(previous, { recursive: true, force: true });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    await settleFolder(target);
    throw writeError(target, error);
  }
}

/**
 * Finish a swap that a crash cut in half: if `directory` is missing and its previous content stands beside it,
 * move that back. Readers call it before they read.
 */
export async function settleFolder(directory: string): Promise<void> {
  const target = resolve(directory);
  const previous = besideName(target, "previous");
  if (await exists(target)) return;
  await renameIfPresent(previous, target);
}

/** Half-written folders and replaced ones that a killed process left beside `target`, which stands or never did. */
async function removeAbandoned(target: string): Promise<void> {
  const parent = dirname(target);
  const prefix = `.${basename(target)}.`;
  for (const name of (await exists(parent)) ? await readdir(parent) : []) {
    if (!name.startsWith(prefix)) continue;
    if (/^(?:[0-9a-f]{12}\.tmp|previous)$/.test(name.slice(prefix.length))) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
}

function besideName(target: string, suffix: string): string {
  return join(dirname(target), `.${basename(target)}.${suffix}`);
}

async function writeFileDurable(path: string, content: Uint8Array | string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Make the renames inside a directory durable. Windows cannot open one; there the journal must do. */
async function flushDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function renameIfPresent(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await (await open(path, "r")).close();
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
