import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { startBackend, tf, type Variable } from "../../models/backend.ts";
import { seededRng } from "../../tokenizers/random.ts";
import {
  AdamW,
  assignValues,
  clipScale,
  globalNorm,
  WeightAverage,
  type AdamSettings,
} from "../../training/optimizer.ts";

beforeAll(async () => {
  await startBackend();
});

const SETTINGS: AdamSettings = { betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.1 };

/** Multiples of 1/64: no denormals, which lose bits when they are scaled, and no −0. */
const numbers = (length: number): fc.Arbitrary<Float32Array> =>
  fc
    .array(fc.integer({ min: -512, max: 512 }), { minLength: length, maxLength: length })
    .map((values) => Float32Array.from(values, (value) => value / 64));

/** AdamW as its paper writes it (algorithm 2, with the decay times the learning rate), one number at a time, in doubles. */
function paperAdamW(
  weight: number,
  gradients: readonly number[],
  rate: number,
  decay: number,
): number {
  let [m, v, w] = [0, 0, weight];
  gradients.forEach((g, i) => {
    m = 0.9 * m + 0.1 * g;
    v = 0.98 * v + 0.02 * g * g;
    const mean = m / (1 - 0.9 ** (i + 1));
    const variance = v / (1 - 0.98 ** (i + 1));
    w = w - rate * (mean / (Math.sqrt(variance) + 1e-8) + decay * w);
  });
  return w;
}

function withVariable<T>(values: Float32Array, shape: number[], use: (variable: Variable) => T): T {
  const variable = tf.variable(tf.tensor(values, shape));
  try {
    return use(variable);
  } finally {
    variable.dispose();
  }
}

test("updates follow the paper's formula, weight by weight, matrices with decay", () => {
  fc.assert(
    fc.property(
      numbers(6),
      fc.array(numbers(6), { minLength: 1, maxLength: 12 }),
      (start, gradients) => {
        withVariable(start, [2, 3], (variable) => {
          const optimizer = new AdamW(new Map([["w", variable]]), SETTINGS);
          for (const gradient of gradients) {
            optimizer.update(new Map([["w", gradient]]), { learningRate: 0.01, gradientScale: 1 });
          }
          const values = variable.dataSync();
          start.forEach((weight, i) => {
            const expected = paperAdamW(
              weight,
              gradients.map((g) => g[i] ?? 0),
              0.01,
              0.1,
            );
            // Kept in floats between steps: their rounding adds up.
            expect(Math.abs((values[i] ?? 0) - expected)).toBeLessThan(2e-5);
          });
        });
      },
    ),
    { numRuns: 50 },
  );
});

test("weights of rank 0 and 1 do not decay", () => {
  for (const shape of [[], [1]]) {
    withVariable(Float32Array.of(3), shape, (variable) => {
      const optimizer = new AdamW(new Map([["b", variable]]), SETTINGS);
      optimizer.update(new Map([["b", new Float32Array(1)]]), {
        learningRate: 1,
        gradientScale: 1,
      });
      expect(Array.from(variable.dataSync())).toEqual([3]);
    });
  }
});

test("a gradient scaled in the update is the same as one scaled before it", () => {
  fc.assert(
    fc.property(numbers(4), numbers(4), (start, gradient) => {
      // A power of two: scaling is exact.
      const results = [
        { gradient, gradientScale: 0.25 },
        { gradient: gradient.map((x) => x * 0.25), gradientScale: 1 },
      ].map((way) =>
        withVariable(start, [4], (variable) => {
          const optimizer = new AdamW(new Map([["w", variable]]), SETTINGS);
          const { gradientScale } = way;
          optimizer.update(new Map([["w", way.gradient]]), { learningRate: 0.1, gradientScale });
          return variable.dataSync<"float32">().slice();
        }),
      );
      expect(results[0]).toEqual(results[1]);
    }),
    { numRuns: 50 },
  );
});

test("the order of parameters changes nothing, to the last bit", () => {
  const rng = seededRng(5, "order");
  const shapes: [string, number[]][] = [
    ["a", [3, 4]],
    ["b", [7]],
    ["c", [2, 2, 2]],
  ];
  const made = shapes.map(([name, shape]) => {
    const size = shape.reduce((p, n) => p * n, 1);
    const draw = (): Float32Array => Float32Array.from({ length: size }, () => rng.unit() - 0.5);
    return { name, shape, start: draw(), gradient: draw() };
  });
  const run = (order: typeof made): Record<string, number[]> => {
    const variables = new Map(
      order.map(({ name, shape, start }) => [name, tf.variable(tf.tensor(start, shape))]),
    );
    const optimizer = new AdamW(variables, SETTINGS);
    const gradients = new Map(order.map(({ name, gradient }) => [name, gradient]));
    const gradientScale = clipScale(globalNorm(gradients), 0.1);
    for (let i = 0; i < 5; i++) optimizer.update(gradients, { learningRate: 0.01, gradientScale });
    const result = Object.fromEntries(
      [...variables].map(([name, variable]) => [name, Array.from(variable.dataSync())]),
    );
    for (const variable of variables.values()) variable.dispose();
    return result;
  };
  expect(run(made.toReversed())).toEqual(run(made));
});

test("a restored optimiser goes on exactly where the saved one was", () => {
  fc.assert(
    fc.property(
      numbers(4),
      fc.array(numbers(4), { minLength: 2, maxLength: 6 }),
      (start, gradients) => {
        const step = (optimizer: AdamW, gradient: Float32Array): void => {
          optimizer.update(new Map([["w", gradient]]), { learningRate: 0.01, gradientScale: 1 });
        };
        const straight = withVariable(start, [2, 2], (variable) => {
          const optimizer = new AdamW(new Map([["w", variable]]), SETTINGS);
          for (const gradient of gradients) step(optimizer, gradient);
          return Array.from(variable.dataSync());
        });
        const half = Math.floor(gradients.length / 2);
        const saved = withVariable(start, [2, 2], (variable) => {
          const optimizer = new AdamW(new Map([["w", variable]]), SETTINGS);
          for (const gradient of gradients.slice(0, half)) step(optimizer, gradient);
          const { weights, moments, squares, updateCount } = optimizer.state();
          const copied = (arrays: typeof weights): typeof weights =>
            new Map([...arrays].map(([name, values]) => [name, values.slice()]));
          return {
            updateCount,
            weights: copied(weights),
            moments: copied(moments),
            squares: copied(squares),
          };
        });
        const resumed = withVariable(new Float32Array(4), [2, 2], (variable) => {
          const optimizer = new AdamW(new Map([["w", variable]]), SETTINGS);
          optimizer.restore(saved);
          for (const gradient of gradients.slice(half)) step(optimizer, gradient);
          return Array.from(variable.dataSync());
        });
        expect(resumed).toEqual(straight);
      },
    ),
    { numRuns: 50 },
  );
});

test("clipping shortens long gradients to the limit and leaves short ones alone", () => {
  fc.assert(
    fc.property(numbers(5), fc.double({ min: 0.1, max: 20, noNaN: true }), (gradient, limit) => {
      const norm = globalNorm(new Map([["g", gradient]]));
      const clipped = norm * clipScale(norm, limit);
      expect(clipped).toBeLessThanOrEqual(Math.max(norm, limit) * (1 + 1e-12));
      expect(clipped).toBeCloseTo(Math.min(norm, limit), 9);
    }),
  );
  expect(clipScale(1e9, 0)).toBe(1);
});

test("the norm of gradients is not finite if any of their numbers is not", () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const arrays = new Map([
      ["a", Float32Array.of(1, 2)],
      ["b", Float32Array.of(0, bad)],
      ["c", Float32Array.of(3)],
    ]);
    expect(globalNorm(arrays)).not.toSatisfy(Number.isFinite);
  }
});

test("an average of weights that do not change is those weights", () => {
  fc.assert(
    fc.property(numbers(4), fc.integer({ min: 1, max: 40 }), (weights, updates) => {
      const average = new WeightAverage(0.99, new Map([["w", weights]]));
      for (let i = 0; i < updates; i++) average.update(new Map([["w", weights]]));
      expect(average.current.get("w")).toEqual(weights);
    }),
  );
});

test("an average forgets its start: after many updates it is near what it was fed", () => {
  const average = new WeightAverage(0.9, new Map([["w", Float32Array.of(1000)]]));
  for (let i = 0; i < 200; i++) average.update(new Map([["w", Float32Array.of(1)]]));
  expect(average.current.get("w")?.[0]).toBeCloseTo(1, 4);
});

test("writing weights into a variable leaves no tensor behind and keeps no hold of the array", () => {
  withVariable(new Float32Array(3), [3], (variable) => {
    const before = tf.memory().numTensors;
    const values = Float32Array.of(1, 2, 3);
    assignValues(variable, values);
    values.fill(9);
    expect(Array.from(variable.dataSync())).toEqual([1, 2, 3]);
    expect(tf.memory().numTensors).toBe(before);
  });
});
