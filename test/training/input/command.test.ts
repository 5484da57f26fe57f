/** Whole runs of the compiled program whose batches are drawn by threads. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readMetrics } from "../../../training/run-folder.ts";
import { readState } from "../../../training/state.ts";
import { transpileSources } from "../../support/transpile.ts";

let program: string;
let folder: string;
beforeAll(async () => {
  program = await transpileSources();
  folder = await mkdtemp(join(tmpdir(), "soma-input-"));
});
afterAll(async () => {
  await rm(program, { recursive: true, force: true });
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `soma train` with a few steps of the toy recipe. @param after  called once the run says what it begins with */
async function trainTiny(
  flags: readonly string[],
  after?: (kill: (signal: NodeJS.Signals) => void) => void,
): Promise<Ended> {
  const child = spawn(process.execPath, [join(program, "cli.js"), "train", ...flags, "--json"]);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => {
    if (/^run /m.test(data.toString())) after?.((signal) => child.kill(signal));
    stderr += data.toString();
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** Many more than are drawn ahead: a thread that is to die has its time to, however busy the machine is. */
const STEPS = 24;
const TINY = [
  "tiny",
  "--steps",
  String(STEPS),
  "--batch-size",
  "8",
  "--set",
  "validation.groups=0",
];
const workers = (count: number): readonly string[] => ["--set", `inputWorkers=${count}`];
const weightsOf = (run: string): Promise<Buffer> =>
  readFile(join(folder, run, "checkpoints/state/optimizer.safetensors"));

test("a run is the same to the byte however many threads draw for it, and says how long it waited for them", async () => {
  const runs = ["own", "shared"].map((name, i) =>
    trainTiny([...TINY, ...workers(2 * i), "--out", join(folder, name)]),
  );
  for (const { code, stdout, stderr } of await Promise.all(runs)) {
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/24 steps in .* s, \d+ % waiting for data/);
    const { inputWaitShare } = JSON.parse(stdout) as { inputWaitShare: number };
    expect(inputWaitShare).toBeGreaterThan(0);
    expect(inputWaitShare).toBeLessThan(1);
  }
  expect((await weightsOf("shared")).equals(await weightsOf("own"))).toBe(true);
  const logged = (await readMetrics(join(folder, "shared"))).filter(({ kind }) => kind === "train");
  expect(logged.length).toBeGreaterThan(0);
  for (const line of logged) expect(line["inputWaitShare"]).toBeGreaterThanOrEqual(0);
});

test("a thread that dies ends the run; what was trained is saved, and goes on to the same byte", async () => {
  const entry = join(program, "training/input/worker.js");
  await rename(entry, join(program, "training/input/sound-worker.js"));
  // Dies when it is asked for the batch of step 4; it knows of that while others are still to be drawn.
  await writeFile(
    entry,
    `import { parentPort } from "node:worker_threads";
     import "./sound-worker.js";
     parentPort.on("message", ({ step }) => { if (step === 4) setTimeout(() => process.exit(7)); });`,
  );
  const out = join(folder, "lost");
  const { code, stderr } = await trainTiny([...TINY, ...workers(1), "--out", out]).finally(() =>
    rename(join(program, "training/input/sound-worker.js"), entry),
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/error\[INPUT_WORKER_LOST\]: a thread .* ended with code 7; .*--resume/);
  const { step } = (await readState(join(out, "checkpoints/state"))).counters;
  expect(step).toBeGreaterThan(0);
  expect(step).toBeLessThan(STEPS);

  const resumed = await trainTiny(["--resume", out]);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect((await weightsOf("lost")).equals(await weightsOf("own"))).toBe(true);
});

test("a signal ends a run and its threads soon, with its state saved", async () => {
  const out = join(folder, "stopped");
  let signalledMs = Number.NaN;
  const { code, stderr } = await trainTiny(
    [...TINY, "--steps", "100000", ...workers(2), "--out", out],
    (kill) => {
      setTimeout(() => {
        signalledMs = performance.now();
        kill("SIGTERM");
      }, 1000);
    },
  );
  expect(code, stderr).toBe(143);
  expect(performance.now() - signalledMs).toBeLessThan(5000);
  expect(stderr).toContain("error[TERMINATED]");
  expect((await readState(join(out, "checkpoints/state"))).counters.step).toBeGreaterThan(0);
});
