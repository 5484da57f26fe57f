/**
 * The tensor door: the one file that names tfjs. Everything else takes `tf` from here.
 * `startBackend()` must have been awaited before the first op. Order: the native binding that set-up compiled
 * against a current TensorFlow, else wasm, else plain JavaScript. Beside the native one stand our own kernels
 * (native/), which `callKernel` runs by name; models/ops/ decides where.
 */
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import type * as Tf from "@tensorflow/tfjs";
import { SomaError } from "../base/errors.ts";
import type { Precision } from "./precision.ts";
import { BINDING, checkNativeFiles, KERNELS, kernelsObstacle, REMEDY } from "./native-files.ts";

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
  readonly precision: Precision;
  /** Why a faster backend is not in force, and the remedy; absent when the wanted one runs. */
  readonly fallbackReason?: string;
  /** Why our own kernels are not in force though the native backend is; absent when they are. */
  readonly kernelsReason?: string;
}

export interface BackendOptions {
  /** The backend to begin with; without it SOMA_BACKEND, else native. What fails falls to the next slower one. */
  readonly prefer?: BackendName;
  /** Default float32. */
  readonly precision?: Precision;
}

const ORDER: readonly BackendName[] = ["native", "wasm", "cpu"];

let started: Promise<BackendInfo> | undefined;

/**
 * Start the fastest backend that works here. Later calls return the first call's answer, whatever they prefer:
 * one process computes on one backend. @throws SomaError BAD_BACKEND when SOMA_BACKEND names none, BAD_PRECISION when
 * this machine has no products of that precision
 */
export function startBackend(options: BackendOptions = {}): Promise<BackendInfo> {
  started ??= start(options);
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

async function start({ prefer: wanted, precision }: BackendOptions): Promise<BackendInfo> {
  const prefer = wanted ?? preferenceOfEnvironment();
  // oneDNN reads it when it loads; our own kernels are told below.
  if (precision === "bf16") process.env["ONEDNN_DEFAULT_FPMATH_MODE"] = "BF16";
  // tfjs would otherwise advertise its other packages on stderr.
  tf.env().set("PROD", true);
  const reasons: string[] = [];
  for (const name of ORDER.slice(ORDER.indexOf(prefer))) {
    try {
      const info = await STARTERS[name]();
      if (precision === "bf16") return withBf16(info);
      return reasons.length === 0 ? info : { ...info, fallbackReason: reasons.join("; ") };
    } catch (error) {
      if (error instanceof SomaError) throw error;
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

function withBf16(info: BackendInfo): BackendInfo {
  if (kernels?.roundToBf16() === true)
    return { ...info, detail: `${info.detail} in bf16`, precision: "bf16" };
  throw new SomaError({
    code: "BAD_PRECISION",
    kind: "usage",
    what: `${info.detail} has no bf16 products on this machine${info.kernelsReason === undefined ? "" : ` (own kernels: ${info.kernelsReason})`}`,
    next: "use --precision float32; bf16 takes a processor with AVX-512 BF16 and the kernels that `npm run setup` builds",
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

interface NativeBinding {
  readonly TF_Version: string;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
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
  const kernelsReason = onGpu ? "they are written for processors" : loadKernels(folder, binding);
  const device = onGpu ? " on the GPU" : "";
  const own = kernelsReason === undefined ? " with own kernels" : "";
  return {
    name: "native",
    detail: `TensorFlow ${binding.TF_Version}${device}${own}`,
    threads: nativeThreads(),
    precision: "float32",
    ...(kernelsReason === undefined ? {} : { kernelsReason }),
  };
}

/** Settings that TensorFlow and the binding's JavaScript read while they load. */
function prepareProcess(): void {
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2";
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

// ---- our own kernels ----

interface KernelLibrary {
  readonly names: readonly string[];
  /** From now on products round their inputs. @returns whether this processor can; if not, nothing changes */
  roundToBf16(): boolean;
}

interface Kernels extends KernelLibrary {
  readonly binding: NativeBinding;
  on: boolean;
}
let kernels: Kernels | undefined;

/** @returns why they are not in force, or undefined if they are */
function loadKernels(folder: string, binding: NativeBinding): string | undefined {
  if (process.env["SOMA_FUSED"] === "0") return "SOMA_FUSED=0 turns them off";
  const obstacle = kernelsObstacle(folder);
  if (obstacle !== undefined) return obstacle;
  try {
    kernels = { binding, on: true, ...(require(join(folder, KERNELS)) as KernelLibrary) };
    return undefined;
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}; ${REMEDY}`;
  }
}

/** Names of the kernels in force: none on wasm, in plain JavaScript, with SOMA_FUSED=0 or where set-up built none. */
export function fusedKernels(): readonly string[] {
  return isFused() ? (kernels?.names ?? []) : [];
}

/** Are our own kernels in force? Asked by each op of models/ops/. */
export function isFused(): boolean {
  return kernels?.on === true && tf.getBackend() === "tensorflow";
}

/** Switch between our kernels and plain tfjs ops, for comparison. @returns whether they are in force now */
export function useFused(on: boolean): boolean {
  if (kernels !== undefined) kernels.on = on;
  return isFused();
}

/** Is tfjs noting what it computes, for gradients? Else nothing need be kept for them. */
export function isRecording(): boolean {
  return (tf.engine() as unknown as { isTapeOn(): boolean }).isTapeOn();
}

export interface KernelAttributes {
  readonly integers?: Readonly<Record<string, number>>;
  readonly floats?: Readonly<Record<string, number>>;
}

/**
 * Run one of our kernels. Not differentiable by itself: wrap it in `tf.customGrad`.
 * @param attributes  constants of the op: each new combination builds a kernel that stays, so never a number that
 *   changes from step to step
 * @returns as many tensors as the kernel has outputs, owned by the caller
 * @throws Error naming the kernel, the input and its shape, if one is refused; nothing was computed then
 */
export function callKernel(
  name: string,
  inputs: readonly Tf.Tensor[],
  outputCount: number,
  attributes: KernelAttributes = {},
): Tf.Tensor[] {
  if (kernels === undefined) throw new Error(`${name}: our own kernels are not in force`);
  const { TF_ATTR_INT, TF_ATTR_FLOAT } = kernels.binding;
  const list: KernelAttribute[] = [];
  for (const [key, value] of Object.entries(attributes.integers ?? {}))
    list.push({ name: key, type: TF_ATTR_INT, value });
  for (const [key, value] of Object.entries(attributes.floats ?? {}))
    list.push({ name: key, type: TF_ATTR_FLOAT, value });
  const backend = tf.backend() as unknown as KernelRunner;
  return backend.executeMultipleOutputs(name, list, inputs, outputCount);
}

interface KernelAttribute {
  readonly name: string;
  readonly type: number;
  readonly value: number;
}

interface KernelRunner {
  executeMultipleOutputs(
    name: string,
    attributes: readonly KernelAttribute[],
    inputs: readonly Tf.Tensor[],
    outputCount: number,
  ): Tf.Tensor[];
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
  return {
    name: "wasm",
    detail: `tfjs ${wasm.version_wasm} on WebAssembly`,
    threads: 1,
    precision: "float32",
  };
}

async function startCpu(): Promise<BackendInfo> {
  if (!(await tf.setBackend("cpu"))) throw new Error("tfjs does not start");
  return {
    name: "cpu",
    detail: `tfjs ${tf.version_core} in plain JavaScript`,
    threads: 1,
    precision: "float32",
  };
}

// ---- host side ----

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
    const plain = { transpose_a: 0, transpose_b: 0 };
    const product = (): Tf.Tensor =>
      isFused()
        ? (callKernel("SomaMatMul", [a, a], 1, { integers: plain })[0] ?? a)
        : tf.matMul(a, a);
    const multiply = (): void => {
      // The values are not returned: tidy would look for tensors among them one by one.
      tf.tidy(() => {
        product().dataSync();
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
