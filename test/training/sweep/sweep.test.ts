import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseYaml } from "../../../base/yaml.ts";
import { parseSweep, type SweepConfig } from "../../../training/sweep/space.ts";
import { runSweep } from "../../../training/sweep/sweep.ts";
import { parseTrial, runTrial, type Trainer } from "../../../training/sweep/trial.ts";

let out: string;
beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), "soma-sweep-"));
});
afterEach(() => rm(out, { recursive: true }));

function sweep(over: Readonly<Record<string, unknown>> = {}): SweepConfig {
  return parseSweep(
    {
      recipe: "tiny",
      trials: 4,
      factor: 2,
      budget: { unit: "steps", min: 5, max: 20 },
      space: { batchSize: { int: [2, 1000] } },
      ...over,
    },
    "test",
  );
}

/** What a training leaves behind, in no time: a score that grows with the batch, and a second a step. */
class ToyTraining {
  readonly calls: string[][] = [];
  /** Batch sizes at which it fails. */
  fails: (batchSize: number) => boolean = () => false;
  /** So many calls end well, the next is killed. */
  killsAfter = Number.POSITIVE_INFINITY;
  metric = "mrr";

  readonly train: Trainer = async (args) => {
    this.calls.push([...args]);
    const resumed = args[1] === "--resume";
    const run = args[resumed ? 2 : 4] ?? "";
    const config = resumed ? join(run, "config.yaml") : (args[2] ?? "");
    const text = await readFile(config, "utf8");
    const { batchSize, steps } = parseYaml(text, config) as { batchSize: number; steps: number };
    await mkdir(join(run, "checkpoints", "state"), { recursive: true });
    await writeFile(join(run, "config.yaml"), text);
    if (this.calls.length > this.killsAfter) throw new Error("killed");
    if (this.fails(batchSize)) return { exitCode: 1, lastWords: "error[NOT_FINITE]: gone" };
    const line = {
      kind: "validation",
      step: steps,
      seconds: steps,
      [this.metric]: batchSize + steps,
    };
    await writeFile(join(run, "metrics.jsonl"), `${JSON.stringify(line)}\n`);
    return { exitCode: 0, lastWords: "" };
  };
}

describe("a search", () => {
  test("runs all trials short, the better half longer, and ends with the best", async () => {
    const toy = new ToyTraining();
    const results = await runSweep(sweep(), { out, train: toy.train });
    expect(results.runs.map(({ budget }) => budget)).toEqual([5, 5, 5, 5, 10, 10, 20]);
    const sizes = results.trials.map(({ batchSize }) => Number(batchSize));
    const top = [...sizes].sort((a, b) => b - a);
    expect(results.best?.hyperparameters).toEqual({ batchSize: top[0] });
    expect(results.best).toMatchObject({ budget: 20, value: (top[0] ?? 0) + 20 });
    expect(results.status).toBe("done");
    expect(results.spentSeconds).toBe(4 * 5 + 2 * 10 + 20);
    expect(JSON.parse(await readFile(join(out, "results.json"), "utf8"))).toEqual(results);
    expect(await readdir(out)).not.toContain("sweep.pid");
  });

  test("that is killed after any run goes on by the same command, trains nothing twice and finds the same", async () => {
    const whole = await runSweep(sweep(), {
      out: join(out, "whole"),
      train: new ToyTraining().train,
    });
    for (let killsAfter = 0; killsAfter < whole.runs.length; killsAfter++) {
      const folder = join(out, `killed-${killsAfter}`);
      const toy = new ToyTraining();
      toy.killsAfter = killsAfter;
      await expect(runSweep(sweep(), { out: folder, train: toy.train })).rejects.toThrow("killed");
      toy.killsAfter = Number.POSITIVE_INFINITY;
      const again = await runSweep(sweep(), { out: folder, train: toy.train });
      // One call more than runs: the one that was killed, which is resumed.
      expect(toy.calls).toHaveLength(whole.runs.length + 1);
      expect(toy.calls[killsAfter + 1]?.[1]).toBe("--resume");
      const told = ({ trial, budget, value }: (typeof again.runs)[number]): unknown => [
        trial,
        budget,
        value,
      ];
      expect(again.runs.map(told)).toEqual(whole.runs.map(told));
    }
  });

  test("goes on without the trials that fail, and is refused if all do", async () => {
    const toy = new ToyTraining();
    const sizes = (await runSweep(sweep(), { out: join(out, "a"), train: toy.train })).trials.map(
      ({ batchSize }) => Number(batchSize),
    );
    toy.fails = (size) => size === Math.max(...sizes);
    const results = await runSweep(sweep(), { out: join(out, "b"), train: toy.train });
    expect(results.best?.hyperparameters["batchSize"]).not.toBe(Math.max(...sizes));
    expect(results.runs.filter(({ status }) => status === "failed")).toHaveLength(1);
    toy.fails = () => true;
    await expect(
      runSweep(sweep(), { out: join(out, "c"), train: toy.train }),
    ).rejects.toMatchObject({
      code: "SWEEP_FAILED",
      message: expect.stringContaining("NOT_FINITE") as string,
    });
  });

  test("starts no run once its seconds are spent, and says so", async () => {
    const budget = { unit: "steps", min: 5, max: 20, totalSeconds: 12 };
    const results = await runSweep(sweep({ budget }), { out, train: new ToyTraining().train });
    expect(results.runs).toHaveLength(3);
    expect(results.status).toBe("out of budget");
    expect(results.best?.budget).toBe(5);
  });

  test("of a loss keeps the lower", async () => {
    const toy = new ToyTraining();
    toy.metric = "maeLoss";
    const results = await runSweep(sweep({ objective: "maeLoss" }), { out, train: toy.train });
    const sizes = results.trials.map(({ batchSize }) => Number(batchSize));
    expect(results.best?.hyperparameters["batchSize"]).toBe(Math.min(...sizes));
  });

  test("in a folder of another sweep, or one that another process searches, is refused", async () => {
    const toy = new ToyTraining();
    await runSweep(sweep(), { out, train: toy.train });
    await expect(runSweep(sweep({ seed: 5 }), { out, train: toy.train })).rejects.toMatchObject({
      code: "SWEEP_CHANGED",
      message: expect.stringContaining("seed differ") as string,
    });
    const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", "sweep"]);
    try {
      await once(other, "spawn");
      await writeFile(join(out, "sweep.pid"), String(other.pid));
      await expect(runSweep(sweep(), { out, train: toy.train })).rejects.toMatchObject({
        code: "SWEEP_RUNNING",
      });
    } finally {
      other.kill("SIGKILL");
      await once(other, "close");
    }
    // It is gone: what it left behind holds nobody back.
    expect((await runSweep(sweep(), { out, train: toy.train })).status).toBe("done");
  });

  test("by a figure that the validation lacks names the nearest", async () => {
    const toy = new ToyTraining();
    const search = runSweep(sweep({ objective: "mr" }), { out, train: toy.train });
    await expect(search).rejects.toMatchObject({
      code: "OBJECTIVE_MISSING",
      next: "did you mean mrr?",
    });
    expect(toy.calls).toHaveLength(1);
  });
});

describe("one trial", () => {
  const spec = (over: Readonly<Record<string, unknown>> = {}): ReturnType<typeof parseTrial> =>
    parseTrial({ recipe: "tiny", budget: { steps: 3 }, out: join(out, "run"), ...over }, "stdin");

  test("asked for again is not trained again, and one with other values is trained anew", async () => {
    const toy = new ToyTraining();
    const first = await runTrial(spec({ hyperparameters: { batchSize: 9 } }), { train: toy.train });
    expect(first).toMatchObject({ status: "done", value: 12, hyperparameters: { batchSize: 9 } });
    expect(
      await runTrial(spec({ hyperparameters: { batchSize: 9 } }), { train: toy.train }),
    ).toEqual(first);
    expect(toy.calls).toHaveLength(1);
    const other = await runTrial(spec({ hyperparameters: { batchSize: 8 } }), { train: toy.train });
    expect(other.value).toBe(11);
    expect(toy.calls[1]?.[1]).toBe("--config");
  });

  test("that is interrupted has no result", async () => {
    const train: Trainer = () => Promise.resolve({ exitCode: 143, lastWords: "" });
    await expect(runTrial(spec(), { train })).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect((await readdir(out)).filter((name) => name.endsWith("result.json"))).toEqual([]);
  });

  test("that no training would take is refused by name", () => {
    expect(() => spec({ hyperparameters: { "encoder.dimention": 3 } })).toThrow(
      expect.objectContaining({ next: 'did you mean "dimension"?' }) as Error,
    );
    expect(() => spec({ bugdet: 1 })).toThrow(
      expect.objectContaining({ next: 'did you mean "budget"?' }) as Error,
    );
  });
});
