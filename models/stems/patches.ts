/**
 * From raw 16×16 patches to token vectors, each patch for itself: nothing crosses a patch's border, so a
 * hidden patch neither leaks into its neighbours nor is missed by them.
 *
 * Two convolutions whose stride is their side, written as matrix products: 4×4 pixels → channels[0], then
 * 2×2 of those → channels[1], which leaves 2×2 places a patch. Against overlapping 3×3 convolutions of stride 2
 * this costs a third of the time for about the same quality, so a budget buys three times the steps.
 */
import { assert, present } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor2D } from "../backend.ts";
import type { PatchBatch } from "../batch.ts";
import { Linear } from "../layers/linear.ts";
import type { Scope } from "../module.ts";
import { inkStack, linearStack, runsAsOne, type StackLayer } from "../ops/linear-stack.ts";
import { first as firstOf } from "../ops/outputs.ts";
import { CELL_NUMBERS, inkOf, PATCH_BYTES } from "./ink.ts";

export class PatchStem {
  /** Numbers in a token. */
  readonly width: number;
  private readonly pixels: Linear;
  private readonly cells: Linear;

  constructor(scope: Scope, channels: readonly number[]) {
    const first = present(channels[0], "a patch stem has two levels");
    const second = present(channels[1], "a patch stem has two levels");
    // √2 for the ReLU behind each; pixels have a mean square of about ¼.
    this.pixels = new Linear(scope.child("pixels"), {
      inputs: CELL_NUMBERS,
      outputs: first,
      gain: 2 * Math.SQRT2,
    });
    this.cells = new Linear(scope.child("cells"), {
      inputs: 4 * first,
      outputs: second,
      gain: Math.SQRT2,
    });
    this.width = 4 * second;
  }

  /** The layers of the stem itself: patches as ink, [16·patches, CELL_NUMBERS] → [4·patches, channels[1]] */
  get layers(): readonly StackLayer[] {
    return [
      this.pixels.inStack({ activation: "relu" }),
      this.cells.inStack({ activation: "relu" }),
    ];
  }
}

/**
 * From a batch through `layers`, the stem's first; rows of hidden units hold what a black patch gives: mask them.
 * @returns [rows, O] of the last layer
 */
export function readPatches(batch: PatchBatch, layers: readonly StackLayer[]): Tensor2D {
  const { patchBytes, patches } = batch;
  assert(patchBytes === PATCH_BYTES, `a patch has ${PATCH_BYTES} bytes, not ${patchBytes}`);
  const R = batch.size * batch.units; // patches
  if (patches instanceof Float32Array) return throughInk(patches, layers);
  // Kernels read bytes by fours, as tfjs has no tensors of bytes.
  if (!isFused() || patches.byteOffset % 4 !== 0) return throughInk(inkOf(patches), layers);
  const fours = new Int32Array(patches.buffer, patches.byteOffset, patches.length / 4);
  const bytes = tf.tensor2d(fours, [R, PATCH_BYTES / 4], "int32");
  if (runsAsOne(layers)) return inkStack(bytes, layers);
  return linearStack(firstOf(callKernel("SomaInk", [bytes], 1)), layers, true);
}

function throughInk(ink: Float32Array, layers: readonly StackLayer[]): Tensor2D {
  return linearStack(tf.tensor2d(ink, [ink.length / CELL_NUMBERS, CELL_NUMBERS]), layers, true);
}
