/** A two-layer network between embeddings and a loss: what the loss throws away need not leave the embedding. */
import type { Tensor2D } from "../../models/backend.ts";
import { Linear } from "../../models/layers/linear.ts";
import type { Scope } from "../../models/module.ts";

export class Projector {
  private readonly up: Linear;
  private readonly down: Linear;

  constructor(
    scope: Scope,
    {
      inputs,
      hidden,
      outputs,
    }: { readonly inputs: number; readonly hidden: number; readonly outputs: number },
  ) {
    this.up = new Linear(scope.child("up"), { inputs, outputs: hidden, gain: Math.SQRT2 });
    this.down = new Linear(scope.child("down"), { inputs: hidden, outputs });
  }

  /** @param x [B, inputs] → [B, outputs] */
  forward(x: Tensor2D): Tensor2D {
    return this.down.forward(this.up.forward(x, { activation: "relu" }));
  }
}
