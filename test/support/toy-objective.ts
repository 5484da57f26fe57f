/**
 * A small contrastive objective for tests of the trainer: two drawings of each concept find each other.
 * With a learnt temperature, so that an objective's own parameters are trained, saved and restored as well.
 */
import { present } from "../../base/errors.ts";
import { byGroup, GroupSampler } from "../../datasets/batch.ts";
import type { Example } from "../../datasets/dataset.ts";
import { tf, type Scalar, type Tensor2D } from "../../models/backend.ts";
import { packTokens } from "../../models/batch.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import type { ObjectiveFactory } from "../../training/objective.ts";

export const toyContrastive: ObjectiveFactory = (context) => {
  const { dataset, seed, batchSize, scope } = context;
  const images = present(context.images, "the toy objective reads pictures");
  const train = dataset.examples.filter(
    ({ split, image }) => split === "train" && image !== undefined,
  );
  const groups = byGroup(train);
  const sampler = new GroupSampler([...groups.keys()], seed, batchSize);
  const logScale = scope.parameter("logScale", [], { kind: "constant", value: Math.log(10) });
  return {
    name: "toy",
    prepare(step) {
      const rng = seededRng(seed, `toy/${step}`);
      const pairs = sampler.at(step).map((group) => {
        const members = present(groups.get(group), "a group of the sampler");
        const [a, b] = rng.sample(members.length, 2);
        return [members[a ?? 0], members[b ?? 0]] as const;
      });
      const pack = (side: 0 | 1): ReturnType<typeof packTokens> =>
        packTokens(
          pairs.map((pair) => ({
            tokens: patchify(images.get(present<Example>(pair[side], "an example").id)),
          })),
        );
      const [left, right] = [pack(0), pack(1)];
      return {
        exampleCount: 2 * pairs.length,
        loss(encoder) {
          const a = unit(encoder.forward(left));
          const b = unit(encoder.forward(right));
          const logits = tf.mul(tf.matMul(a, b, false, true), tf.exp(logScale));
          const target = tf.eye(pairs.length);
          const total = tf.neg<Scalar>(tf.mean(tf.sum(tf.mul(target, tf.logSoftmax(logits)), 1)));
          return { total, parts: { contrastive: total } };
        },
      };
    },
  };
};

function unit(rows: Tensor2D): Tensor2D {
  return tf.div(rows, tf.sqrt(tf.add(tf.sum(tf.square(rows), 1, true), 1e-8)));
}
