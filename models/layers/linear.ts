/** Affine map of the last axis: x·W + b, with what may follow it. */
import type { Tensor2D, Variable } from "../backend.ts";
import type { Scope } from "../module.ts";
import type { StackLayer } from "../ops/linear-stack.ts";
import { linear, type LinearInputs } from "../ops/linear.ts";

export interface LinearOptions {
  readonly inputs: number;
  readonly outputs: number;
  readonly bias?: boolean;
  /** Standard deviation of the initial weights times √inputs. 0 starts the layer silent. */
  readonly gain?: number;
}

export class Linear {
  private readonly weight: Variable;
  private readonly bias: Variable | undefined;

  constructor(scope: Scope, options: LinearOptions) {
    const { inputs, outputs, bias = true, gain = 1 } = options;
    const initial =
      gain === 0
        ? ({ kind: "constant", value: 0 } as const)
        : ({ kind: "scaled", fanIn: inputs, gain } as const);
    this.weight = scope.parameter("weight", [inputs, outputs], initial);
    this.bias = bias
      ? scope.parameter("bias", [outputs], { kind: "constant", value: 0 })
      : undefined;
  }

  /** @param x [R, inputs]  @returns activation(x·W + b) + residual, [R, outputs] */
  forward(x: Tensor2D, then: Omit<LinearInputs, "bias"> = {}): Tensor2D {
    return linear(x, this.weight as unknown as Tensor2D, { ...then, bias: this.bias });
  }

  /** This layer as one of a stack. */
  inStack(then: Pick<StackLayer, "activation" | "addsSkipped"> = {}): StackLayer {
    return { ...then, weight: this.weight as unknown as Tensor2D, bias: this.bias };
  }
}
