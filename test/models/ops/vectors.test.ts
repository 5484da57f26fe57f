/** Every op, fused and composed, gives PyTorch's values and gradients. The cases are those of test/vectors/make-ops.py. */
import { beforeAll, describe, expect, test } from "vitest";
import { present } from "../../../base/errors.ts";
import { fusedKernels, startBackend } from "../../../models/backend.ts";
import {
  evaluate,
  expectedOf,
  readOpVectors,
  worst,
  type OpResult,
} from "../../support/ops-cases.ts";
import { OPS } from "../../support/ops-table.ts";

beforeAll(() => startBackend());

const { cases } = readOpVectors();

test("every op has cases", () => {
  expect([...new Set(cases.map(({ op }) => op))].sort()).toEqual(Object.keys(OPS).sort());
});

test("fused kernels are active, or it is visible that they were not tested", (context) => {
  if (fusedKernels().length === 0) context.skip("no fused kernels are active here");
  expect(fusedKernels().length).toBeGreaterThan(0);
});

describe.each(Object.keys(OPS))("%s", (op) => {
  const { face, composed, tolerance } = present(OPS[op], op);
  const ours = cases
    .filter((stored) => stored.op === op)
    .map((stored) => [stored.name, stored] as const);

  test.each(ours)("composed: %s", (_, stored) => {
    const { gap, where } = worst(stored, evaluate(composed, stored), expectedOf(stored));
    expect(gap, where).toBeLessThanOrEqual(tolerance);
  });

  // Without fused kernels the face is what the backend in force makes of it.
  test.each(ours)("as called: %s", (_, stored) => {
    const { gap, where } = worst(stored, evaluate(face, stored), expectedOf(stored));
    expect(gap, where).toBeLessThanOrEqual(tolerance);
  });
});

/** Exactly nothing, not nearly: a hidden row that leaked would be small and wrong. */
describe("zeros", () => {
  const hidden: readonly [string, string, (result: OpResult) => ArrayLike<number>][] = [
    ["attention", "nothing visible at all", ({ output }) => output],
    ["attention", "nothing visible at all", ({ gradients }) => gradients["qkv"] ?? [NaN]],
    ["attention", "a sequence with everything hidden", ({ output }) => part(output, 24, 24)],
    // Keys and values of the hidden token (the last eight numbers of its twelve) get no gradient.
    ["attention", "a hidden token that is loud", ({ gradients }) => part(gradients["qkv"], 28, 8)],
    ["maskedSoftmax", "everything hidden", ({ output }) => output],
    ["maskedSoftmax", "everything hidden", ({ gradients }) => gradients["scores"] ?? [NaN]],
  ];
  test.each(hidden)("%s: %s", (op, name, take) => {
    const stored = present(
      cases.find((given) => given.op === op && given.name === name),
      name,
    );
    const { face, composed } = present(OPS[op], op);
    for (const call of [face, composed]) {
      const values = Array.from(take(evaluate(call, stored)));
      expect(values.length).toBeGreaterThan(0);
      expect(values.every((value) => value === 0)).toBe(true);
    }
  });
});

function part(values: ArrayLike<number> | undefined, begin: number, length: number): number[] {
  return Array.from(values ?? []).slice(begin, begin + length);
}
