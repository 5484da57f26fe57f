/** Several objectives as one: their losses added by weight, their parts kept apart in the log. */
import { assert, present } from "../base/errors.ts";
import { tf, type Scalar } from "../models/backend.ts";
import type { TokenBatch } from "../models/batch.ts";
import type { EmbeddingLoss, EmbeddingStep, Loss } from "./objective.ts";

export interface WeightedLoss {
  readonly name: string;
  readonly lossOf: EmbeddingLoss;
  /** Above 0. */
  readonly weight: number;
}

/**
 * What was drawn for a step, ready for the trainer.
 * @param drawn  for each of `losses` the batches that its sampler drew, packed
 */
export function prepareStep(
  drawn: readonly (readonly TokenBatch[])[],
  losses: readonly WeightedLoss[],
): EmbeddingStep {
  assert(drawn.length === losses.length, "every objective has drawn");
  const batches = drawn.flat();
  const lossOf = combineLosses(
    losses,
    drawn.map(({ length }) => length),
  );
  return {
    batches,
    lossOf,
    exampleCount: batches.reduce((sum, { size }) => sum + size, 0),
    loss: (encoder) => lossOf(batches.map((batch) => encoder.forward(batch))),
  };
}

/** One loss alone with weight 1 is returned as it is: its parts need no prefix. @param counts batches of each */
function combineLosses(losses: readonly WeightedLoss[], counts: readonly number[]): EmbeddingLoss {
  const first = present(losses[0], "at least one loss is combined");
  if (losses.length === 1 && first.weight === 1) return first.lossOf;
  return (embeddings) => {
    const parts: Record<string, Scalar> = {};
    const terms: Scalar[] = [];
    let start = 0;
    for (const [i, { name, weight, lossOf }] of losses.entries()) {
      const end = start + (counts[i] ?? 0);
      const loss: Loss = lossOf(embeddings.slice(start, end));
      start = end;
      parts[name] = loss.total;
      for (const [part, value] of Object.entries(loss.parts)) parts[`${name}.${part}`] = value;
      terms.push(weight === 1 ? loss.total : tf.mul(loss.total, weight));
    }
    return { total: terms.reduce((sum, term) => tf.add(sum, term)), parts };
  };
}
