/** Loss and gradients of one update, on the host: what the optimiser and the log read. */
import { SomaError } from "../base/errors.ts";
import { tf, type Tensor, type Variable } from "../models/backend.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import type { PreparedStep } from "./objective.ts";
import { globalNorm, type NamedArrays } from "./optimizer.ts";

export interface StepGradients {
  /** Mean over the batches. */
  readonly loss: number;
  readonly parts: Readonly<Record<string, number>>;
  /** Mean over the batches, by parameter; those that no loss depends on are missing. Not to be mutated. */
  readonly arrays: NamedArrays;
  /** Over all parameters, before clipping. */
  readonly norm: number;
}

/** Forward and backward over each batch, one after the other. Leaves no tensors. */
export function computeGradients(
  batches: readonly PreparedStep[],
  encoder: TransformerEncoder,
  parameters: ReadonlyMap<string, Variable>,
): StepGradients {
  const share = 1 / batches.length;
  let loss = 0;
  const parts: Record<string, number> = {};
  const arrays = new Map<string, Float32Array>();
  for (const batch of batches) {
    const kept: Record<string, Tensor> = {};
    const { value, grads } = tf.variableGrads(() => {
      const { total, parts: tensors } = batch.loss(encoder);
      // Copies, as a part may be the total itself, which the tape owns.
      for (const [name, part] of Object.entries(tensors)) kept[name] = tf.keep(part.clone());
      return total;
    }, [...parameters.values()]);
    loss += scalarOf(value) * share;
    for (const [name, part] of Object.entries(kept)) {
      parts[name] = (parts[name] ?? 0) + scalarOf(part) * share;
    }
    for (const [name, variable] of parameters) {
      const gradient = grads[variable.name];
      if (gradient === undefined) continue;
      const values = gradient.dataSync<"float32">();
      if (batches.length === 1) arrays.set(name, values);
      else addScaled(arrays, name, values, share);
      gradient.dispose();
    }
  }
  return { loss, parts, arrays, norm: globalNorm(arrays) };
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
  const broken = [...arrays].filter(([, values]) => !values.every(Number.isFinite));
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

function addScaled(
  sums: Map<string, Float32Array>,
  name: string,
  values: Float32Array,
  share: number,
): void {
  const sum = sums.get(name) ?? new Float32Array(values.length);
  sums.set(name, sum);
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + share * (values[i] ?? 0);
}
