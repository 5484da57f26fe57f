import { beforeAll, expect, test } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { startBackend, tf, type Rank } from "../../models/backend.ts";
import { namingTensors } from "../../models/memory-error.ts";
import { gatherRows } from "../../models/ops/gather.ts";

let isNative: boolean;
beforeAll(async () => {
  isNative = (await startBackend()).name === "native";
});

function refusalOf(compute: () => unknown): SomaError {
  try {
    namingTensors(compute);
  } catch (error) {
    if (error instanceof SomaError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test("a tensor too large for memory is named by its shape", (context) => {
  if (!isNative) context.skip("wasm ends the process instead");
  tf.tidy(() => {
    // 4 TB: more than any machine gives.
    const wide = tf.zeros<Rank.R2>([1, 1_000_000]);
    const ids = tf.zeros([1_000_000], "int32");
    const refusal = refusalOf(() => gatherRows(wide, ids));
    expect(refusal.code).toBe("OUT_OF_MEMORY");
    expect(refusal.line()).toMatch(/1000000, ?1000000\]/);
    expect(refusal.line()).toMatch(/batch-size/);
  });
});

test("other errors pass as they are", () => {
  const other = new Error("something else");
  expect(() =>
    namingTensors(() => {
      throw other;
    }),
  ).toThrow(other);
});
