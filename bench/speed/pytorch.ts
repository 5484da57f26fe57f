/** PyTorch as the peer of a training step: found, and run. It is no part of Soma; a Python of the user's has it. */
import { fileURLToPath } from "node:url";
import { run, runForJson, type Invocation } from "./child.ts";
import type { Precision } from "../../models/precision.ts";
import type { VitShape } from "./vit.ts";

/** What a peer says of itself; the same figures as ours. */
export interface PeerStep {
  readonly engine: string;
  readonly threads: number;
  readonly stepMs: number;
  readonly forwardMs: number;
  readonly peakRssMiB: number;
  readonly precision: Precision;
}

export interface StepSettings extends VitShape {
  readonly batch: number;
  readonly steps: number;
  readonly warmup: number;
  readonly seed: number;
  readonly precision: Precision;
  readonly threads: number;
}

export const PYTORCH_INSTALL =
  "python3 -m venv peer && peer/bin/pip install torch numpy, then --peer peer/bin/python";

/** The Python that a bare --peer means. */
export function peerPython(): string {
  return process.env["SOMA_PEER_PYTHON"] ?? "python3";
}

/** @returns undefined if it is there, else what is missing, for people */
export async function missingPyTorch(python: string): Promise<string | undefined> {
  const { code, stderr } = await run({ program: python, arguments: ["-c", "import torch"] });
  if (code === 0) return undefined;
  const last = stderr.trim().split("\n").at(-1) ?? "";
  return `${python} has no PyTorch (${last})`;
}

/** @throws SomaError CHILD_FAILED */
export async function runPyTorchStep(python: string, settings: StepSettings): Promise<PeerStep> {
  return (await runForJson(pyTorchInvocation(python, settings))) as PeerStep;
}

function pyTorchInvocation(python: string, settings: StepSettings): Invocation {
  const script = fileURLToPath(new URL("./peers/train_step.py", import.meta.url));
  return { program: python, arguments: [script, ...stepFlags(settings)] };
}

/** The flags that both programs know. */
export function stepFlags(settings: StepSettings): string[] {
  const { width, layers, heads, tokens, batch, steps, warmup, seed, precision, threads } = settings;
  const flags = { width, layers, heads, tokens, batch, steps, warmup, seed, precision, threads };
  return Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
}
