/** activation(x·W + b) + residual, all in the pass that makes the product. */
import { assert } from "../../base/errors.ts";
import { callKernel, isFused, tf, type Tensor, type Tensor2D } from "../backend.ts";
import { differentiable } from "./differentiable.ts";
import { geluComposed } from "./gelu.ts";
import { matMul } from "./mat-mul.ts";
import { relu } from "./relu.ts";

export type Activation = "none" | "relu" | "gelu";

export interface LinearInputs {
  /** [O] */
  readonly bias?: Tensor | undefined;
  readonly activation?: Activation;
  /** [R, O], added after the activation. */
  readonly residual?: Tensor2D | undefined;
  /** x is data, not computed from weights: its gradient is not asked for, and its product saved. */
  readonly isData?: boolean;
}

export const ACTIVATION_CODES: Readonly<Record<Activation, number>> = { none: 0, relu: 1, gelu: 2 };

/** @param x [R, I]  @param weight [I, O]  @returns [R, O] */
export function linear(x: Tensor2D, weight: Tensor2D, inputs: LinearInputs = {}): Tensor2D {
  const [R, I] = x.shape;
  const [rows, O] = weight.shape;
  const { bias, residual, activation = "none" } = inputs;
  assert(I === rows, `linear of x [${x.shape.join(", ")}] and weight [${weight.shape.join(", ")}]`);
  assert(bias === undefined || bias.size === O, `linear to ${O} with a bias of ${bias?.size ?? 0}`);
  assert(
    residual === undefined || (residual.shape[0] === R && residual.shape[1] === O),
    `linear to [${R}, ${O}] with a residual of [${residual?.shape.join(", ") ?? ""}]`,
  );
  if (!isFused()) return linearComposed(x, weight, inputs);
  // A residual behind a ReLU would hide where it was cut off: added by itself.
  if (activation === "relu" && residual !== undefined)
    return tf.add(linear(x, weight, { ...inputs, residual: undefined }), residual);
  return linearFused(x, weight, inputs);
}

export function linearComposed(x: Tensor2D, weight: Tensor2D, inputs: LinearInputs = {}): Tensor2D {
  const { bias, activation = "none", residual } = inputs;
  const product = matMul(x, weight);
  const sum = bias === undefined ? product : tf.add<Tensor2D>(product, bias);
  const active =
    activation === "none" ? sum : activation === "relu" ? relu(sum) : geluComposed(sum);
  return residual === undefined ? active : tf.add(active, residual);
}

function linearFused(x: Tensor2D, weight: Tensor2D, inputs: LinearInputs): Tensor2D {
  const { bias, activation = "none", residual, isData = false } = inputs;
  const others = [bias, residual].filter((tensor) => tensor !== undefined);
  const code = ACTIVATION_CODES[activation];
  const hasBias = Number(bias !== undefined);
  const forward = (recorded: boolean) => {
    const integers = {
      activation: code,
      has_bias: hasBias,
      has_residual: Number(residual !== undefined),
      keeps_before: Number(recorded),
      N: others.length,
    };
    const [y, before] = callKernel("SomaLinear", [x, weight, ...others], 2, { integers }) as [
      Tensor,
      Tensor,
    ];
    const kept = activation === "none" ? [] : [activation === "relu" ? y : before];
    return {
      value: y,
      saved: [x, weight, ...kept],
      gradient: (dy: Tensor, saved: readonly Tensor[]) => {
        const [input, matrix, ...keptNow] = saved as [Tensor, Tensor, ...Tensor[]];
        const wanted = {
          activation: code,
          has_bias: hasBias,
          wants_input: Number(!isData),
          N: keptNow.length,
        };
        const [dx, dweight, dbias] = callKernel(
          "SomaLinearGradient",
          [input, matrix, dy, ...keptNow],
          3,
          { integers: wanted },
        ) as [Tensor, Tensor, Tensor];
        return [
          ...(isData ? [] : [dx]),
          dweight,
          ...(bias === undefined ? [] : [dbias]),
          ...(residual === undefined ? [] : [dy.clone()]),
        ];
      },
    };
  };
  return differentiable([...(isData ? [] : [x]), weight, ...others], forward) as Tensor2D;
}
