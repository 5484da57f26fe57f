/** Layers in one call give what they give one by one. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  fusedKernels,
  isRecording,
  startBackend,
  tf,
  useFused,
  type Tensor,
  type Rank,
  type Tensor2D,
} from "../../../models/backend.ts";
import type { Activation } from "../../../models/ops/linear.ts";
import { gatherRows } from "../../../models/ops/gather.ts";
import { weightedSum } from "../../../models/ops/mean-pool.ts";
import {
  bagStack,
  inkStack,
  linearStack,
  linearStackComposed,
  runsAsOne,
  type StackLayer,
} from "../../../models/ops/linear-stack.ts";
import { CELL_NUMBERS, inkOf, PATCH_BYTES } from "../../../models/stems/ink.ts";
import { seededRng, type Rng } from "../../../tokenizers/random.ts";
import { Programs } from "../../support/ops-programs.ts";
import { distance } from "../../support/ops-cases.ts";

let fused = false;
beforeAll(async () => {
  await startBackend();
  fused = fusedKernels().length > 0;
});

interface LayerShape {
  /** Rows of the layer before that become one of this. */
  readonly merges: number;
  readonly outputs: number;
  readonly activation: Activation;
  readonly hasBias: boolean;
  /** Taken where the shapes allow it. */
  readonly wantsSkip: boolean;
}

const layerShapes = fc.record<LayerShape>({
  merges: fc.constantFrom(1, 1, 2, 4),
  outputs: fc.integer({ min: 1, max: 70 }),
  activation: fc.constantFrom("none", "relu", "gelu"),
  hasBias: fc.boolean(),
  wantsSkip: fc.boolean(),
});

/** Few rows go through the layers one at a time, many by shares: both are drawn. */
const stacks = fc.record({
  layers: fc.array(layerShapes, { minLength: 1, maxLength: 5 }),
  inputs: fc.integer({ min: 1, max: 60 }),
  rows: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 224, max: 700 })),
  seed: fc.nat(),
});

const floats = (rng: Rng, count: number): Float32Array =>
  Float32Array.from({ length: count }, () => rng.unit() - 0.5);

function layersOf(shapes: readonly LayerShape[], inputs: number, rng: Rng): StackLayer[] {
  let [width, before] = [inputs, 0];
  return shapes.map(({ merges, outputs, activation, hasBias, wantsSkip }, l) => {
    const skips = wantsSkip && l > 0 && merges === 1;
    const I = width * (l === 0 ? 1 : merges);
    const O = skips ? before : outputs;
    [before, width] = [I, O];
    return {
      weight: tf.tensor2d(floats(rng, I * O), [I, O]),
      ...(hasBias ? { bias: tf.tensor1d(floats(rng, O)) } : {}),
      activation,
      addsSkipped: skips,
    };
  });
}

const mergedBy = (shapes: readonly LayerShape[]): number =>
  shapes.slice(1).reduce((product, { merges }) => product * merges, 1);

const values = (x: Tensor): number[] => Array.from(x.dataSync());

describe("a stack", () => {
  test("gives the bits of its layers called one by one", (context) => {
    if (!fused) context.skip("our own kernels are not in force");
    fc.assert(
      fc.property(stacks, ({ layers: shapes, inputs, rows, seed }) => {
        tf.tidy(() => {
          const rng = seededRng(seed, "stack");
          const R = rows * mergedBy(shapes);
          const x = tf.tensor2d(floats(rng, R * inputs), [R, inputs]);
          const layers = layersOf(shapes, inputs, rng);
          expect(runsAsOne(layers)).toBe(true);
          expect(values(linearStack(x, layers))).toEqual(values(linearStackComposed(x, layers)));
        });
      }),
      { numRuns: 60 },
    );
  });

  test("is what tfjs's own ops make of it", () => {
    fc.assert(
      fc.property(stacks, ({ layers: shapes, inputs, rows, seed }) => {
        tf.tidy(() => {
          const rng = seededRng(seed, "stack");
          const R = rows * mergedBy(shapes);
          const x = tf.tensor2d(floats(rng, R * inputs), [R, inputs]);
          const layers = layersOf(shapes, inputs, rng);
          const ours = linearStack(x, layers).dataSync();
          useFused(false);
          const plain = linearStackComposed(x, layers).dataSync();
          useFused(true);
          expect(distance(ours, plain, 0.1)).toBeLessThan(2e-5);
        });
      }),
      { numRuns: 30 },
    );
  });

  test("has gradients: layers are called one by one while they are recorded", () => {
    tf.tidy(() => {
      const rng = seededRng(5, "stack");
      const shape = { activation: "gelu", hasBias: true, wantsSkip: true } as const;
      const shapes = [
        { ...shape, merges: 1, outputs: 6 },
        { ...shape, merges: 2, outputs: 12 },
        { ...shape, merges: 1, outputs: 12 },
      ];
      const layers = layersOf(shapes, 5, rng);
      const x = tf.tensor2d(floats(rng, 40), [8, 5]);
      const asked: boolean[] = [];
      const slopes = tf.grad((input) => {
        asked.push(isRecording(), runsAsOne(layers));
        return tf.sum(linearStack(input, layers));
      })(x);
      expect(asked).toEqual([true, false]);
      // Central differences through the one call.
      const step = 2e-2;
      const start = x.dataSync();
      const sumAt = (i: number, change: number): number => {
        const moved = Float32Array.from(start, (value, j) => (j === i ? value + change : value));
        return Number(tf.sum(linearStack(tf.tensor2d(moved, [8, 5]), layers)).dataSync()[0]);
      };
      const expected = Float32Array.from(
        { length: 40 },
        (_, i) => (sumAt(i, step) - sumAt(i, -step)) / (2 * step),
      );
      expect(distance(slopes.dataSync(), expected, 0.1)).toBeLessThan(2e-3);
    });
  });

  test("reads bytes of patches as their ink", (context) => {
    if (!fused) context.skip("our own kernels are not in force");
    const patches = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 224, max: 300 }));
    fc.assert(
      fc.property(
        patches,
        fc.array(layerShapes, { maxLength: 2 }),
        fc.nat(),
        (count, more, seed) => {
          const rng = seededRng(seed, "ink stack");
          const shape = { activation: "relu", hasBias: true, wantsSkip: false } as const;
          const shapes = [
            { ...shape, merges: 1, outputs: 9 },
            { ...shape, merges: 4, outputs: 13 },
            { ...shape, merges: 4, outputs: 17 },
            ...more.map((each) => ({ ...each, merges: 1 })),
          ];
          const bytes = Uint8Array.from({ length: count * PATCH_BYTES }, () => rng.uniform(256));
          tf.tidy(() => {
            const layers = layersOf(shapes, CELL_NUMBERS, rng);
            const fours = new Int32Array(bytes.buffer);
            const raw: Tensor2D = tf.tensor2d(fours, [count, PATCH_BYTES / 4], "int32");
            const ink = tf.tensor2d(inkOf(bytes), [count * 16, CELL_NUMBERS]);
            expect(values(inkStack(raw, layers))).toEqual(values(linearStackComposed(ink, layers)));
            // Also where the first layers alone are asked for, and a patch is more than one row.
            const two = layers.slice(0, 2);
            expect(values(inkStack(raw, two))).toEqual(values(linearStackComposed(ink, two)));
          });
        },
      ),
      { numRuns: 12 },
    );
  });

  test("sums a bag of rows as gathering and weighing them does", (context) => {
    if (!fused) context.skip("our own kernels are not in force");
    const sizes = fc.record({
      texts: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 224, max: 300 })),
      units: fc.integer({ min: 1, max: 9 }),
      width: fc.integer({ min: 1, max: 150 }),
      more: fc.array(layerShapes, { minLength: 1, maxLength: 3 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(sizes, ({ texts, units, width, more, seed }) => {
        const rng = seededRng(seed, "bag stack");
        tf.tidy(() => {
          const shapes = more.map((each) => ({ ...each, merges: 1 }));
          const layers = layersOf(shapes, width, rng);
          const table = tf.tensor2d(floats(rng, 11 * width), [11, width]);
          const ids = Int32Array.from({ length: texts * units }, () => rng.uniform(11));
          // Some tokens weigh nothing, as hidden ones.
          const weights = tf.tensor2d(
            Float32Array.from(ids, () => Math.max(0, rng.unit() - 0.3)),
            [texts, units],
          );
          const rows = gatherRows(table, tf.tensor1d(ids, "int32")) as Tensor2D;
          const apart = linearStackComposed(weightedSum(rows, weights), layers);
          const read = tf.tensor2d(ids, [texts, units], "int32");
          expect(values(bagStack(table, read, weights, layers))).toEqual(values(apart));
        });
      }),
      { numRuns: 30 },
    );
  });

  test("of no rows is no rows", (context) => {
    if (!fused) context.skip("our own kernels are not in force");
    tf.tidy(() => {
      const layers = [{ weight: tf.ones<Rank.R2>([3, 4]) }, { weight: tf.ones<Rank.R2>([4, 2]) }];
      expect(linearStack(tf.zeros([0, 3]), layers).shape).toEqual([0, 2]);
    });
  });
});

describe("whatever the threads", () => {
  const programs = new Programs();
  afterAll(() => programs.remove());

  test("a stack gives the same bits", async () => {
    const bits = (threads: number): Promise<string> =>
      programs.run(
        { module: "test/support/ops-stack.ts", call: "stackBits" },
        { OMP_NUM_THREADS: `${threads}` },
      );
    const one = await bits(1);
    expect(one.length).toBeGreaterThan(1000);
    expect(await bits(2)).toBe(one);
  });
});
