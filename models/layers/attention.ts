/** Multi-head self-attention over the visible tokens. Source: Vaswani et al., arXiv 1706.03762. */
import { assert } from "../../base/errors.ts";
import type { Tensor, Tensor2D } from "../backend.ts";
import type { Scope } from "../module.ts";
import { attention } from "../ops/attention.ts";
import { Linear } from "./linear.ts";

export interface TokenShape {
  /** Sequences. */
  readonly size: number;
  /** Tokens of each, padding included. */
  readonly units: number;
}

export interface AttentionOptions {
  readonly width: number;
  readonly heads: number;
  /** Of the projection's initial weights; 0 starts the layer silent. */
  readonly gain?: number;
}

export class SelfAttention {
  private readonly heads: number;
  private readonly projectIn: Linear;
  private readonly projectOut: Linear;

  constructor(scope: Scope, options: AttentionOptions) {
    const { width, heads, gain = 0 } = options;
    assert(width % heads === 0, `width ${width} is not a multiple of ${heads} heads`);
    this.heads = heads;
    this.projectIn = new Linear(scope.child("in"), { inputs: width, outputs: 3 * width });
    this.projectOut = new Linear(scope.child("out"), { inputs: width, outputs: width, gain });
  }

  /**
   * @param x [B·N, D]  @param residual [B·N, D], added to what comes out
   * @param visible [B, N], 1 for tokens that may be attended to, 0 for others; all without it
   * @returns [B·N, D]
   */
  forward(
    x: Tensor2D,
    shape: TokenShape,
    { residual, visible }: { readonly residual?: Tensor2D; readonly visible?: Tensor | undefined },
  ): Tensor2D {
    const { size, units } = shape;
    const mixed = attention(this.projectIn.forward(x), { size, units, heads: this.heads }, visible);
    return this.projectOut.forward(mixed, { residual });
  }
}
