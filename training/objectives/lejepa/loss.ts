/**
 * LeJEPA, the loss: the views of a group agree, while SIGReg asks that the embeddings of a batch look like a standard
 * Gaussian along random directions, which no collapsed encoder does. Neither teacher nor negatives.
 * Source: Balestriero and LeCun, arXiv 2511.08544.
 */
import { assert } from "../../../base/errors.ts";
import { tf, type Scalar, type Tensor2D } from "../../../models/backend.ts";
import { matMul } from "../../../models/ops/mat-mul.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import type { PassContext, PassLoss } from "../../objective.ts";
import { gaussians } from "../gaussian.ts";
import { Projector } from "../projector.ts";
import { splitRows } from "../similarity.ts";
import { lejepaSettings } from "./sampler.ts";

/** Points at which the characteristic functions are compared, evenly over 0 … KNOT_MAX. */
const KNOTS = 17;
const KNOT_MAX = 3;

export function lejepaPass({ encoder, scope, settings, seed }: PassContext): PassLoss {
  const { views, lambda, directions, projected, projector: hidden } = lejepaSettings(settings);
  const projector = new Projector(scope, {
    inputs: encoder.dimension,
    hidden,
    outputs: projected,
  });
  return {
    lossOf([batch], pass) {
      assert(batch !== undefined, "the lejepa sampler draws one batch");
      const sets = splitRows(projector.forward(pass.encoder.forward(batch)), views);
      const mean = tf.div<Tensor2D>(tf.addN([...sets]), sets.length);
      const rng = seededRng(seed, `lejepa/directions/${pass.draw}`);
      const slices = randomDirections(
        projected,
        directions,
        gaussians(projected * directions, rng),
      );
      const meanOf = (terms: readonly Scalar[]): Scalar =>
        tf.div(tf.addN([...terms]), terms.length);
      const agreement = meanOf(sets.map((set) => tf.mean(tf.square(tf.sub(set, mean)))));
      const sigreg = meanOf(sets.map((set) => sigReg(set, slices)));
      const total = tf.add<Scalar>(tf.mul(agreement, 1 - lambda), tf.mul(sigreg, lambda));
      return { total, parts: { agreement, sigreg } };
    },
  };
}

/** Columns of length 1. @param values  D · count numbers  @returns [D, count] */
function randomDirections(D: number, count: number, values: Float32Array): Tensor2D {
  const drawn = tf.tensor2d(values, [D, count]);
  return tf.div(drawn, tf.sqrt(tf.sum(tf.square(drawn), 0, true)));
}

/**
 * The Epps–Pulley statistic against the standard normal, mean over directions: B times the weighted integral of the
 * squared difference between the empirical characteristic function of x·direction and exp(−t²/2).
 * @param x [B, D]  @param slices [D, S], columns of length 1
 */
export function sigReg(x: Tensor2D, slices: Tensor2D): Scalar {
  const B = x.shape[0];
  const seen = matMul(x, slices); // [B, S]
  const step = KNOT_MAX / (KNOTS - 1);
  const terms = Array.from({ length: KNOTS }, (_, k): Scalar => {
    const t = k * step;
    const normal = Math.exp(-(t * t) / 2);
    const at = tf.mul(seen, t);
    const real = tf.sub(tf.mean(tf.cos(at), 0), normal);
    const imaginary = tf.mean(tf.sin(at), 0);
    // Trapezoids over both signs of t, in the window exp(−t²/2).
    const weight = (k === 0 || k === KNOTS - 1 ? step : 2 * step) * normal;
    return tf.mul(tf.mean(tf.add(tf.square(real), tf.square(imaginary))), weight * B);
  });
  return tf.addN(terms);
}
