import { expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import { SILENT } from "../../../base/progress.ts";
import { drawGrowth, measureGrowth, SIZES, type StepFigures } from "../../../bench/speed/growth.ts";
import { runPairs } from "../../../bench/speed/paired.ts";
import type { StepSettings } from "../../../bench/speed/pytorch.ts";

const BASE: StepSettings = {
  ...{ width: 192, layers: 6, heads: 3, tokens: 64, batch: 8, steps: 7, warmup: 2, seed: 1 },
  precision: "float32",
  threads: 2,
};

/** A machine whose step takes tokens^1.5 · width² · batch, and has no memory for more than 512 tokens. */
async function imagined({ tokens, width, batch }: StepSettings): Promise<StepFigures> {
  if (tokens > 512) throw new SomaError({ code: "CHILD_FAILED", kind: "failure", what: "killed" });
  const stepMs = 1e-6 * tokens ** 1.5 * width ** 2 * batch;
  return { engine: "imagined", stepMs, forwardMs: stepMs / 3, peakRssMiB: 100 };
}

test("each axis grows alone, its exponent is found, and a size that fails ends the curve with its reason", async () => {
  const seen: StepSettings[] = [];
  const axes = await measureGrowth(
    BASE,
    {
      ours: (settings) => {
        seen.push(settings);
        return imagined(settings);
      },
      peer: async (settings) => ({ ...(await imagined({ ...settings, tokens: 64 })) }),
    },
    SILENT,
  );
  expect(axes.map(({ axis }) => axis)).toEqual(["tokens", "width", "batch"]);
  expect(axes.map(({ ours }) => ours.fit?.exponent.toFixed(6))).toEqual([
    "1.500000",
    "2.000000",
    "1.000000",
  ]);
  expect(axes[0]?.peer?.fit?.exponent).toBeCloseTo(0);
  expect(axes[0]?.ours.points.map(({ size }) => size)).toEqual(SIZES.tokens.slice(0, -1));
  expect(axes[0]?.ours.failure).toEqual({ size: 1024, reason: "killed" });
  expect(axes[0]?.held).toEqual({ width: 192, batch: 8, layers: 6 });
  expect(seen.map(({ tokens, width, heads, batch }) => [tokens, width, heads, batch])).toEqual([
    ...SIZES.tokens.map((tokens) => [tokens, 192, 3, 8]),
    ...SIZES.width.map((width) => [64, width, width / 64, 8]),
    ...SIZES.batch.map((batch) => [64, 192, 3, batch]),
  ]);

  const svg = drawGrowth(axes, "an imagined machine");
  expect(svg).toContain("tokens^1.50");
  expect(svg).toContain("PyTorch: width^2.00");
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
});

test("sizes stay in the ranges that the curves are about", () => {
  expect([SIZES.tokens[0], SIZES.tokens.at(-1)]).toEqual([16, 1024]);
  expect([SIZES.width[0], SIZES.width.at(-1)]).toEqual([64, 768]);
  expect([SIZES.batch[0], SIZES.batch.at(-1)]).toEqual([1, 256]);
});

test("ours and the peer take turns, never at the same time", async () => {
  const order: string[] = [];
  const side = (name: string) => async () => {
    order.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve, 1));
    order.push(`${name} ends`);
    return order.length;
  };
  const { ours, peer } = await runPairs(2, { ours: side("ours"), peer: side("peer") }, SILENT);
  expect(order).toEqual(
    ["ours", "peer", "ours", "peer"].flatMap((name) => [`${name} begins`, `${name} ends`]),
  );
  expect([ours, peer]).toEqual([
    [2, 6],
    [4, 8],
  ]);
});
