/** A pre-norm transformer layer: attention and a two-layer network, each added to what comes in. */
import type { Tensor, Tensor2D } from "../backend.ts";
import type { Scope } from "../module.ts";
import { SelfAttention, type TokenShape } from "./attention.ts";
import { LayerNorm } from "./layer-norm.ts";
import { Linear } from "./linear.ts";

/** Width of the hidden layer over the token's width. */
const EXPANSION = 4;

export interface TransformerLayerOptions {
  readonly width: number;
  readonly heads: number;
  /** Of the hidden layer. */
  readonly activation?: "relu" | "gelu";
  /** Of the two projections onto the residual stream. 0: a deep stack begins as the identity and trains sooner. */
  readonly gain?: number;
}

export class TransformerLayer {
  private readonly activation: "relu" | "gelu";
  private readonly norm1: LayerNorm;
  private readonly norm2: LayerNorm;
  private readonly attention: SelfAttention;
  private readonly up: Linear;
  private readonly down: Linear;

  constructor(scope: Scope, options: TransformerLayerOptions) {
    const { width, heads, activation = "relu", gain = 0 } = options;
    this.activation = activation;
    this.norm1 = new LayerNorm(scope.child("norm1"), width);
    this.attention = new SelfAttention(scope.child("attention"), { width, heads, gain });
    this.norm2 = new LayerNorm(scope.child("norm2"), width);
    this.up = new Linear(scope.child("up"), { inputs: width, outputs: EXPANSION * width });
    this.down = new Linear(scope.child("down"), {
      inputs: EXPANSION * width,
      outputs: width,
      gain,
    });
  }

  /** @param x [B·N, D]  @param visible see SelfAttention  @returns [B·N, D] */
  forward(x: Tensor2D, shape: TokenShape, visible?: Tensor): Tensor2D {
    const y = this.attention.forward(this.norm1.forward(x), shape, { residual: x, visible });
    const hidden = this.up.forward(this.norm2.forward(y), { activation: this.activation });
    return this.down.forward(hidden, { residual: y });
  }
}
