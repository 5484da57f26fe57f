/** Products in bfloat16 are sums of products of rounded numbers, nothing else. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Programs } from "../../support/ops-programs.ts";
import type { Bf16Answer, ProductSize } from "../../support/ops-bf16.ts";

/** Against float64 on inputs rounded alike: what is left is the rounding of float32 sums. */
const TOLERANCE = 2e-6;

/** One row, one column, depths around the panels' own (256) and around pairs, sides that no tile divides. */
const SIZES: readonly ProductSize[] = [
  [1, 1, 1],
  [1, 7, 33],
  [15, 1, 17],
  [29, 2, 65],
  [43, 3, 31],
  [14, 16, 32],
  [45, 255, 33],
  [57, 256, 35],
  [61, 257, 37],
  [71, 513, 13],
];

const programs = new Programs();
let answer: Bf16Answer;
beforeAll(async () => {
  answer = await programs.run<Bf16Answer>(
    { module: "test/support/ops-bf16.ts", call: "bf16Products", arguments: [SIZES] },
    {},
  );
});
afterAll(() => programs.remove());

test.for(SIZES.map((size, i) => [size.join("×"), i] as const))("%s", ([, i], context) => {
  if (answer.refused !== undefined) context.skip(answer.refused);
  const gaps = answer.gaps.slice(4 * i, 4 * i + 4);
  expect(gaps).toHaveLength(4);
  for (const gap of gaps) expect(gap).toBeLessThanOrEqual(TOLERANCE);
});

test("a machine without them is told so", () => {
  expect(answer.refused ?? "bf16").toMatch(/bf16/);
});
