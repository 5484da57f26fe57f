/** Several objectives as one: their losses added by weight, their parts kept apart in the log. */
import { assert, InvariantError, present } from "../base/errors.ts";
import { tf, type Scalar } from "../models/backend.ts";
import type { TokenBatch } from "../models/batch.ts";
import type {
  EmbeddingLoss,
  EmbeddingStep,
  Loss,
  ObjectiveState,
  Pass,
  PassLoss,
} from "./objective.ts";

interface Weighted {
  readonly name: string;
  /** Above 0. */
  readonly weight: number;
}

export type WeightedLoss = Weighted &
  ({ readonly lossOf: EmbeddingLoss } | { readonly pass: PassLoss });

type WeightedEmbeddingLoss = Weighted & { readonly lossOf: EmbeddingLoss };

/**
 * What was drawn for a step, ready for the trainer.
 * @param drawn  for each of `losses` the batches that its sampler drew, packed
 * @param draw  which batch of the training this is; see objective.ts
 */
export function prepareStep(
  drawn: readonly (readonly TokenBatch[])[],
  losses: readonly WeightedLoss[],
  draw = 0,
): EmbeddingStep {
  assert(drawn.length === losses.length, "every objective has drawn");
  const batches = drawn.flat();
  const exampleCount = batches.reduce((sum, { size }) => sum + size, 0);
  if (losses.every(isOfEmbeddings)) {
    const lossOf = combineLosses(
      losses,
      drawn.map(({ length }) => length),
    );
    return {
      batches,
      lossOf,
      exampleCount,
      loss: (encoder) => lossOf(batches.map((batch) => encoder.forward(batch))),
    };
  }
  return {
    batches,
    lossOf: () => {
      throw new InvariantError("a loss that runs the encoder itself has none over embeddings");
    },
    exampleCount,
    loss: (encoder) =>
      addUp(losses, (loss, i) => lossOfOne(loss, drawn[i] ?? [], { encoder, draw })),
  };
}

export function isOfEmbeddings(loss: WeightedLoss): loss is WeightedEmbeddingLoss {
  return "lossOf" in loss;
}

/** What the objective carries from step to step, if it does. */
export function stateOf(loss: WeightedLoss): ObjectiveState | undefined {
  return isOfEmbeddings(loss) ? undefined : loss.pass.state;
}

function lossOfOne(loss: WeightedLoss, batches: readonly TokenBatch[], pass: Pass): Loss {
  return isOfEmbeddings(loss)
    ? loss.lossOf(batches.map((batch) => pass.encoder.forward(batch)))
    : loss.pass.lossOf(batches, pass);
}

/** One loss alone with weight 1 is returned as it is: its parts need no prefix. @param counts batches of each */
function combineLosses(
  losses: readonly WeightedEmbeddingLoss[],
  counts: readonly number[],
): EmbeddingLoss {
  const first = present(losses[0], "at least one loss is combined");
  if (losses.length === 1 && first.weight === 1) return first.lossOf;
  return (embeddings) => {
    let start = 0;
    return addUp(losses, ({ lossOf }, i) => {
      const end = start + (counts[i] ?? 0);
      const loss = lossOf(embeddings.slice(start, end));
      start = end;
      return loss;
    });
  };
}

function addUp<L extends Weighted>(
  losses: readonly L[],
  compute: (loss: L, index: number) => Loss,
): Loss {
  const parts: Record<string, Scalar> = {};
  const terms: Scalar[] = [];
  for (const [i, weighted] of losses.entries()) {
    const { name, weight } = weighted;
    const loss = compute(weighted, i);
    if (losses.length === 1 && weight === 1) return loss;
    parts[name] = loss.total;
    for (const [part, value] of Object.entries(loss.parts)) parts[`${name}.${part}`] = value;
    terms.push(weight === 1 ? loss.total : tf.mul(loss.total, weight));
  }
  return { total: terms.reduce((sum, term) => tf.add(sum, term)), parts };
}
