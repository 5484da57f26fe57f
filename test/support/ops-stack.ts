/** One large stack as text, for processes with other threads. */
import { startBackend, tf } from "../../models/backend.ts";
import { linearStack } from "../../models/ops/linear-stack.ts";
import { seededRng } from "../../tokenizers/random.ts";

export async function stackBits(): Promise<string> {
  await startBackend();
  return tf.tidy(() => {
    const rng = seededRng(9, "stack");
    const draw = (rows: number, columns: number) =>
      tf.tensor2d(
        Float32Array.from({ length: rows * columns }, () => rng.unit() - 0.5),
        [rows, columns],
      );
    const layers = [
      { weight: draw(48, 33), activation: "relu" } as const,
      { weight: draw(4 * 33, 65), activation: "gelu" } as const,
      { weight: draw(65, 257) },
      { weight: draw(257, 65), addsSkipped: true },
    ];
    const y = linearStack(draw(4 * 301, 48), layers).dataSync();
    return Buffer.from(y.buffer, y.byteOffset, y.byteLength).toString("base64");
  });
}
