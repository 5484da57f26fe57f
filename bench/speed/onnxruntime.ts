/**
 * onnxruntime-node as the peer of embedding: the checkpoint's tower as an ONNX model, run on the same tokens. It is no
 * dependency of Soma: a folder of the user's has it.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SomaError } from "../../base/errors.ts";
import type { TokenBatch } from "../../models/batch.ts";
import type { Checkpoint } from "../../models/checkpoint-folder.ts";
import { writeOnnx } from "../../models/onnx/model-file.ts";
import { imageGraph, textGraph } from "../../models/onnx/tower.ts";
import { run, runForJson, type Invocation } from "./child.ts";
import { rawInput } from "./embed.ts";

const PACKAGE = "onnxruntime-node";
export const ONNXRUNTIME_INSTALL =
  "npm install --no-save onnxruntime-node@1.30.0, or in another folder, then --peer-modules FOLDER";

/** Difference from our embeddings, over their largest number, above which the peer does other work than ours. */
const DIFFERENCE_MAX = 1e-4;

/** What the peer says of itself; the same figures as ours. */
export interface PeerEmbed {
  readonly engine: string;
  readonly threads: number;
  readonly examplesPerSecond: number;
  readonly batchMs: number;
  readonly peakRssMiB: number;
}

/** The file of the package's entry, seen from `folder` and from this program; undefined if there is none. */
export function findOnnxRuntime(folder: string): string | undefined {
  for (const from of [join(resolve(folder), "index.js"), import.meta.url]) {
    try {
      return createRequire(from).resolve(PACKAGE);
    } catch {
      // Not installed there.
    }
  }
  return undefined;
}

export interface PeerModel {
  /** Largest difference of any number of the embeddings from ours, over the largest of ours. */
  readonly difference: number;
  readonly modelBytes: number;
  run(settings: { readonly seconds: number; readonly warmup: number }): Promise<PeerEmbed>;
  /** Removes its files. */
  close(): Promise<void>;
}

/**
 * Export, run once, compare. `close()` must follow.
 * @param ours  embeddings of the same batch [size × dimension]
 * @throws SomaError PEER_DIFFERS (failure): its times would say nothing; CHILD_FAILED
 */
export async function openPeer(
  entry: string,
  checkpoint: Checkpoint,
  batch: TokenBatch,
  ours: Float32Array,
  threads: number,
): Promise<PeerModel> {
  const folder = await mkdtemp(join(tmpdir(), "soma-bench-"));
  const close = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const model = writeOnnx(graphOf(checkpoint, batch));
    const input = rawInput(batch);
    const paths = { model: join(folder, "tower.onnx"), input: join(folder, "input") };
    await writeFile(paths.model, model);
    await writeFile(paths.input, input.bytes);
    const flags = { entry, ...paths, type: input.type, shape: input.shape.join(","), threads };
    const output = join(folder, "output");
    await runOnce({ ...flags, output });
    const difference = differenceOf(ours, floatsOf(await readFile(output)));
    if (!(difference <= DIFFERENCE_MAX)) {
      throw new SomaError({
        code: "PEER_DIFFERS",
        kind: "failure",
        what: `onnxruntime's embeddings differ from ours by ${difference.toExponential(1)} of the largest number`,
        next: "please report it with the checkpoint: one of the two is wrong",
      });
    }
    return {
      difference,
      modelBytes: model.length,
      run: async (settings) =>
        (await runForJson(peerInvocation({ ...flags, ...settings }))) as PeerEmbed,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function graphOf(checkpoint: Checkpoint, batch: TokenBatch) {
  if (batch.kind === "ids") return textGraph(checkpoint, batch.units);
  const [grid] = batch.grids;
  if (grid === undefined) throw new RangeError("a batch has at least one picture");
  return imageGraph(checkpoint, grid);
}

async function runOnce(flags: Readonly<Record<string, string | number>>): Promise<void> {
  const { code, stderr } = await run(peerInvocation(flags));
  if (code === 0) return;
  throw new SomaError({
    code: "CHILD_FAILED",
    kind: "failure",
    what: `onnxruntime-node ended with ${code}: ${stderr.trim()}`,
  });
}

function peerInvocation(flags: Readonly<Record<string, string | number>>): Invocation {
  const script = fileURLToPath(new URL("./peers/onnxruntime.mjs", import.meta.url));
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return { program: process.execPath, arguments: [script, ...words] };
}

function floatsOf(bytes: Buffer): Float32Array {
  return new Float32Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  );
}

/** Largest |a − b| over largest |a|; infinite if they differ in length, NaN if a number is. */
export function differenceOf(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let [largest, difference] = [0, 0];
  for (const [i, value] of a.entries()) {
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs(value - (b[i] ?? 0)));
  }
  return difference === 0 ? 0 : difference / largest;
}
