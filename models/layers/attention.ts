/** Multi-head self-attention over the visible tokens. Source: Vaswani et al., arXiv 1706.03762. */
import { assert } from "../../base/errors.ts";
import { matMul, tf, type Tensor, type Tensor2D, type Tensor4D } from "../backend.ts";
import type { Scope } from "../module.ts";
import { Linear } from "./linear.ts";

export interface TokenShape {
  /** Sequences. */
  readonly size: number;
  /** Tokens of each, padding included. */
  readonly units: number;
}

export class SelfAttention {
  private readonly heads: number;
  private readonly width: number;
  private readonly projectIn: Linear;
  private readonly projectOut: Linear;

  constructor(scope: Scope, options: { readonly width: number; readonly heads: number }) {
    const { width, heads } = options;
    assert(width % heads === 0, `width ${width} is not a multiple of ${heads} heads`);
    this.heads = heads;
    this.width = width;
    this.projectIn = new Linear(scope.child("in"), { inputs: width, outputs: 3 * width });
    this.projectOut = new Linear(scope.child("out"), { inputs: width, outputs: width, gain: 0 });
  }

  /**
   * @param x [B·N, D]
   * @param attentionBias [B, 1, 1, N], added to the scores: 0 for tokens that may be seen, very negative for others
   * @returns [B·N, D]
   */
  forward(x: Tensor2D, shape: TokenShape, attentionBias: Tensor): Tensor2D {
    const [B, N, H, D] = [shape.size, shape.units, this.heads, this.width];
    const qkv = tf.transpose(
      tf.reshape(this.projectIn.forward(x), [B, N, 3, H, D / H]),
      [2, 0, 3, 1, 4],
    ); // [3, B, H, N, D/H]
    const [q, k, v] = tf.unstack(qkv) as [Tensor4D, Tensor4D, Tensor4D];
    const scores = tf.mul(matMul(q, k, false, true), 1 / Math.sqrt(D / H)); // [B, H, N, N]
    const weights = tf.softmax<Tensor4D>(tf.add(scores, attentionBias));
    const mixed = tf.transpose(matMul(weights, v), [0, 2, 1, 3]); // [B, N, H, D/H]
    return this.projectOut.forward(tf.reshape(mixed, [B * N, D]));
  }
}
