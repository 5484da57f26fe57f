import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ConsensusGrowth } from "../../../../bench/speed/consensus/growth.ts";
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

function commandLine(...flags: readonly string[]): readonly string[] {
  return [join(program, "cli.js"), "bench", "consensus", ...flags];
}

async function bench(...flags: readonly string[]): Promise<ConsensusBenchResult> {
  const { stdout } = await run(
    process.execPath,
    commandLine("--warm-up", "0", "--seconds", "1", "--json", ...flags),
  );
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
      // The log and the highest-signed file, each time a block is made.
      expect(result.syncsPerSecond).toBeGreaterThan(1.5 * result.roundsPerSecond);
      expect(result.syncMs?.mean).toBeGreaterThan(0);
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
      expect(result).toMatchObject({ syncsPerSecond: 0, syncMs: null });
    },
    TIMEOUT_MS,
  );

  test(
    "far beyond what it can order it goes on ordering, refuses the rest, and counts what waits",
    async () => {
      // 256 KiB each, one to a block: more than any machine orders, and 64 MiB of them fill a queue at once.
      const result = await bench(
        ...["--transport", "memory", "--validators", "1", "--log", "memory"],
        ...["--load", "20000", "--transaction-bytes", "262144"],
      );
      expect(result.committedTps).toBeGreaterThan(0);
      expect(result.refusedTps).toBeGreaterThan(result.offeredTps / 2);
      expect(result.waitingAtEnd).toBeGreaterThan(100);
      expect(result.waitingAtEnd).toBeLessThan(500); // a queue and what is not ordered yet
      expect(result.rssMiB).toBeLessThan(1500);
    },
    TIMEOUT_MS,
  );

  test.each([
    [["--crashed", "2"], /bear at most 1/],
    [["--transport", "udp"], /tcp, memory/],
    [["--transport", "memory", "--processes", "2"], /one process/],
    [["--processes", "5"], /4 validators run/],
    [["--load", "many"], /whole number/],
    [["--transaction-bytes", "0"], /above 0/],
    [["--transaction-bytes", "262145"], /at most 262144/],
    [["--validators", "101"], /at most 100/],
    [["--round-delay-ms", "0"], /above 0/],
    [["--rounds", "5"], /goes with --growth/],
    [["--growth", "--committees", "10,4"], /ascending/],
  ])("refuses %j with exit code 2", async (flags, said) => {
    await expect(bench(...flags)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(said) as string,
    });
  });
});

describe("a run that goes wrong", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "soma-bench-test-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** A run that would last a minute, once its validators have logs. */
  async function started(): Promise<{ parent: ChildProcess; hosts: readonly number[] }> {
    const flags = ["--log-dir", folder, "--load", "500", "--seconds", "60", "--validators", "2"];
    const parent = spawn(process.execPath, commandLine(...flags), {
      stdio: ["ignore", "ignore", "pipe"],
    });
    for (;;) {
      const [logs] = await readdir(folder);
      const hosts = await childrenOf(parent.pid ?? 0);
      if (logs !== undefined && (await readdir(join(folder, logs))).length === 2) {
        return { parent, hosts };
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function ended(
    parent: ChildProcess,
  ): Promise<{ readonly code: number | null; readonly said: string }> {
    let said = "";
    parent.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const code = await new Promise<number | null>((resolve) => {
      parent.on("close", resolve);
    });
    return { code, said };
  }

  test.skipIf(process.platform !== "linux")(
    "names the validator whose process has died, at once, and leaves nothing behind",
    async () => {
      const { parent, hosts } = await started();
      process.kill(hosts[1] ?? Number.NaN, "SIGKILL");
      const { code, said } = await ended(parent);
      expect(said).toMatch(/BENCH_FAILED.*process of validator [01] has ended with SIGKILL/);
      expect(code).toBe(1);
      expect(await readdir(folder)).toEqual([]);
      await gone(hosts);
    },
    TIMEOUT_MS,
  );

  test.skipIf(process.platform !== "linux").each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)(
    "%s ends it with exit code %i, its processes too, and removes the logs",
    async (signal, exitCode) => {
      const { parent, hosts } = await started();
      parent.kill(signal);
      const { code, said } = await ended(parent);
      expect(said).toMatch(/the measurement was (interrupted|terminated)/);
      expect(code).toBe(exitCode);
      expect(await readdir(folder)).toEqual([]);
      await gone(hosts);
    },
    TIMEOUT_MS,
  );

  test.skipIf(process.platform === "win32")(
    "a disk that takes no more ends it at once: which validator, which file, and why",
    async () => {
      const flags = ["--log-dir", folder, "--load", "20000", "--seconds", "60", "-q"];
      const quoted = [process.execPath, ...commandLine(...flags)].map((word) => `'${word}'`);
      const limited = `ulimit -f 4000 && exec ${quoted.join(" ")}`; // blocks of 512 bytes a file
      await expect(run("sh", ["-c", limited])).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /WRITE_FAILED.*validator \d: cannot write .*consensus\.log \(EFBIG\)/,
        ) as string,
      });
      expect(await readdir(folder)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test("says where it cannot write", async () => {
    const missing = join(folder, "missing");
    await expect(bench("--log-dir", missing)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/WRITE_FAILED.*missing \(ENOENT\)/) as string,
    });
    const file = join(folder, "file");
    await writeFile(file, "");
    await expect(bench("--log-dir", file)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/WRITE_FAILED.*file \(ENOTDIR\)/) as string,
    });
  });
});

describe("soma bench consensus --growth", () => {
  test(
    "measures each committee and fits what one validator and all together pay",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "soma-growth-test-"));
      const { stdout } = await run(
        process.execPath,
        commandLine(
          ...["--growth", "--committees", "4,7,12", "--rounds", "20", "--out", folder, "--json"],
        ),
      );
      const growth = JSON.parse(stdout) as ConsensusGrowth;
      expect(growth.points.map(({ validators }) => validators)).toEqual([4, 7, 12]);
      for (const { validators, each, all, committedBlocks, rounds, ...rest } of growth.points) {
        expect(committedBlocks).toBe(validators * rounds); // without faults every block is ordered
        expect(rest.refsPerBlock).toBeGreaterThan(validators - 0.5);
        expect(each.messagesPerRound).toBeCloseTo(validators - 1, 0); // a block to each peer, and little else
        expect(all.cpuMsPerRound / each.cpuMsPerRound).toBeCloseTo(validators, 1);
        expect(each.cpuMicrosPerBlock).toBeGreaterThan(10);
      }
      expect(growth.laws?.each.messagesPerRound.exponent).toBeCloseTo(1.2, 0); // n − 1
      expect(growth.laws?.all.messagesPerRound.exponent).toBeCloseTo(2.2, 0);
      const files = (await readdir(folder)).sort();
      expect(files).toEqual(["json", "png", "svg"].map((ending) => `consensus-growth.${ending}`));
      const svg = await readFile(join(folder, "consensus-growth.svg"), "utf8");
      expect(svg).toMatch(/one validator: validators\^/);
      await rm(folder, { recursive: true });
    },
    TIMEOUT_MS,
  );
});

/** Process ids. */
async function childrenOf(parent: number): Promise<readonly number[]> {
  const listed = await readFile(`/proc/${parent}/task/${parent}/children`, "utf8").catch(() => "");
  return listed
    .split(" ")
    .filter((id) => id !== "")
    .map(Number);
}

/** Resolves once none of the processes runs any more; a process that stays fails the test by its time limit. */
async function gone(processes: readonly number[]): Promise<void> {
  expect(processes.length).toBe(2);
  for (const id of processes) {
    while (isRunning(id)) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isRunning(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch {
    return false;
  }
}
