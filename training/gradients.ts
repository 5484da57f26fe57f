/** Loss and gradients of one update: what the optimiser and the log read. */
import { SomaError } from "../base/errors.ts";
import { isFused, tf, type Scalar, type Tensor, type Variable } from "../models/backend.ts";
import { namingTensors } from "../models/memory-error.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import type { PreparedStep } from "./objective.ts";
import {
  disposeValues,
  globalNorm,
  onHost,
  type NamedArrays,
  type NamedValues,
} from "./optimizer.ts";

export interface StepGradients {
  /** Mean over the batches. */
  readonly loss: number;
  readonly parts: Readonly<Record<string, number>>;
  /**
   * Mean over the batches, by parameter; those that no loss depends on are missing. Tensors where our kernels are in
   * force, disposed by the optimiser's update, else arrays.
   */
  readonly arrays: NamedValues;
  /** Over all parameters, before clipping. */
  readonly norm: number;
}

/**
 * Forward and backward over each batch, one after the other. Leaves no tensors but the gradients.
 * @throws SomaError OUT_OF_MEMORY
 */
export function computeGradients(
  batches: readonly PreparedStep[],
  encoder: TransformerEncoder,
  parameters: ReadonlyMap<string, Variable>,
): StepGradients {
  const share = 1 / batches.length;
  let loss = 0;
  const parts: Record<string, number> = {};
  const sums = new Map<string, Tensor>();
  for (const batch of batches) {
    const kept: Record<string, Tensor> = {};
    const lossOf = (): Scalar => {
      const { total, parts: tensors } = batch.loss(encoder);
      // Copies, as a part may be the total itself, which the tape owns.
      for (const [name, part] of Object.entries(tensors)) kept[name] = tf.keep(part.clone());
      return total;
    };
    const { value, grads } = namingTensors(() =>
      tf.variableGrads(lossOf, [...parameters.values()]),
    );
    loss += scalarOf(value) * share;
    for (const [name, part] of Object.entries(kept)) {
      parts[name] = (parts[name] ?? 0) + scalarOf(part) * share;
    }
    for (const [name, variable] of parameters) {
      const gradient = grads[variable.name];
      if (gradient !== undefined) addShare(sums, name, gradient, share);
    }
  }
  const arrays: NamedValues = isFused() ? sums : takeToHost(sums);
  return { loss, parts, arrays, norm: globalNorm(arrays) };
}

/** sums[name] += share · gradient; takes the gradient. */
function addShare(sums: Map<string, Tensor>, name: string, gradient: Tensor, share: number): void {
  if (share === 1) {
    sums.set(name, gradient);
    return;
  }
  const before = sums.get(name);
  const sum = tf.tidy(() => {
    const part = tf.mul(gradient, share);
    return before === undefined ? part : tf.add(before, part);
  });
  tf.dispose(before === undefined ? [gradient] : [gradient, before]);
  sums.set(name, sum);
}

/** The same values on the host; tensors among them are disposed. */
export function takeToHost(gradients: NamedValues): NamedArrays {
  const arrays = new Map(Array.from(gradients, ([name, values]) => [name, onHost(values)]));
  disposeValues(gradients.values());
  return arrays;
}

/**
 * Nothing that is not a number reaches the weights.
 * @param step updates done before   @throws SomaError NOT_FINITE naming the step and what was first not finite
 */
export function assertFinite(gradients: StepGradients, step: number): void {
  const { loss, parts, arrays, norm } = gradients;
  const at = `at step ${step + 1}`;
  const brokenPart = Object.entries(parts).find(([, value]) => !Number.isFinite(value));
  if (brokenPart !== undefined) {
    throw notFinite(`the loss became ${loss} ${at}: its part ${brokenPart[0]} is ${brokenPart[1]}`);
  }
  if (!Number.isFinite(loss)) {
    const alone = Object.keys(parts).length === 0 ? "" : ", each of its parts alone is finite";
    throw notFinite(`the loss became ${loss} ${at}${alone}`);
  }
  if (Number.isFinite(norm)) return;
  const broken = [...arrays].filter(([, values]) => !onHost(values).every(Number.isFinite));
  const first = broken[0]?.[0];
  throw notFinite(
    first === undefined
      ? `the gradients became too large to be added up ${at}; the loss is ${loss}`
      : `the gradient of ${first} is not finite ${at} (${broken.length} of ${arrays.size} parameters); the loss is ${loss}`,
  );
}

/** The end of a run that has diverged. @param what what is not finite, and at which step */
export function notFinite(what: string): SomaError {
  return new SomaError({
    code: "NOT_FINITE",
    kind: "failure",
    what,
    next: "what was saved before is kept; train again with a lower --learning-rate or --set clipNorm",
  });
}

function scalarOf(tensor: Tensor): number {
  const value = tensor.dataSync()[0] ?? Number.NaN;
  tensor.dispose();
  return value;
}
