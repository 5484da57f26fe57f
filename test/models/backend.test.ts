import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import {
  describeBackend,
  measureGflops,
  readValues,
  startBackend,
  tf,
  type BackendInfo,
  type Tensor,
} from "../../models/backend.ts";
import { gatherRows } from "../../models/ops/gather.ts";
import { matMul } from "../../models/ops/mat-mul.ts";

let info: BackendInfo;
let backends: readonly string[];

beforeAll(async () => {
  info = await startBackend();
  // wasm beside it, so that both answers can be compared with plain JavaScript's.
  const require = createRequire(import.meta.url);
  const wasm = require("@tensorflow/tfjs-backend-wasm") as { setWasmPaths(folder: string): void };
  wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  await tf.setBackend("wasm");
  backends = info.name === "native" ? ["tensorflow", "wasm"] : ["wasm"];
});

/** The result of `compute` on a backend, as plain numbers; fails if it leaves a tensor behind. */
async function on(backend: string, compute: () => readonly Tensor[]): Promise<number[][]> {
  await tf.setBackend(backend);
  const before = tf.memory().numTensors;
  const results = compute();
  const values = results.map((tensor) => Array.from(tensor.dataSync()));
  for (const tensor of results) tensor.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return values;
}

function expectClose(actual: readonly number[][], expected: readonly number[][]): void {
  expect(actual.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  for (const [row, values] of actual.entries()) {
    for (const [column, value] of values.entries()) {
      expect(Math.abs(value - (expected[row]?.[column] ?? NaN))).toBeLessThan(1e-4);
    }
  }
}

/** Numbers in [−1, 1], the same for the same seed. */
function numbers(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + seed));
}

const product = (shape: readonly number[]): number => shape.reduce((total, n) => total * n, 1);

describe("matMul", () => {
  const shapes = fc.record({
    leading: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
    N: fc.integer({ min: 1, max: 5 }),
    K: fc.integer({ min: 1, max: 5 }),
    M: fc.integer({ min: 1, max: 5 }),
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    shared: fc.boolean(),
    seed: fc.integer({ min: 0, max: 1000 }),
  });

  test("values and gradients are those of plain JavaScript, whatever is transposed", async () => {
    await fc.assert(
      fc.asyncProperty(
        shapes,
        async ({ leading, N, K, M, transposeA, transposeB, shared, seed }) => {
          // One matrix for all rows is only defined for an `a` as it is.
          const one = shared && !transposeA;
          const shapeA = [...leading, ...(transposeA ? [K, N] : [N, K])];
          const shapeB = [...(one ? [] : leading), ...(transposeB ? [M, K] : [K, M])];
          const compute = (multiply: (a: Tensor, b: Tensor) => Tensor) => (): readonly Tensor[] =>
            tf.tidy(() => {
              const a = tf.tensor(numbers(product(shapeA), seed), shapeA);
              const b = tf.tensor(numbers(product(shapeB), seed + 1), shapeB);
              const weights = tf.tensor(numbers(product(leading) * N * M, seed + 2), [
                ...leading,
                N,
                M,
              ]);
              const scalar = (x: Tensor, y: Tensor): Tensor => multiply(x, y).mul(weights).sum();
              const [dA, dB] = tf.grads(scalar)([a, b]);
              return [multiply(a, b), ...(dA && dB ? [dA, dB] : [])];
            });
          // The oracle: sums over explicitly expanded axes, no product of matrices at all.
          const oracle = await on(
            "cpu",
            compute((a, b) => {
              const left = transposeA ? swap(a) : a;
              const right = transposeB ? swap(b) : b;
              return left.expandDims(-1).mul(right.expandDims(-3)).sum(-2);
            }),
          );
          expect(oracle).toHaveLength(3);
          for (const backend of [...backends, "cpu"]) {
            const values = await on(
              backend,
              compute((a, b) => matMul(a, b, transposeA, transposeB)),
            );
            expectClose(values, oracle);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  test("the wrong rank is a broken invariant", () => {
    tf.tidy(() => {
      expect(() => matMul(tf.ones([2, 2]), tf.ones([1, 2, 2]))).toThrow(/ranks 2 and 3/);
    });
  });
});

function swap(x: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return x.transpose([...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

describe("gatherRows", () => {
  test("takes rows by number, and its gradient adds up over rows taken more than once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }).chain((V) =>
          fc.record({
            V: fc.constant(V),
            D: fc.integer({ min: 1, max: 4 }),
            ids: fc.array(fc.integer({ min: 0, max: V - 1 }), { minLength: 2, maxLength: 8 }),
            seed: fc.integer({ min: 0, max: 1000 }),
          }),
        ),
        async ({ V, D, ids, seed }) => {
          const shape = ids.length % 2 === 0 ? [2, ids.length / 2] : [ids.length];
          const table = numbers(V * D, seed);
          const weights = numbers(ids.length * D, seed + 1);
          const rows = ids.flatMap((id) => Array.from(table.subarray(id * D, (id + 1) * D)));
          const gradient = new Float32Array(V * D);
          ids.forEach((id, i) => {
            for (let j = 0; j < D; j++) {
              gradient[id * D + j] = (gradient[id * D + j] ?? 0) + (weights[i * D + j] ?? 0);
            }
          });
          for (const backend of [...backends, "cpu"]) {
            const values = await on(backend, () =>
              tf.tidy(() => {
                const x = tf.tensor2d(table, [V, D]);
                const gather = (t: Tensor): Tensor =>
                  gatherRows(t.as2D(V, D), tf.tensor(ids, shape, "int32"));
                const scalar = (t: Tensor): Tensor =>
                  gather(t)
                    .mul(tf.tensor(weights, [...shape, D]))
                    .sum();
                return [gather(x), tf.grad(scalar)(x)];
              }),
            );
            expectClose(values, [rows, Array.from(gradient)]);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("readValues", () => {
  test("gives the values and leaves no tensor behind, even when reading fails", async () => {
    const values = await on("cpu", () => {
      expect(Array.from(readValues(() => tf.tensor1d([1, 2]).mul(3)))).toEqual([3, 6]);
      expect(() => readValues(() => tf.ones([2]).reshape([3]))).toThrow();
      return [];
    });
    expect(values).toEqual([]);
  });
});

describe("startBackend", () => {
  const chosen = process.env["SOMA_BACKEND"] !== undefined;
  test.skipIf(chosen)(
    "runs natively where set-up says that it can, and else says what set-up said",
    async () => {
      const require = createRequire(import.meta.url);
      const folder = dirname(require.resolve("@tensorflow/tfjs-node-gpu/package.json"));
      const path = join(folder, "lib", "napi-v8", "soma.json");
      const record = JSON.parse(await readFile(path, "utf8")) as { reason?: string };
      expect(info.fallbackReason).toBe(record.reason);
      expect(info.name).toBe(record.reason === undefined ? "native" : "wasm");
    },
  );

  test("answers the same for every later call", async () => {
    expect(await startBackend({ prefer: "cpu" })).toBe(info);
  });

  test("the measured speed is a positive number", async () => {
    await tf.setBackend(backends[0] ?? "wasm");
    expect(measureGflops()).toBeGreaterThan(0.1);
  });

  test("SOMA_BACKEND that names no backend is refused with the known names", async () => {
    await withEnvironment({ SOMA_BACKEND: "cuda" }, async (fresh) => {
      await expect(fresh.startBackend()).rejects.toThrow(/SOMA_BACKEND is "cuda"/);
    });
  });

  test("a preferred slower backend is in force without a complaint", async () => {
    await withEnvironment({ SOMA_BACKEND: "wasm" }, async (fresh) => {
      const started = await fresh.startBackend();
      expect(started.name).toBe("wasm");
      expect(started.threads).toBe(1);
      expect(started.fallbackReason).toBeUndefined();
      expect(fresh.tf.getBackend()).toBe("wasm");
    });
  });

  test("the description names threads, and the reason for a fallback with its remedy", () => {
    expect(
      describeBackend({
        name: "native",
        detail: "TensorFlow 2.21.0",
        threads: 2,
        precision: "float32",
      }),
    ).toBe("TensorFlow 2.21.0, 2 threads");
    expect(
      describeBackend({
        name: "wasm",
        detail: "wasm",
        threads: 1,
        precision: "float32",
        fallbackReason: "no g++",
      }),
    ).toBe("wasm, 1 thread (no g++)");
  });
});

/** A second copy of the module, started afresh under other variables. */
async function withEnvironment(
  variables: Readonly<Record<string, string>>,
  body: (fresh: typeof import("../../models/backend.ts")) => Promise<void>,
): Promise<void> {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  vi.resetModules();
  try {
    await body(await import("../../models/backend.ts"));
  } finally {
    vi.unstubAllEnvs();
  }
}
