/**
 * Loss and gradients of one update by several processes, each embedding its rows of every batch. The embeddings are
 * gathered and every rank computes the loss over all of them, so that a row has the same negatives as in one process
 * and the gradient is that of one process, up to the order of sums. Source: CLIP's gathered loss (Radford et al.,
 * arXiv 2103.00020); the gradient of embeddings apart from that of weights is GradCache's (Gao et al., arXiv 2101.06983).
 */
import { present } from "../../base/errors.ts";
import { tf, type Tensor, type Tensor2D, type Variable } from "../../models/backend.ts";
import { namingTensors } from "../../models/memory-error.ts";
import type { TransformerEncoder } from "../../models/transformer.ts";
import type { StepGradients } from "../gradients.ts";
import type { EmbeddingLoss, EmbeddingStep } from "../objective.ts";
import { globalNorm } from "../optimizer.ts";
import { gatherBatches, type GatheredBatch } from "./gather.ts";
import { GradientSums } from "./gradient-sums.ts";
import type { Group } from "./group.ts";
import { Recording } from "./recording.ts";

export interface SpreadGradients extends StepGradients {
  /** Sequences that all ranks embedded. */
  readonly exampleCount: number;
}

/**
 * The same bits on every rank. Leaves no tensors. @throws SomaError OUT_OF_MEMORY (resources), and what a group throws
 * @param steps  with this rank's rows of each batch alone; it may have none of some
 */
export async function spreadGradients(
  steps: readonly EmbeddingStep[],
  encoder: TransformerEncoder,
  parameters: ReadonlyMap<string, Variable>,
  group: Group,
): Promise<SpreadGradients> {
  const share = 1 / steps.length;
  const sums = new GradientSums(parameters);
  const parts: Record<string, number> = {};
  let loss = 0;
  let exampleCount = 0;
  for (const { batches, lossOf } of steps) {
    const own = batches.filter(({ size }) => size > 0);
    const recording = namingTensors(() =>
      Recording.of(() => own.map((batch) => encoder.forward(batch))),
    );
    const gathered = await gatherBatches(
      batches.map(({ size }) => size),
      recording.outputs,
      group,
    );
    const whole = namingTensors(() => gradientsOfLoss(lossOf, gathered, parameters));
    loss += share * whole.loss;
    for (const [name, value] of Object.entries(whole.parts))
      parts[name] = (parts[name] ?? 0) + share * value;
    for (const { total } of gathered) exampleCount += total;
    // Every rank has the whole gradient of what the loss itself depends on: it counts once.
    if (group.rank === 0) sums.add(whole.direct, share);
    if (own.length === 0) {
      recording.dispose();
    } else {
      const grads = namingTensors(() =>
        recording.gradients(whole.upstream, [...parameters.values()]),
      );
      sums.add(grads, share);
      tf.dispose(Object.values(grads));
    }
    tf.dispose([...Object.values(whole.direct), ...whole.upstream]);
  }
  await group.sum(sums.values);
  const arrays = sums.arrays();
  return { loss, parts, arrays, norm: globalNorm(arrays), exampleCount };
}

interface LossGradients {
  readonly loss: number;
  readonly parts: Readonly<Record<string, number>>;
  /** Of parameters that the loss depends on other than through embeddings: a temperature. By internal name. */
  readonly direct: Readonly<Record<string, Tensor>>;
  /** Of this rank's rows of each batch that it has rows of, [size, D]. */
  readonly upstream: readonly Tensor2D[];
}

/** The caller owns the tensors. */
function gradientsOfLoss(
  lossOf: EmbeddingLoss,
  batches: readonly GatheredBatch[],
  parameters: ReadonlyMap<string, Variable>,
): LossGradients {
  const embeddings = batches.map(({ embeddings, total }) =>
    tf.tidy(() => tf.variable(tf.tensor2d(embeddings, [total, embeddings.length / total]))),
  );
  const kept: Record<string, Tensor> = {};
  const { value, grads } = tf.variableGrads(() => {
    const { total, parts } = lossOf(embeddings);
    // Copies, as a part may be the total itself, which the tape owns.
    for (const [name, part] of Object.entries(parts)) kept[name] = tf.keep(part.clone());
    return total;
  }, [...embeddings, ...parameters.values()]);
  const upstream = batches.flatMap(({ begin, size }, b): Tensor2D[] => {
    const { name, shape } = present(embeddings[b], "embeddings of each batch");
    const gradient = grads[name] as Tensor2D | undefined;
    const ofRank: [number, number] = [size, shape[1]];
    if (size === 0) return [];
    // A batch that the loss does not look at has no gradient.
    return [gradient === undefined ? tf.zeros(ofRank) : tf.slice(gradient, [begin, 0], ofRank)];
  });
  const names = new Set(embeddings.map(({ name }) => name));
  const ofEmbeddings = Object.entries(grads).filter(([name]) => names.has(name));
  tf.dispose([...ofEmbeddings.map(([, gradient]) => gradient), ...embeddings]);
  const direct = Object.fromEntries(Object.entries(grads).filter(([name]) => !names.has(name)));
  return {
    loss: scalarOf(value),
    parts: Object.fromEntries(Object.entries(kept).map(([name, part]) => [name, scalarOf(part)])),
    direct,
    upstream,
  };
}

function scalarOf(tensor: Tensor): number {
  const value = tensor.dataSync()[0] ?? Number.NaN;
  tensor.dispose();
  return value;
}
