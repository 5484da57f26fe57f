import { expect, test } from "vitest";
import { SomaError } from "../../../../base/errors.ts";
import { SILENT } from "../../../../base/progress.ts";
import type {
  CommitteeCost,
  CommitteeRun,
} from "../../../../bench/speed/consensus/committee-cost.ts";
import { measureCommittee } from "../../../../bench/speed/consensus/committee-cost.ts";
import {
  COMMITTEE_SIZES,
  drawConsensusGrowth,
  measureConsensusGrowth,
} from "../../../../bench/speed/consensus/growth.ts";

/** A committee in which a validator pays n^power µs for a committed block, and sends one message to each, itself too. */
function imagined(power: number) {
  return async ({ validators, rounds }: CommitteeRun): Promise<CommitteeCost> => ({
    validators,
    rounds,
    committedBlocks: validators * rounds,
    refsPerBlock: validators,
    cpuMs: (validators * validators * rounds * validators ** power) / 1000,
    messages: validators ** 2 * rounds,
    bytes: 1024 * validators ** 3 * rounds,
    heapMiB: validators ** 2,
    rssMiB: 100,
  });
}
const OPTIONS = { sizes: COMMITTEE_SIZES, rounds: undefined, seed: 1 };

test("exponents are those of one validator and of all together, and the bar is held against the former", async () => {
  const growth = await measureConsensusGrowth(OPTIONS, imagined(0.5), SILENT);
  const { laws, points, isCpuWithinRefs } = growth;
  expect(points.map(({ validators }) => validators)).toEqual([4, 10, 25, 50, 100]);
  expect(points.map(({ rounds }) => rounds)).toEqual([1000, 1000, 160, 40, 10]);
  expect(laws?.each.cpuMicrosPerBlock.exponent).toBeCloseTo(0.5, 3);
  expect(laws?.all.cpuMicrosPerBlock.exponent).toBeCloseTo(1.5, 3);
  expect(laws?.each.cpuMsPerRound.tailExponent).toBeCloseTo(1.5, 3);
  expect(laws?.each.messagesPerRound.exponent).toBeCloseTo(1, 3);
  expect(laws?.all.kibPerRound.exponent).toBeCloseTo(3, 3);
  expect(isCpuWithinRefs).toBe(true);
  const svg = drawConsensusGrowth(growth, "imagined");
  expect(svg).toContain("one validator: validators^0.50");
  expect(svg).toContain("all together: validators^1.50");
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
});

test("CPU for a block that grows faster than its references is told, at large sizes alone too", async () => {
  const fast = await measureConsensusGrowth(OPTIONS, imagined(1.1), SILENT);
  expect(fast.isCpuWithinRefs).toBe(false);
  // As good as level at first, then ever steeper: the law over all sizes hides it, that of the largest does not.
  const microsAt = new Map(
    [4, 10, 25, 50, 100].map((size, i) => [size, i < 3 ? 1000 : 160 * 2.5 ** i]),
  );
  const late = await measureConsensusGrowth(
    OPTIONS,
    async (run) => {
      const { validators, rounds } = run;
      const cpuMs = (validators ** 2 * rounds * (microsAt.get(validators) ?? 0)) / 1000;
      return { ...(await imagined(0)(run)), cpuMs };
    },
    SILENT,
  );
  expect(late.laws?.each.cpuMicrosPerBlock.exponent).toBeLessThan(0.7);
  expect(late.laws?.each.cpuMicrosPerBlock.tailExponent).toBeGreaterThan(1.2);
  expect(late.isCpuWithinRefs).toBe(false);
});

test("a size that fails ends the series with its reason", async () => {
  const growth = await measureConsensusGrowth(
    OPTIONS,
    async (run) => {
      if (run.validators < 25) return imagined(1)(run);
      throw new SomaError({ code: "BENCH_FAILED", kind: "failure", what: "out of memory" });
    },
    SILENT,
  );
  expect(growth.points.length).toBe(2);
  expect(growth.laws?.each.cpuMsPerRound.tailExponent).toBeUndefined();
  expect(growth.failure).toEqual({ validators: 25, reason: "out of memory" });
});

test("an interruption is no failure of a size", async () => {
  const interrupted = new SomaError({ code: "INTERRUPTED", kind: "interrupted", what: "stopped" });
  await expect(
    measureConsensusGrowth(OPTIONS, () => Promise.reject(interrupted), SILENT),
  ).rejects.toBe(interrupted);
});

test("what is counted of a committee is the same at every run but for time and memory", () => {
  const run = { validators: 5, warmUpRounds: 10, rounds: 20, seed: 3 };
  const [first, second] = [measureCommittee(run), measureCommittee(run)];
  const counted = ({ committedBlocks, refsPerBlock, messages, bytes, rounds }: CommitteeCost) => ({
    ...{ committedBlocks, refsPerBlock, messages, bytes, rounds },
  });
  expect(counted(first)).toEqual(counted(second));
  expect(first.committedBlocks).toBe(100);
  expect(first.messages).toBeGreaterThanOrEqual(19 * 20); // 20 a round, within a round
  expect(first.messages).toBeLessThan(25 * 20);
});
