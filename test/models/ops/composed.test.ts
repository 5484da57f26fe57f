/** Fused ops against their compositions, and both against slopes in float64, on made-up shapes. */
import fc from "fast-check";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { fusedKernels, startBackend, tf, useFused, type Tensor } from "../../../models/backend.ts";
import { evaluate, tensorOf, worst, type OpCall, type OpInput } from "../../support/ops-cases.ts";
import { randomCases } from "../../support/ops-random.ts";
import { distanceFromKink, reference } from "../../support/ops-reference.ts";
import { OPS } from "../../support/ops-table.ts";

let fused: readonly string[];
beforeAll(async () => {
  await startBackend();
  fused = fusedKernels();
});
afterEach(() => {
  useFused(true);
});

/** Central differences in float64 are themselves off by about this share. */
const SLOPE_TOLERANCE = 1e-7;

function callOf(call: OpCall, { inputs, fixed = {}, options = {} }: OpInput): Tensor {
  const tensors = Object.entries({ ...inputs, ...fixed }).map(([name, packed]) => [
    name,
    tensorOf(packed),
  ]);
  return call(Object.fromEntries(tensors) as Parameters<OpCall>[0], options);
}

describe.each(Object.keys(OPS))("%s", (op) => {
  const { face, composed, tolerance } = present(OPS[op], op);

  test("fused and composed agree, in values and gradients", (context) => {
    if (fused.length === 0) context.skip("no fused kernels are active here");
    fc.assert(
      fc.property(randomCases(op, { rows: 33, width: 70 }), (given) => {
        fc.pre(distanceFromKink(given) > 1e-5);
        const { gap, where } = worst(given, evaluate(face, given), evaluate(composed, given));
        expect(gap, where).toBeLessThanOrEqual(2 * tolerance);
      }),
      { numRuns: 30 },
    );
  });

  test("gives the same bits where no gradient is wanted, and keeps nothing for one", () => {
    fc.assert(
      fc.property(randomCases(op, { rows: 33, width: 70 }), (given) => {
        const before = tf.memory().numTensors;
        const alone = tf.tidy(() => Array.from(callOf(face, given).dataSync()));
        expect(tf.memory().numTensors).toBe(before);
        expect(alone).toEqual(Array.from(evaluate(face, given).output));
      }),
      { numRuns: 10 },
    );
  });

  test("values and slopes are those of float64", () => {
    fc.assert(
      fc.property(randomCases(op, { rows: 5, width: 9 }), (given) => {
        fc.pre(distanceFromKink(given) > 1e-3);
        const expected = reference(given);
        for (const call of [face, composed]) {
          const { gap, where } = worst(given, evaluate(call, given), expected);
          expect(gap, where).toBeLessThanOrEqual(tolerance + SLOPE_TOLERANCE);
        }
      }),
      { numRuns: 15 },
    );
  });

  test("with fused kernels off the composition is what runs", () => {
    useFused(false);
    expect(fusedKernels()).toEqual([]);
    fc.assert(
      fc.property(randomCases(op, { rows: 5, width: 9 }), (given) => {
        expect(evaluate(face, given)).toEqual(evaluate(composed, given));
      }),
      { numRuns: 3 },
    );
  });
});
