/**
 * The same answers whatever the threads: each op in processes with one thread, twice, and with two; and on wasm, where
 * there is one and no kernel of ours.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fileURLToPath } from "node:url";
import { present } from "../../../base/errors.ts";
import { distance, expectedOf, readOpVectors, worst } from "../../support/ops-cases.ts";
import { Programs } from "../../support/ops-programs.ts";
import { OPS } from "../../support/ops-table.ts";
import { fromBase64, type OpAnswers } from "../../support/ops-threads.ts";

/**
 * Between one thread and two, as a share of the largest number. Our kernels promise none at all: what a thread computes
 * does not depend on how many there are. TensorFlow's own ops cut their sums by threads.
 */
const TOLERANCE = { fused: 0, composed: 2e-6 };

const programs = new Programs();
const vectors = fileURLToPath(new URL("../../vectors/ops.json", import.meta.url));
const answers = (env: Readonly<Record<string, string>>, large: boolean): Promise<OpAnswers> =>
  programs.run<OpAnswers>(
    { module: "test/support/ops-threads.ts", call: "answerOps", arguments: [vectors, large] },
    env,
  );
const threads = (count: number): Readonly<Record<string, string>> => ({
  OMP_NUM_THREADS: `${count}`,
  TF_NUM_INTRAOP_THREADS: `${count}`,
});

let one: OpAnswers;
let again: OpAnswers;
let two: OpAnswers;
let wasm: OpAnswers;
beforeAll(async () => {
  one = await answers(threads(1), true);
  again = await answers(threads(1), true);
  two = await answers(threads(2), true);
  wasm = await answers({ SOMA_BACKEND: "wasm" }, false);
});
afterAll(() => programs.remove());

test("each process ran what it was asked to", () => {
  if (one.backend === "native") expect([one.threads, two.threads]).toEqual([1, 2]);
  expect([wasm.backend, wasm.fused]).toEqual(["wasm", []]);
  expect(Object.keys(one.large).sort()).toEqual([...Object.keys(OPS), "AdamW"].sort());
});

test("with one thread every bit is the same from run to run", () => {
  expect(again.stored).toEqual(one.stored);
  expect(again.large).toEqual(one.large);
});

describe.each([...Object.keys(OPS), "AdamW"])("%s", (op) => {
  test("gives with two threads what it gives with one", () => {
    const tolerance = one.fused.length > 0 ? TOLERANCE.fused : TOLERANCE.composed;
    const first = present(one.large[op], op);
    const second = present(two.large[op], op);
    const pairs = [
      ["the output", first.output, second.output] as const,
      ...Object.entries(first.gradients).map(
        ([name, text]) => [name, text, second.gradients[name] ?? ""] as const,
      ),
    ];
    for (const [name, a, b] of pairs) {
      const expected = fromBase64(a);
      expect(expected.length).toBeGreaterThan(0);
      expect(distance(fromBase64(b), expected, 0.1), name).toBeLessThanOrEqual(tolerance);
    }
  });
});

describe("on wasm", () => {
  test.each(readOpVectors().cases.map((stored, i) => [stored.op, stored.name, i, stored] as const))(
    "%s: %s",
    (op, _name, i, stored) => {
      const { tolerance } = present(OPS[op], op);
      const { gap, where } = worst(
        stored,
        present(wasm.stored[i], "an answer"),
        expectedOf(stored),
      );
      expect(gap, where).toBeLessThanOrEqual(tolerance);
    },
  );
});
