/** Where and when a figure was taken, and whether the machine had other work: what a reader has to know of a time. */
import { cpus, loadavg } from "node:os";

export interface Circumstances {
  readonly machine: string;
  /** ISO 8601 */
  readonly date: string;
  /** Processes that wanted to run, mean of the minute before. */
  readonly loadBefore: number;
}

/** Other work on the machine that a figure can bear. */
const LOAD_QUIET_MAX = 0.5;

export function circumstances(): Circumstances {
  const processors = cpus();
  return {
    machine: `${processors.length} × ${processors[0]?.model ?? "unknown"}, Node ${process.versions.node}`,
    date: new Date().toISOString(),
    loadBefore: loadavg()[0] ?? Number.NaN,
  };
}

/** A warning that figures are worth little, or undefined. */
export function unrest({ loadBefore }: Circumstances): string | undefined {
  return loadBefore <= LOAD_QUIET_MAX
    ? undefined
    : `this machine has other work (load ${loadBefore.toFixed(1)}): take these times again when it is quiet`;
}
