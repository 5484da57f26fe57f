/**
 * Position-aware readout of a grid of tokens of any size. Tokens are resampled, bilinearly, onto a fixed grid of
 * anchors; each anchor has its own weights into the embedding. On a grid of the anchors' own size this is
 * concatenating the tokens; on any other it is the nearest thing to it.
 *
 * It is a sum over tokens: a hidden token adds nothing, and what a mask and its inverse leave adds up to the
 * whole. That is the property which the network's differential loss looks for (seed, "Differential Loss").
 */
import { tf, type Rank, type Tensor2D } from "../backend.ts";
import type { PatchBatch } from "../batch.ts";
import { Linear } from "../layers/linear.ts";
import type { Scope } from "../module.ts";
import type { StackLayer } from "../ops/linear-stack.ts";
import { matMul } from "../ops/mat-mul.ts";
import type { Grid } from "../../tokenizers/tokenizer.ts";

export interface AnchorReadoutOptions {
  /** Numbers in a token. */
  readonly width: number;
  /** Anchors along each side. */
  readonly anchors: number;
  readonly dimension: number;
}

export class AnchorReadout {
  private readonly options: AnchorReadoutOptions;
  private readonly project: Linear;
  /** Weights of whole grids by "columns×rows×times": few grids occur. */
  private readonly weights = new Map<string, Float32Array>();

  constructor(scope: Scope, options: AnchorReadoutOptions) {
    this.options = options;
    const inputs = options.anchors ** 2 * options.width;
    this.project = new Linear(scope, { inputs, outputs: options.dimension, bias: false });
  }

  /** From pooled tokens, [B, anchors² · width], to the embedding, [B, dimension]. */
  get layers(): readonly StackLayer[] {
    return [this.project.inStack()];
  }

  /** @param tokens [B·N, width]  @returns what the layers read, [B, anchors² · width] */
  pool(tokens: Tensor2D, batch: PatchBatch): Tensor2D {
    const { size: B, units: N } = batch;
    const { width: C, anchors } = this.options;
    const A = anchors ** 2;
    if (this.isAligned(batch)) return tf.reshape(tokens, [B, A * C]);
    const weights = tf.tensor3d(this.batchWeights(batch), [B, N, A]);
    const places = matMul(weights, tf.reshape<Rank.R3>(tokens, [B, N, C]), true, false); // [B, A, C]
    return tf.reshape(places, [B, A * C]);
  }

  /**
   * Is every token, all of them visible, an anchor of its own? Then resampling would multiply by the identity, and the
   * layers may read the tokens as they are.
   */
  isAligned(batch: PatchBatch): boolean {
    const { anchors } = this.options;
    return (
      batch.grids.every(
        ({ columns, rows, times }) => columns === anchors && rows === anchors && times === 1,
      ) && batch.visible.every((value) => value === 1)
    );
  }

  /** Float32Array [B, N, anchors²]: hidden and padded units weigh nothing. */
  private batchWeights(batch: PatchBatch): Float32Array {
    const A = this.options.anchors ** 2;
    const all = new Float32Array(batch.size * batch.units * A);
    batch.grids.forEach((grid, b) => {
      const weights = this.gridWeights(grid);
      for (let n = 0; n < weights.length / A; n++) {
        const at = b * batch.units + n;
        if (batch.visible[at] === 1) all.set(weights.subarray(n * A, (n + 1) * A), at * A);
      }
    });
    return all;
  }

  private gridWeights(grid: Grid): Float32Array {
    const key = `${grid.columns}×${grid.rows}×${grid.times}`;
    let weights = this.weights.get(key);
    if (weights === undefined) {
      weights = anchorWeights(grid, this.options.anchors);
      this.weights.set(key, weights);
    }
    return weights;
  }
}

/**
 * How much each unit of a whole grid gives to each anchor. The weights of one anchor sum to 1, so that an embedding's
 * length does not depend on the grid.
 * @returns Float32Array [columns · rows · times, anchors²]
 */
export function anchorWeights(grid: Grid, anchors: number): Float32Array {
  const { columns, rows, times } = grid;
  const across = axisWeights(columns, anchors); // [columns, anchors]
  const down = axisWeights(rows, anchors); // [rows, anchors]
  const weights = new Float32Array(columns * rows * times * anchors * anchors);
  let at = 0;
  for (let t = 0; t < times; t++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        for (let i = 0; i < anchors; i++)
          for (let j = 0; j < anchors; j++)
            weights[at++] =
              ((down[row * anchors + i] ?? 0) * (across[column * anchors + j] ?? 0)) / times;
  return weights;
}

/** One axis: hat functions, as wide as the coarser of the two grids, normalised per anchor. [units, anchors] */
function axisWeights(units: number, anchors: number): Float64Array {
  const radius = Math.max(1 / units, 1 / anchors);
  const weights = new Float64Array(units * anchors);
  for (let a = 0; a < anchors; a++) {
    let sum = 0;
    for (let u = 0; u < units; u++) {
      const distance = Math.abs((u + 0.5) / units - (a + 0.5) / anchors);
      const weight = Math.max(0, 1 - distance / radius);
      weights[u * anchors + a] = weight;
      sum += weight;
    }
    for (let u = 0; u < units; u++)
      weights[u * anchors + a] = (weights[u * anchors + a] ?? 0) / sum;
  }
  return weights;
}
