/**
 * MoCo, the loss: a query finds its key, which a slowly following teacher gives, among the keys of many steps before.
 * So negatives cost memory and not time, and a small batch has many.
 * Source: He et al., arXiv 1911.05722.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Rank, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import { softmaxCrossEntropy } from "../../../models/ops/cross-entropy.ts";
import { unitPrefix } from "../../../models/ops/l2-normalise.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import type { ObjectiveState, PassContext, PassLoss } from "../../objective.ts";
import { under, type NamedArrays, type NamedValues } from "../../optimizer.ts";
import { gaussians } from "../gaussian.ts";
import { splitRows } from "../similarity.ts";
import { Teacher } from "../teacher.ts";
import { mocoSettings } from "./sampler.ts";

export function mocoPass({ encoder, settings, trunk, seed }: PassContext): PassLoss {
  const { views, temperature, queue: length, momentum } = mocoSettings(settings);
  const state = new MocoState(new Teacher(trunk, momentum), {
    length,
    width: encoder.dimension,
    seed,
  });
  return {
    state,
    lossOf([batch], pass) {
      assert(batch !== undefined, "the moco sampler draws one batch");
      const queries = splitRows(pass.encoder.forward(batch), views);
      const keys = splitRows(state.teacher.encoder.forward(batch), views);
      state.add(keys);
      const terms: Scalar[] = [];
      for (const cut of encoder.matryoshka) {
        const negatives = unitPrefix(state.queue, cut);
        queries.forEach((query, i) => {
          keys.forEach((key, j) => {
            if (i === j) return; // a view finds another view, not itself
            terms.push(
              queueLoss(unitPrefix(query, cut), unitPrefix(key, cut), negatives, temperature),
            );
          });
        });
      }
      return { total: tf.div(tf.addN(terms), terms.length), parts: {} };
    },
  };
}

/** Mean cross-entropy of finding key i for query i among it and the queue. @param queries, keys [B, d]  @param queue [K, d]; all of length 1 */
export function queueLoss(
  queries: Tensor2D,
  keys: Tensor2D,
  queue: Tensor2D,
  temperature: number,
): Scalar {
  const right = tf.sum(tf.mul(queries, keys), 1, true); // [B, 1]
  const wrong = matMul(queries, queue, false, true); // [B, K]
  const logits = tf.div<Tensor2D>(tf.concat<Tensor2D>([right as Tensor2D, wrong], 1), temperature);
  return softmaxCrossEntropy(logits, tf.zeros<Rank.R1>([queries.shape[0]], "int32"));
}

/** The teacher, and the keys that it gave, newest first. */
class MocoState implements ObjectiveState {
  readonly teacher: Teacher;
  private readonly width: number;
  private kept: Tensor2D;
  /** Of this step, not in the queue yet. */
  private fresh: Tensor2D[] = [];

  /** The queue begins as noise, as in the paper. */
  constructor(
    teacher: Teacher,
    {
      length,
      width,
      seed,
    }: { readonly length: number; readonly width: number; readonly seed: number },
  ) {
    this.teacher = teacher;
    this.width = width;
    const noise = gaussians(length * width, seededRng(seed, "moco/queue"));
    this.kept = tf.keep(tf.tensor2d(noise, [length, width]));
  }

  /** [K, D], not normalised. */
  get queue(): Tensor2D {
    return this.kept;
  }

  add(keys: readonly Tensor2D[]): void {
    for (const key of keys) this.fresh.push(tf.keep(key.clone()));
  }

  afterUpdate(weights: NamedValues): void {
    this.teacher.afterUpdate(weights);
    const before = this.kept;
    this.kept = tf.tidy(() =>
      tf.keep(tf.slice(tf.concat<Tensor2D>([...this.fresh, before], 0), [0, 0], before.shape)),
    );
    tf.dispose([before, ...this.fresh]);
    this.fresh = [];
  }

  arrays(): NamedArrays {
    const teacher = Array.from(
      this.teacher.arrays(),
      ([name, values]) => [`teacher.${name}`, values] as const,
    );
    return new Map([...teacher, ["queue", this.kept.dataSync<"float32">()]]);
  }

  restore(arrays: NamedArrays): void {
    this.teacher.restore(under("teacher.", arrays));
    const saved = arrays.get("queue");
    assert(saved?.length === this.kept.size, "the saved queue has another size");
    const before = this.kept;
    this.kept = tf.keep(tf.tensor2d(saved.slice(), [saved.length / this.width, this.width]));
    before.dispose();
  }

  dispose(): void {
    this.teacher.dispose();
    tf.dispose([this.kept, ...this.fresh]);
  }
}
