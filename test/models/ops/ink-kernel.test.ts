import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { callKernel, fusedKernels, startBackend, tf } from "../../../models/backend.ts";
import { inkOf, PATCH_BYTES } from "../../../models/stems/ink.ts";
import { seededRng } from "../../../tokenizers/random.ts";

beforeAll(async () => {
  await startBackend();
});

test("the kernel gives the ink that the loop gives, to the last bit", (context) => {
  if (fusedKernels().length === 0) context.skip("our own kernels are not in force");
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(), (count, seed) => {
      const rng = seededRng(seed, "ink");
      const bytes = Uint8Array.from({ length: count * PATCH_BYTES }, () => rng.uniform(256));
      const made = tf.tidy(() => {
        const fours = tf.tensor2d(new Int32Array(bytes.buffer), [count, PATCH_BYTES / 4], "int32");
        return Array.from(callKernel("SomaInk", [fours], 1)[0]?.dataSync() ?? []);
      });
      expect(made).toEqual(Array.from(inkOf(bytes)));
    }),
    { numRuns: 20 },
  );
});
