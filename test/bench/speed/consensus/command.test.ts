import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ConsensusBenchResult } from "../../../../bench/speed/consensus/run.ts";
import { transpileSources } from "../../../support/transpile.ts";

const TIMEOUT_MS = 60_000;
const run = promisify(execFile);
let program = "";

beforeAll(async () => {
  program = await transpileSources();
});

afterAll(async () => {
  await rm(program, { recursive: true, force: true });
});

async function bench(...flags: readonly string[]): Promise<ConsensusBenchResult> {
  const { stdout } = await run(process.execPath, [
    join(program, "cli.js"),
    ...["bench", "consensus", "--warm-up", "0", "--seconds", "1", "--json"],
    ...flags,
  ]);
  return JSON.parse(stdout) as ConsensusBenchResult;
}

describe("soma bench consensus", () => {
  test(
    "orders what is offered, over TCP with one crashed and logs on disk",
    async () => {
      const result = await bench("--load", "3000", "--transaction-bytes", "100", "--crashed", "1");
      expect(result.offeredTps).toBeGreaterThan(2500);
      expect(result.committedTps).toBeGreaterThan(1000); // on whatever machine this is
      expect(result.latencyMs.p50).toBeGreaterThan(0);
      expect(result.latencyMs.p50).toBeLessThanOrEqual(result.latencyMs.p99);
      expect(result.rssMiB).toBeGreaterThan(30 * result.processes);
      expect(result.agreedCommits).toBeGreaterThan(3);
      expect(result.loggedMBPerSecond).toBeGreaterThan(0);
      expect(result).toMatchObject({ validators: 4, crashed: 1, processes: 3, log: "disk" });
      expect(result.transactions).toMatch(/opaque/);
    },
    TIMEOUT_MS,
  );

  test(
    "orders what is offered in memory, and no faster than the delay that is added",
    async () => {
      const result = await bench("--load", "2000", "--transport", "memory", "--delay-ms", "30");
      expect(result.committedTps).toBeGreaterThan(500);
      expect(result.latencyMs.p50).toBeGreaterThanOrEqual(90); // three of them
      expect(result).toMatchObject({ processes: 1, log: "memory", loggedMBPerSecond: 0 });
    },
    TIMEOUT_MS,
  );

  test.each([
    [["--crashed", "2"], /bear at most 1/],
    [["--transport", "udp"], /tcp, memory/],
    [["--transport", "memory", "--processes", "2"], /one process/],
    [["--load", "many"], /whole number/],
  ])("refuses %j with exit code 2", async (flags, said) => {
    await expect(bench(...flags)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(said) as string,
    });
  });
});
