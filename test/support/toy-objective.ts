/**
 * A small contrastive objective for tests of the trainer: two drawings of each concept find each other.
 * With a learnt temperature, so that an objective's own parameters are trained, saved and restored as well.
 */
import { assert, present } from "../../base/errors.ts";
import { byGroup, GroupSampler } from "../../datasets/batch.ts";
import { tf, type Scalar, type Tensor2D } from "../../models/backend.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { EmbeddingObjective } from "../../training/objective.ts";

export const toyContrastive: EmbeddingObjective = {
  sampler({ dataset, images, seed, batchSize }) {
    const pictures = present(images, "the toy objective reads pictures");
    const train = dataset.examples.filter(
      ({ split, image }) => split === "train" && image !== undefined,
    );
    const groups = byGroup(train);
    const sampler = new GroupSampler([...groups.keys()], seed, batchSize);
    return {
      draw(step) {
        const rng = seededRng(seed, `toy/${step}`);
        const pairs = sampler.at(step).map((group) => {
          const members = present(groups.get(group), "a group of the sampler");
          const [a, b] = rng.sample(members.length, 2);
          return [members[a ?? 0], members[b ?? 0]] as const;
        });
        return ([0, 1] as const).map((side) =>
          pairs.map((pair) => ({
            kind: "picture",
            image: pictures.get(present(pair[side], "an example").id),
          })),
        );
      },
    };
  },
  loss({ scope }) {
    const logScale = scope.parameter("logScale", [], { kind: "constant", value: Math.log(10) });
    return ([left, right]) => {
      assert(left !== undefined && right !== undefined, "the toy draws two batches");
      const logits = tf.mul(tf.matMul(unit(left), unit(right), false, true), tf.exp(logScale));
      const target = tf.eye(left.shape[0]);
      const total = tf.neg<Scalar>(tf.mean(tf.sum(tf.mul(target, tf.logSoftmax(logits)), 1)));
      return { total, parts: { contrastive: total } };
    };
  },
};

/** The toy, with something done before each step is drawn. */
export function beforeDrawing(before: (step: number) => void): EmbeddingObjective {
  return {
    ...toyContrastive,
    sampler(context) {
      const sampler = toyContrastive.sampler(context);
      return {
        draw(step) {
          before(step);
          return sampler.draw(step);
        },
      };
    },
  };
}

function unit(rows: Tensor2D): Tensor2D {
  return tf.div(rows, tf.sqrt(tf.add(tf.sum(tf.square(rows), 1, true), 1e-8)));
}
