/**
 * The compiled libraries beside tfjs: may they be loaded? A torn, stale or foreign one would end the process, so each
 * must be, byte for byte, what set-up built and tried on this machine.
 */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";

/** The binding between tfjs and TensorFlow. */
export const BINDING = "tfjs_binding.node";
/** Our own kernels, native/. */
export const KERNELS = "kernels.node";
export const REMEDY = "run `npm run setup`, then `npx soma doctor`";

/** What scripts/setup.mjs leaves beside the binding: digests of what it built, or why it did not. */
interface NativeRecord {
  readonly tensorflow?: string;
  readonly libraries?: string;
  readonly librarySizes?: Readonly<Record<string, number>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly platform?: string;
  readonly processor?: string;
  readonly reason?: string;
  /** Why there is no library of our own kernels. */
  readonly kernelsReason?: string;
}

function readRecord(folder: string): NativeRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "soma.json"), "utf8")) as NativeRecord;
  } catch {
    return undefined;
  }
}

/**
 * The files must be the ones that set-up built and tried: loading a torn or foreign library would end the process.
 * @param folder of the binding and its record soma.json  @throws Error with the reason and the remedy
 */
export function checkNativeFiles(folder: string): void {
  const record = readRecord(folder);
  if (record === undefined) throw new Error(`the native TensorFlow is not set up; ${REMEDY}`);
  if (record.reason !== undefined) throw new Error(record.reason);
  if (record.platform !== `${process.platform}-${process.arch}`) {
    throw new Error(
      `the native TensorFlow was built for ${record.platform ?? "another machine"}; ${REMEDY}`,
    );
  }
  for (const [name, size] of Object.entries(record.librarySizes ?? {})) {
    const path = join(record.libraries ?? "", name);
    if (statSync(path, { throwIfNoEntry: false })?.size !== size) {
      throw new Error(`${path} is missing or damaged; ${REMEDY}`);
    }
  }
  const files = Object.entries(record.files ?? {});
  if (!files.some(([name]) => name === BINDING)) {
    throw new Error(`the native TensorFlow is not set up; ${REMEDY}`);
  }
  for (const [name, digest] of files) {
    if (name === KERNELS) continue; // Without it all else still runs: see kernelsObstacle.
    const path = join(folder, name);
    if (sha256OfFile(path) !== digest)
      throw new Error(`${path} is not what set-up built; ${REMEDY}`);
  }
}

/** Why our own kernels may not be loaded; undefined if they may. @param folder as for `checkNativeFiles` */
export function kernelsObstacle(folder: string): string | undefined {
  const record = readRecord(folder);
  const digest = record?.files?.[KERNELS];
  if (digest === undefined) return record?.kernelsReason ?? `not built; ${REMEDY}`;
  if (record?.processor !== processorName()) {
    return `built for another processor (${record?.processor ?? "unknown"}); ${REMEDY}`;
  }
  const path = join(folder, KERNELS);
  return sha256OfFile(path) === digest ? undefined : `${path} is not what set-up built; ${REMEDY}`;
}

/** Compiled code fits the processor it was compiled on; scripts/setup/kernels.mjs derives the same text. */
export function processorName(): string {
  let abilities = "";
  try {
    abilities =
      /^(?:flags|Features)\s*:.*$/m.exec(readFileSync("/proc/cpuinfo", "latin1"))?.[0] ?? "";
  } catch {
    // Not Linux: the model alone has to do.
  }
  const digest = createHash("sha256").update(abilities).digest("hex").slice(0, 12);
  return `${cpus()[0]?.model ?? "unknown"} ${digest}`;
}

function sha256OfFile(path: string): string | undefined {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch {
    return undefined;
  }
}
