/** AdamW and averages of weights give PyTorch's numbers, fused and on the host, and both give the same bits. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { isFused, startBackend, tf, useFused } from "../../../models/backend.ts";
import { AdamW, WeightAverage, type NamedArrays } from "../../../training/optimizer.ts";
import {
  distance,
  readOpVectors,
  tensorOf,
  type Packed,
  type StoredAdamW,
  type StoredAverage,
} from "../../support/ops-cases.ts";

/** Weights and averages are kept in float32 between steps, PyTorch's here in float64: a rounding each step. */
const TOLERANCE = 3e-7;

beforeAll(() => startBackend());
afterEach(() => {
  useFused(true);
});

const { adamW, average } = readOpVectors();
type Arrays = Readonly<Record<string, Packed>>;
const arraysOf = (packed: Arrays): NamedArrays =>
  new Map(Object.entries(packed).map(([name, { values }]) => [name, Float32Array.from(values)]));

function expectClose(actual: NamedArrays, expected: Arrays, tolerance: number): void {
  expect([...actual.keys()]).toEqual(Object.keys(expected));
  for (const [name, { values }] of Object.entries(expected)) {
    const scale = Math.max(...Array.from(values, Math.abs));
    expect(distance(actual.get(name), values, 1e-2 * scale), name).toBeLessThan(tolerance);
  }
}

function trained(stored: StoredAdamW): ReturnType<AdamW["state"]> {
  const before = tf.memory().numTensors;
  const variables = new Map(
    Object.entries(stored.start).map(([name, packed]) => [
      name,
      tf.tidy(() => tf.variable(tensorOf(packed))),
    ]),
  );
  const optimizer = new AdamW(variables, stored);
  for (const { gradients, ...rates } of stored.steps) optimizer.update(arraysOf(gradients), rates);
  const state = optimizer.state();
  for (const [name, variable] of variables)
    expect(variable.dataSync(), name).toEqual(state.weights.get(name));
  const copy = {
    updateCount: state.updateCount,
    weights: copied(state.weights),
    moments: copied(state.moments),
    squares: copied(state.squares),
  };
  optimizer.dispose();
  tf.dispose([...variables.values()]);
  expect(tf.memory().numTensors).toBe(before);
  return copy;
}

function averaged(stored: StoredAverage): NamedArrays {
  const before = tf.memory().numTensors;
  const average = new WeightAverage(stored.decay, arraysOf(stored.start));
  for (const weights of stored.weights) average.update(arraysOf(weights));
  const values = copied(average.current);
  average.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return values;
}

const copied = (arrays: NamedArrays): NamedArrays =>
  new Map(Array.from(arrays, ([name, values]) => [name, values.slice()]));

describe.each([
  ["fused", true],
  ["on the host", false],
] as const)("%s", (_title, fused) => {
  test.each(adamW.map((stored) => [stored.name, stored] as const))(
    "AdamW is PyTorch's: %s",
    (_name, stored) => {
      useFused(fused);
      const { updateCount, weights, moments, squares } = trained(stored);
      expect(updateCount).toBe(stored.steps.length);
      expectClose(weights, stored.weights, TOLERANCE);
      expectClose(moments, stored.moments, TOLERANCE);
      expectClose(squares, stored.squares, TOLERANCE);
    },
  );

  test.each(average.map((stored) => [stored.name, stored] as const))(
    "an average of weights is PyTorch's: %s",
    (_name, stored) => {
      useFused(fused);
      expectClose(averaged(stored), stored.averages, TOLERANCE);
    },
  );
});

test("fused and on the host the bits are the same", (context) => {
  if (!isFused()) context.skip("no fused kernels are active here");
  const all = () => [...adamW.map(trained), ...average.map(averaged)];
  const fused = all();
  useFused(false);
  expect(fused).toEqual(all());
});

test("arrays that the optimiser was given are not changed", () => {
  const stored = present(adamW[0], "a case");
  const { gradients, ...rates } = present(stored.steps[0], "a step");
  const start = Float32Array.from({ length: 50_000 }, (_, i) => Math.sin(i));
  const kept = start.slice();
  const given = arraysOf(gradients);
  const before = copied(given);
  const variable = tf.tidy(() => tf.variable(tf.tensor1d(start)));
  const gradient = start.slice().reverse();
  const optimizer = new AdamW(new Map([["w", variable]]), stored);
  optimizer.update(new Map([["w", gradient]]), rates);
  optimizer.dispose();
  variable.dispose();
  expect(start).toEqual(kept);
  expect(gradient).toEqual(kept.slice().reverse());
  const average = new WeightAverage(0.5, given);
  average.update(new Map(Array.from(given, ([name, values]) => [name, values.map((x) => x + 1)])));
  average.dispose();
  expect(given).toEqual(before);
});
