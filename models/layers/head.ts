/** A two-layer network added to what comes in: what a sum over tokens cannot say (this and that together). */
import type { Scope } from "../module.ts";
import type { StackLayer } from "../ops/linear-stack.ts";
import { Linear } from "./linear.ts";

export interface HeadOptions {
  readonly dimension: number;
  /** Width of the hidden layer. */
  readonly hidden: number;
}

export class ResidualHead {
  private readonly up: Linear;
  private readonly down: Linear;

  constructor(scope: Scope, { dimension, hidden }: HeadOptions) {
    this.up = new Linear(scope.child("up"), {
      inputs: dimension,
      outputs: hidden,
      gain: Math.SQRT2,
    });
    // Starts quiet: at first the embedding is nearly the readout's.
    this.down = new Linear(scope.child("down"), {
      inputs: hidden,
      outputs: dimension,
      bias: false,
      gain: 0.3,
    });
  }

  /** [B, dimension] → [B, dimension] */
  get layers(): readonly StackLayer[] {
    return [this.up.inStack({ activation: "relu" }), this.down.inStack({ addsSkipped: true })];
  }
}
