/** `soma train --workers 2`, the program in processes of its own: the curve of one worker, and how it ends. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { readMetrics } from "../../../training/run-folder.ts";
import { readState } from "../../../training/state.ts";
import { transpileSources } from "../../support/transpile.ts";

// Processes that wait for each other take their time where others want the same cores.
vi.setConfig({ testTimeout: 240_000 });

let program: string;
let folder: string;
const children = new Set<ChildProcess>();
beforeAll(async () => {
  program = await transpileSources();
  const model = join("tokenizers", "text", "soma-8192.model");
  await cp(model, join(program, model));
  folder = await mkdtemp(join(tmpdir(), "soma-workers-"));
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(program, { recursive: true, force: true });
  await rm(folder, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly errors: () => string;
  readonly exit: Promise<number | null>;
}

/** A process group of its own, as a terminal's job is. */
function soma(...argv: readonly string[]): Running {
  const child = spawn(process.execPath, [join(program, "cli.js"), ...argv], {
    stdio: ["ignore", "ignore", "pipe"],
    detached: true,
  });
  children.add(child);
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  const exit = once(child, "close").then(([code]) => code as number | null);
  return { child, errors: () => errors, exit };
}

const TINY = ["train", "tiny", "--batch-size", "21", "--set", "logEverySteps=1"];
const PAIRING = [
  ...[
    "--set",
    "encoder.text={vocabularySize: 8192, width: 16, layers: 1, heads: 2, maxTokens: 16}",
  ],
  ...["--set", "objectives.contrastive.weight=0"],
  ...["--set", "objectives.pairing={weight: 1, loss: sigmoid, texts: 2, within: 0.5}"],
  ...["--set", "objectives.differential={weight: 0.5}"],
];

async function trained(name: string, ...flags: readonly string[]): Promise<string> {
  const out = join(folder, name);
  const { exit, errors } = soma(...TINY, "--out", out, "--quiet", ...flags);
  expect(await exit, errors()).toBe(0);
  return out;
}

async function curve(run: string): Promise<readonly number[]> {
  const rows = (await readMetrics(run)).filter(({ kind }) => kind === "train");
  return rows.map(({ loss }) => Number(loss));
}

const weightsOf = (run: string): Promise<Buffer> =>
  readFile(join(run, "checkpoints", "last", "model.safetensors"));

/** Of a loss of 1–5. Sums come out in another order, and Adam divides by small numbers: 20 steps make 1e-6 into this at most. */
const CURVE_TOLERANCE = 1e-4;

test.each([
  ["contrastive", []],
  ["pairing with differential", PAIRING],
])("two workers have the loss curve of one: %s", async (name, flags) => {
  const one = await trained(`${name} 1`, "--steps", "20", ...flags);
  const two = await trained(`${name} 2`, "--steps", "20", ...flags, "--workers", "2");
  const [expected, actual] = [await curve(one), await curve(two)];
  expect(actual).toHaveLength(20);
  expected.forEach((loss, i) => {
    expect(Math.abs(loss - (actual[i] ?? Number.NaN))).toBeLessThan(CURVE_TOLERANCE);
  });
  // It is a curve: what is compared does change.
  expect(expected[0]).not.toBeCloseTo(expected[19] ?? Number.NaN, 1);
});

test("Ctrl-C in a terminal reaches all: the run is saved once, all end, and --resume makes it the unbroken run, byte for byte", async () => {
  const unbroken = join(folder, "contrastive 2");
  const out = join(folder, "broken");
  const running = soma(...TINY, "--out", out, "--steps", "20", "--workers", "2");
  const members = await membersOnceTraining(running, out);
  process.kill(-(running.child.pid ?? 0), "SIGINT");
  expect(await running.exit, running.errors()).toBe(130);
  expect(running.errors()).toContain("error[INTERRUPTED]");
  await expectGone(members);

  const { counters } = await readState(join(out, "checkpoints", "state"));
  expect(counters.step).toBeGreaterThan(1);
  expect(counters.step).toBeLessThan(20);
  const resumed = soma("train", "--resume", out, "--quiet");
  expect(await resumed.exit, resumed.errors()).toBe(0);
  expect((await weightsOf(out)).equals(await weightsOf(unbroken))).toBe(true);
});

test("a worker that is killed ends the run with its name and the cause, and what was trained is saved", async () => {
  const out = join(folder, "killed");
  const running = soma(...TINY, "--out", out, "--seconds", "60", "--workers", "3");
  const members = await membersOnceTraining(running, out);
  expect(members).toHaveLength(2);
  process.kill(members[0] ?? 0, "SIGKILL");
  expect(await running.exit).toBe(1);
  expect(running.errors()).toMatch(/error\[WORKER_LOST\]: worker [23] of 3 was ended by SIGKILL/);
  await expectGone(members);
  expect((await readState(join(out, "checkpoints", "state"))).counters.step).toBeGreaterThan(1);
});

test("more workers than groups in a batch are refused before anything is made", async () => {
  const running = soma(...TINY, "--out", join(folder, "none"), "--workers", "22");
  expect(await running.exit).toBe(2);
  expect(running.errors()).toContain("a batch of 21 groups cannot be shared by 22 workers");
});

/** Process ids of the other workers, once some steps are done. */
async function membersOnceTraining(running: Running, out: string): Promise<readonly number[]> {
  for (let tries = 0; (await curve(out).catch(() => [])).length < 3; tries++) {
    if (tries === 2000 || running.child.exitCode !== null) throw new Error(running.errors());
    await sleep(100);
  }
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid="]);
  const pairs = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  return pairs.flatMap(([pid, parent]) =>
    pid !== undefined && parent === running.child.pid ? [pid] : [],
  );
}

async function expectGone(pids: readonly number[]): Promise<void> {
  expect(pids.length).toBeGreaterThan(0);
  const alive = (): readonly number[] =>
    pids.filter((pid) => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    });
  for (let tries = 0; tries < 100 && alive().length > 0; tries++) await sleep(50);
  expect(alive()).toEqual([]);
}
