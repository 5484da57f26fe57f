/** A pre-norm transformer layer: attention and a two-layer network, each added to what comes in. */
import { tf, type Tensor, type Tensor2D } from "../backend.ts";
import type { Scope } from "../module.ts";
import { SelfAttention, type TokenShape } from "./attention.ts";
import { LayerNorm } from "./layer-norm.ts";
import { Linear } from "./linear.ts";
import { relu } from "./relu.ts";

/** Width of the hidden layer over the token's width. */
const EXPANSION = 4;

export class TransformerLayer {
  private readonly norm1: LayerNorm;
  private readonly norm2: LayerNorm;
  private readonly attention: SelfAttention;
  private readonly up: Linear;
  private readonly down: Linear;

  constructor(scope: Scope, options: { readonly width: number; readonly heads: number }) {
    const { width } = options;
    this.norm1 = new LayerNorm(scope.child("norm1"), width);
    this.attention = new SelfAttention(scope.child("attention"), options);
    this.norm2 = new LayerNorm(scope.child("norm2"), width);
    this.up = new Linear(scope.child("up"), { inputs: width, outputs: EXPANSION * width });
    // The residual branches start silent: a deep stack begins as the identity and trains sooner.
    this.down = new Linear(scope.child("down"), {
      inputs: EXPANSION * width,
      outputs: width,
      gain: 0,
    });
  }

  /** @param x [B·N, D]  @param attentionBias see SelfAttention  @returns [B·N, D] */
  forward(x: Tensor2D, shape: TokenShape, attentionBias: Tensor): Tensor2D {
    const y = tf.add(x, this.attention.forward(this.norm1.forward(x), shape, attentionBias));
    const hidden = relu(this.up.forward(this.norm2.forward(y as Tensor2D)));
    return tf.add(y, this.down.forward(hidden));
  }
}
