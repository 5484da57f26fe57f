/** Random patch sequences of any grid, for tests of what encoders may and may not see. */
import { seededRng } from "../../tokenizers/random.ts";
import type { PatchTokens } from "../../tokenizers/tokenizer.ts";

export const PATCH_BYTES = 768;

export function randomPatches(columns: number, rows: number, seed: number): PatchTokens {
  const rng = seededRng(seed, "patches");
  const patches = new Uint8Array(columns * rows * PATCH_BYTES);
  new Uint32Array(patches.buffer).forEach((_, i, words) => {
    words[i] = rng.word();
  });
  return {
    kind: "patches",
    modality: "image",
    patches,
    patchBytes: PATCH_BYTES,
    grid: { columns, rows, times: 1 },
  };
}
