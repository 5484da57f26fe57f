/** On what a run ran: env.json, so that its numbers can be traced to a machine, a commit and the data. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SOMA_VERSION } from "../base/version.ts";
import type { Dataset } from "../datasets/dataset.ts";
import type { BackendInfo } from "../models/backend.ts";

export interface Environment {
  readonly startedAt: string;
  readonly arguments: readonly string[];
  readonly soma: string;
  /** Commit of the clone; null outside of one. */
  readonly gitSha: string | null;
  /** SHA-256 of package-lock.json: which versions of all packages. */
  readonly packageLockSha256: string | null;
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly backend: BackendInfo;
  readonly dataset: {
    readonly name: string;
    readonly digest: string;
    readonly exampleCount: number;
  };
}

export async function describeEnvironment(
  backend: BackendInfo,
  dataset: Dataset,
): Promise<Environment> {
  const root = programFolder();
  const processors = cpus();
  return {
    startedAt: new Date().toISOString(),
    arguments: process.argv.slice(2),
    soma: SOMA_VERSION,
    gitSha: root === undefined ? null : await gitSha(root),
    packageLockSha256: root === undefined ? null : await lockDigest(root),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: processors[0]?.model ?? "unknown",
    cores: processors.length,
    memoryBytes: totalmem(),
    backend,
    dataset: {
      name: dataset.name,
      digest: dataset.digest,
      exampleCount: dataset.examples.length,
    },
  };
}

/** The folder with the lock file: this file's, or the one above it once compiled to dist/. */
function programFolder(): string | undefined {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let depth = 0; depth < 3; depth++) {
    if (existsSync(join(folder, "package-lock.json"))) return folder;
    folder = dirname(folder);
  }
  return undefined;
}

async function gitSha(root: string): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)("git", ["rev-parse", "HEAD"], { cwd: root });
    return stdout.trim();
  } catch {
    return null; // no git, or a copy without history
  }
}

async function lockDigest(root: string): Promise<string | null> {
  const bytes = await readFile(join(root, "package-lock.json")).catch(() => undefined);
  return bytes === undefined ? null : createHash("sha256").update(bytes).digest("hex");
}
