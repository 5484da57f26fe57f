import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfigFile, resolveConfig } from "../../training/config.ts";
import { findRecipe } from "../../training/recipes.ts";
import { findRun, listRuns, readMetrics, RunFolder, runName } from "../../training/run-folder.ts";
import { seededRng } from "../../tokenizers/random.ts";

let runs: string;
beforeAll(async () => {
  runs = await mkdtemp(join(tmpdir(), "soma-runs-"));
});
afterAll(() => rm(runs, { recursive: true }));

const config = resolveConfig([
  { where: "recipe", values: { recipe: "tiny", ...findRecipe("tiny").config } },
]);

test("the config of a run folder is the config it was made with", async () => {
  const run = await RunFolder.create(join(runs, "a"), { config, environment: { node: "x" } });
  const { values } = await readConfigFile(join(run.path, "config.yaml"));
  expect(resolveConfig([{ where: "file", values }])).toEqual(config);
});

test("a run that has saved something is not replaced, one that died before is", async () => {
  const path = join(runs, "twice");
  await RunFolder.create(path, { config, environment: {} });
  const run = await RunFolder.create(path, { config, environment: {} });
  await mkdir(run.checkpoint("last"), { recursive: true });
  await expect(RunFolder.create(path, { config, environment: {} })).rejects.toMatchObject({
    code: "RUN_EXISTS",
    exitCode: 2,
  });
});

test("a reopened run drops the lines after its step and a torn last one, and keeps the rest as they were", async () => {
  const path = join(runs, "b");
  const run = await RunFolder.create(path, { config, environment: {} });
  for (let step = 1; step <= 5; step++)
    run.log({ kind: "train", step, seconds: step / 10, loss: 1 / step });
  const lines = await readFile(join(path, "metrics.jsonl"), "utf8");
  await appendFile(join(path, "metrics.jsonl"), '{"kind":"train","step":');
  expect((await readMetrics(path)).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  await RunFolder.reopen(path, 3);
  const kept = await readFile(join(path, "metrics.jsonl"), "utf8");
  expect(lines.startsWith(kept)).toBe(true);
  expect((await readMetrics(path)).map(({ step }) => step)).toEqual([1, 2, 3]);
});

test('"last" is the run written to last, or the folder named by --out', async () => {
  const path = join(runs, "c");
  await RunFolder.create(path, { config, environment: {} });
  const later = new Date(Date.now() + 60_000);
  await utimes(join(path, "metrics.jsonl"), later, later);
  expect((await listRuns(runs)).map(({ name }) => name).at(-1)).toBe("c");
  expect(await findRun("last", { out: undefined, runs })).toBe(path);
  expect(await findRun("last", { out: join(runs, "a"), runs })).toBe(join(runs, "a"));
  expect(await findRun(join(runs, "b"), { out: undefined, runs })).toBe(join(runs, "b"));
});

test("where there is no run, that is said", async () => {
  const nowhere = join(runs, "nowhere");
  for (const [what, out] of [
    ["last", undefined],
    ["last", nowhere],
    [nowhere, undefined],
  ] as const) {
    await expect(findRun(what, { out, runs: nowhere })).rejects.toMatchObject({
      code: "RUN_NOT_FOUND",
      exitCode: 3,
    });
  }
  await expect(RunFolder.reopen(nowhere, 0)).rejects.toMatchObject({ code: "RUN_NOT_FOUND" });
  await expect(readdir(nowhere)).rejects.toThrow();
});

test("a run is named by its day and two words", () => {
  const names = new Set<string>();
  for (let seed = 0; seed < 50; seed++) {
    const name = runName(new Date("2026-11-24T23:59:59Z"), seededRng(seed, "name"));
    expect(name).toMatch(/^2026-11-24-[a-z]+-[a-z]+$/);
    names.add(name);
  }
  expect(names.size).toBeGreaterThan(45);
});
