/**
 * From raw 16×16 patches to token vectors, each patch for itself: nothing crosses a patch's border, so a
 * hidden patch neither leaks into its neighbours nor is missed by them.
 *
 * Two convolutions whose stride is their side, written as matrix products: 4×4 pixels → channels[0], then
 * 2×2 of those → channels[1], which leaves 2×2 places a patch. Against overlapping 3×3 convolutions of stride 2
 * this costs a third of the time for about the same quality, so a budget buys three times the steps.
 */
import { assert, present } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Rank, type Tensor2D } from "../backend.ts";
import type { PatchBatch } from "../batch.ts";
import { Linear } from "../layers/linear.ts";
import type { Scope } from "../module.ts";
import { first as firstOf } from "../ops/outputs.ts";
import { CELL_NUMBERS, inkOf, PATCH_BYTES } from "./ink.ts";

export class PatchStem {
  /** Numbers in a token. */
  readonly width: number;
  private readonly channels: readonly [number, number];
  private readonly pixels: Linear;
  private readonly cells: Linear;

  constructor(scope: Scope, channels: readonly number[]) {
    const first = present(channels[0], "a patch stem has two levels");
    const second = present(channels[1], "a patch stem has two levels");
    this.channels = [first, second];
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

  /** @returns [B·N, width]; rows of hidden units hold what a black patch gives: mask them. */
  forward(batch: PatchBatch): Tensor2D {
    assert(
      batch.patchBytes === PATCH_BYTES,
      `a patch has ${PATCH_BYTES} bytes, not ${batch.patchBytes}`,
    );
    const R = batch.size * batch.units; // patches
    const [C1, C2] = this.channels;
    const cells = cellsOf(batch.patches, R);
    const first = this.pixels.forward(cells, { activation: "relu", isData: true }); // [R·16, C1]
    const places = tf.reshape<Rank.R2>(first, [R * 4, 4 * C1]);
    const second = this.cells.forward(places, { activation: "relu" }); // [R·4, C2]
    return tf.reshape<Rank.R2>(second, [R, 4 * C2]);
  }
}

/** The ink of `R` patches, cell by cell: [16·R, CELL_NUMBERS]. @param patches  their bytes, or their ink */
function cellsOf(patches: Uint8Array | Float32Array, R: number): Tensor2D {
  const isInk = patches instanceof Float32Array;
  // The kernel reads bytes by fours, as tfjs has no tensors of bytes.
  if (isInk || !isFused() || patches.byteOffset % 4 !== 0)
    return tf.tensor2d(isInk ? patches : inkOf(patches), [R * 16, CELL_NUMBERS]);
  const fours = new Int32Array(patches.buffer, patches.byteOffset, patches.length / 4);
  const bytes = tf.tensor2d(fours, [R, PATCH_BYTES / 4], "int32");
  return firstOf(callKernel("SomaInk", [bytes], 1)) as Tensor2D;
}
