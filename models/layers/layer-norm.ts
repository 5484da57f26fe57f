/** Layer normalisation over the last axis with a learned scale and shift. Source: Ba et al., arXiv 1607.06450. */
import type { Tensor2D, Variable } from "../backend.ts";
import type { Scope } from "../module.ts";
import { layerNorm } from "../ops/layer-norm.ts";

export class LayerNorm {
  private readonly scale: Variable;
  private readonly shift: Variable;

  constructor(scope: Scope, width: number) {
    this.scale = scope.parameter("scale", [width], { kind: "constant", value: 1 });
    this.shift = scope.parameter("shift", [width], { kind: "constant", value: 0 });
  }

  /** @param x [R, width] → [R, width] */
  forward(x: Tensor2D): Tensor2D {
    return layerNorm(x, this.scale, this.shift);
  }
}
