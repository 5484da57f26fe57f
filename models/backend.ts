/**
 * The tensor door: the one file that names tfjs. Everything else takes `tf` from here.
 * `startBackend()` must have been awaited before the first op. Order: the native binding that set-up compiled
 * against a current TensorFlow, else wasm, else plain JavaScript. `matMul` and `gatherRows` stand here because
 * their gradients depend on the backend in force.
 */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import type * as Tf from "@tensorflow/tfjs";
import { assert, SomaError } from "../base/errors.ts";

const require = createRequire(import.meta.url);
/** The tfjs namespace. CommonJS, so loaded by require; heavy (0.1 s), so this file is only imported by what computes. */
export const tf = require("@tensorflow/tfjs") as typeof Tf;

export type {
  Tensor,
  Tensor1D,
  Tensor2D,
  Tensor3D,
  Tensor4D,
  Variable,
  Scalar,
  Rank,
  TensorLike,
  NamedTensorMap,
} from "@tensorflow/tfjs";

export type BackendName = "native" | "wasm" | "cpu";

export interface BackendInfo {
  readonly name: BackendName;
  /** For people, e.g. "TensorFlow 2.21.0". */
  readonly detail: string;
  /** Threads that one op may use. */
  readonly threads: number;
  /** Why a faster backend is not in force, and the remedy; absent when the wanted one runs. */
  readonly fallbackReason?: string;
}

export interface BackendOptions {
  /** The backend to begin with; without it SOMA_BACKEND, else native. What fails falls to the next slower one. */
  readonly prefer?: BackendName;
}

const ORDER: readonly BackendName[] = ["native", "wasm", "cpu"];
const REMEDY = "run `npm run setup`, then `npx soma doctor`";

let started: Promise<BackendInfo> | undefined;

/**
 * Start the fastest backend that works here. Later calls return the first call's answer, whatever they prefer:
 * one process computes on one backend. @throws SomaError BAD_BACKEND when SOMA_BACKEND names none
 */
export function startBackend(options: BackendOptions = {}): Promise<BackendInfo> {
  started ??= start(options.prefer);
  return started;
}

function preferenceOfEnvironment(): BackendName {
  const wanted = process.env["SOMA_BACKEND"];
  if (wanted === undefined || wanted === "") return "native";
  const known = ORDER.find((name) => name === wanted);
  if (known === undefined) {
    throw new SomaError({
      code: "BAD_BACKEND",
      kind: "usage",
      what: `SOMA_BACKEND is "${wanted}"`,
      next: `set it to one of ${ORDER.join(", ")}, or leave it unset`,
    });
  }
  return known;
}

async function start(wanted: BackendName | undefined): Promise<BackendInfo> {
  const prefer = wanted ?? preferenceOfEnvironment();
  // tfjs would otherwise advertise its other packages on stderr.
  tf.env().set("PROD", true);
  const reasons: string[] = [];
  for (const name of ORDER.slice(ORDER.indexOf(prefer))) {
    try {
      const info = await STARTERS[name]();
      return reasons.length === 0 ? info : { ...info, fallbackReason: reasons.join("; ") };
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new SomaError({
    code: "NO_BACKEND",
    kind: "failure",
    what: `no tensor backend starts: ${reasons.join("; ")}`,
    next: "run `npm ci` and try again",
  });
}

/** One line for people: the backend in force, and why not a faster one. */
export function describeBackend(info: BackendInfo): string {
  const threads = `${info.threads} thread${info.threads === 1 ? "" : "s"}`;
  const reason = info.fallbackReason === undefined ? "" : ` (${info.fallbackReason})`;
  return `${info.detail}, ${threads}${reason}`;
}

const STARTERS: Readonly<Record<BackendName, () => Promise<BackendInfo>>> = {
  native: startNative,
  wasm: startWasm,
  cpu: startCpu,
};

// ---- native ----

/** What scripts/setup.mjs leaves beside the binding: digests of what it built, or why it did not. */
interface NativeRecord {
  readonly tensorflow?: string;
  readonly libraries?: string;
  readonly librarySizes?: Readonly<Record<string, number>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly platform?: string;
  readonly reason?: string;
}

interface NativeBinding {
  readonly TF_Version: string;
  isUsingGpuDevice(): boolean;
}

async function startNative(): Promise<BackendInfo> {
  const folder = join(
    dirname(require.resolve("@tensorflow/tfjs-node-gpu/package.json")),
    "lib",
    "napi-v8",
  );
  checkNativeFiles(folder);
  prepareProcess();
  const binding = loadBinding(folder);
  // The package's own entry would search for the binding with an installer (0.1 s) and load what we never use;
  // its kernels and its backend are all that is needed.
  const { NodeJSKernelBackend } =
    require("@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js") as {
      NodeJSKernelBackend: new (binding: NativeBinding, packageName: string) => Tf.KernelBackend;
    };
  require("@tensorflow/tfjs-node-gpu/dist/register_all_kernels.js");
  const onGpu = binding.isUsingGpuDevice();
  const packageName = onGpu ? "@tensorflow/tfjs-node-gpu" : "@tensorflow/tfjs-node";
  tf.registerBackend("tensorflow", () => new NodeJSKernelBackend(binding, packageName), 3);
  if (!(await tf.setBackend("tensorflow"))) throw new Error("TensorFlow does not start");
  return {
    name: "native",
    detail: `TensorFlow ${binding.TF_Version}${onGpu ? " on the GPU" : ""}`,
    threads: nativeThreads(),
  };
}

/**
 * The files must be the ones that set-up built and tried: loading a torn or foreign library would end the process.
 * @param folder of the binding and its record soma.json  @throws Error with the reason and the remedy
 */
export function checkNativeFiles(folder: string): void {
  let record: NativeRecord;
  try {
    record = JSON.parse(readFileSync(join(folder, "soma.json"), "utf8")) as NativeRecord;
  } catch {
    throw new Error(`the native TensorFlow is not set up; ${REMEDY}`);
  }
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
    const path = join(folder, name);
    if (sha256OfFile(path) !== digest)
      throw new Error(`${path} is not what set-up built; ${REMEDY}`);
  }
}

const BINDING = "tfjs_binding.node";

function sha256OfFile(path: string): string | undefined {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch {
    return undefined;
  }
}

/** Settings that TensorFlow and the binding's JavaScript read while they load. */
function prepareProcess(): void {
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2";
  // OpenMP's threads would otherwise spin against oneDNN's for the same cores.
  process.env["OMP_WAIT_POLICY"] ??= "passive";
  // Gone in Node ≥ 23 and warned about before; the package's kernels call both.
  const util = require("node:util") as {
    isNullOrUndefined: (value: unknown) => boolean;
    isArray: (value: unknown) => boolean;
  };
  util.isNullOrUndefined = (value) => value === null || value === undefined;
  util.isArray = Array.isArray;
}

/** The binding, without the lines that TensorFlow writes to stderr before its own log settings hold. */
function loadBinding(folder: string): NativeBinding {
  let quiet: { hush(): void; restore(): void } | undefined;
  try {
    quiet = require(join(folder, "quiet.node")) as { hush(): void; restore(): void };
  } catch {
    quiet = undefined; // Without it two harmless lines are shown.
  }
  quiet?.hush();
  try {
    return require(join(folder, BINDING)) as NativeBinding;
  } finally {
    quiet?.restore();
  }
}

function nativeThreads(): number {
  const wanted = Number(process.env["TF_NUM_INTRAOP_THREADS"]);
  return Number.isInteger(wanted) && wanted > 0 ? wanted : availableParallelism();
}

// ---- wasm and plain JavaScript ----

async function startWasm(): Promise<BackendInfo> {
  const wasm = require("@tensorflow/tfjs-backend-wasm") as {
    setWasmPaths(folder: string): void;
    version_wasm: string;
  };
  const folder = dirname(require.resolve("@tensorflow/tfjs-backend-wasm"));
  wasm.setWasmPaths(`${folder}/`);
  if (!(await tf.setBackend("wasm"))) throw new Error("WebAssembly does not start");
  return { name: "wasm", detail: `tfjs ${wasm.version_wasm} on WebAssembly`, threads: 1 };
}

async function startCpu(): Promise<BackendInfo> {
  if (!(await tf.setBackend("cpu"))) throw new Error("tfjs does not start");
  return { name: "cpu", detail: `tfjs ${tf.version_core} in plain JavaScript`, threads: 1 };
}

// ---- ops whose gradient depends on the backend ----

/**
 * Product over the last two axes.
 * @param a [..., N, K], or [..., K, N] if transposeA
 * @param b [..., K, M], or [..., M, K] if transposeB; the same leading axes as `a`, or none: one matrix for all
 * @returns [..., N, M], owned by the caller
 */
export function matMul<T extends Tf.Tensor>(
  a: T,
  b: Tf.Tensor,
  transposeA = false,
  transposeB = false,
): T {
  if (b.rank === 2 && a.rank > 2 && !transposeA) {
    // One matrix for all rows: [B, N, K] is [B·N, K], and a two-dimensional product is the fastest there is.
    const leading = a.shape.slice(0, -1);
    const width = a.shape.at(-1) ?? 0;
    return tf.tidy(() => {
      const rows: Tf.Tensor = a.reshape([-1, width]);
      const product = matMul(rows, b, false, transposeB);
      return product.reshape([...leading, product.shape[1] ?? 0]);
    });
  }
  assert(a.rank === b.rank, `matMul of ranks ${a.rank} and ${b.rank}`);
  return tf.getBackend() === "wasm"
    ? matMulTransposed(a, b, transposeA, transposeB)
    : tf.matMul<T>(a, b, transposeA, transposeB);
}

/** The transpose flags of wasm's product are 5–6 times slower than a transpose and a plain product: never set them. */
function matMulTransposed<T extends Tf.Tensor>(
  a: T,
  b: Tf.Tensor,
  transposeA: boolean,
  transposeB: boolean,
): T {
  const oriented = (x: Tf.Tensor, transposed: boolean): Tf.Tensor =>
    transposed ? swapLastAxes(x) : x;
  const product = tf.customGrad((...inputs) => {
    const [x, y, save] = inputs as unknown as [Tf.Tensor, Tf.Tensor, Tf.GradSaveFunc];
    save([x, y]);
    return {
      value: tf.matMul(oriented(x, transposeA), oriented(y, transposeB)),
      gradFunc: (dy, saved) => {
        const [left, right] = saved as [Tf.Tensor, Tf.Tensor];
        // With A and B as multiplied: dA = dy·Bᵀ and dB = Aᵀ·dy; transposed once more for an input that came so.
        const dLeft = transposeA
          ? tf.matMul(oriented(right, transposeB), swapLastAxes(dy))
          : tf.matMul(dy, oriented(right, !transposeB));
        const dRight = transposeB
          ? tf.matMul(swapLastAxes(dy), oriented(left, transposeA))
          : tf.matMul(oriented(left, !transposeA), dy);
        return [dLeft, dRight];
      },
    };
  });
  return tf.tidy(() => product(a, b) as T);
}

function swapLastAxes(x: Tf.Tensor): Tf.Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return tf.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

/**
 * Rows of a table by number, e.g. token embeddings; the gradient adds up over rows taken more than once.
 * @param table [V, D]  @param ids int32, any shape, each 0 … V − 1  @returns [...ids.shape, D], owned by the caller
 */
export function gatherRows(table: Tf.Tensor2D, ids: Tf.Tensor): Tf.Tensor {
  // wasm has no kernel for the sum over equal ids that the gradient needs.
  if (tf.getBackend() !== "wasm") return tf.gather(table, ids);
  const rowCount = table.shape[0];
  const gathered = tf.customGrad((...inputs) => {
    const [rows, save] = inputs as unknown as [Tf.Tensor, Tf.GradSaveFunc];
    save([ids]);
    return {
      value: tf.gather(rows, ids),
      gradFunc: (dy, saved) => sumRowsById(dy, saved[0] ?? ids, rowCount),
    };
  });
  return tf.tidy(() => gathered(table));
}

/** Sum of the rows of `values` [..., D] that share an id: [rowCount, D]. */
function sumRowsById(values: Tf.Tensor, ids: Tf.Tensor, rowCount: number): Tf.Tensor {
  const D = values.shape.at(-1) ?? 0; // width
  const from = values.dataSync();
  const idValues = ids.dataSync();
  const sums = new Float32Array(rowCount * D);
  for (let i = 0; i < idValues.length; i++) {
    const start = (idValues[i] ?? 0) * D;
    for (let j = 0; j < D; j++) sums[start + j] = (sums[start + j] ?? 0) + (from[i * D + j] ?? 0);
  }
  return tf.tensor2d(sums, [rowCount, D]);
}

/**
 * The values of the tensor that `compute` ends with; it and all others made on the way are disposed. To be used
 * instead of `tidy(() => ….dataSync())`, which looks for tensors in the array, number by number (0.2 s a million).
 */
export function readValues(compute: () => Tf.Tensor): Float32Array {
  const result = tf.tidy(compute);
  try {
    return result.dataSync<"float32">();
  } finally {
    result.dispose();
  }
}

// ---- speed ----

/** Billions of multiplications and additions a second in the quickest of many square float32 products on the backend in force; takes 0.3 s. */
export function measureGflops(): number {
  const size = tf.getBackend() === "cpu" ? 128 : 768;
  return tf.tidy(() => {
    const a = tf.ones<Tf.Rank.R2>([size, size]);
    const multiply = (): void => {
      // The values are not returned: tidy would look for tensors among them one by one.
      tf.tidy(() => {
        tf.matMul(a, a).dataSync();
      });
    };
    multiply(); // the first product also warms up threads and code
    const startedMs = performance.now();
    let bestMs = Number.POSITIVE_INFINITY;
    do {
      const beforeMs = performance.now();
      multiply();
      bestMs = Math.min(bestMs, performance.now() - beforeMs);
    } while (performance.now() - startedMs < 250);
    return (2 * size ** 3) / (bestMs * 1e6);
  });
}
