/** Numbers drawn from a standard normal distribution. */
import type { Rng } from "../../tokenizers/random.ts";

/** Float32Array [count]. Reads two words for every two numbers. Source: Box and Muller, 1958. */
export function gaussians(count: number, rng: Rng): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - rng.unit())); // 1 − unit is never 0
    const angle = 2 * Math.PI * rng.unit();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}
