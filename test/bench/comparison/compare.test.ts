import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { compareRunsCommand, distinctNames } from "../../../bench/comparison/compare.ts";
import { runCurves } from "../../../bench/plots/run-curves.ts";
import { sniffFormat } from "../../../tokenizers/image/format.ts";
import { listRunsCommand } from "../../../training/runs-command.ts";

let folder: string;
let stdout = "";
let stderr = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "soma-compare-"));
  await writeRun("a", 0.001, [3, 2, 1]);
  await writeRun("b", 0.01, [3, 4, 5]);
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => {
  stdout = stderr = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => Boolean((stdout += String(text))));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => Boolean((stderr += String(text))));
});

async function writeRun(
  name: string,
  learningRate: number,
  losses: readonly number[],
): Promise<void> {
  await mkdir(join(folder, name));
  const config = { recipe: "mine", dataset: "synthetic", seed: 1, learningRate };
  await writeFile(join(folder, name, "config.yaml"), JSON.stringify(config));
  const lines = losses.flatMap((loss, i) => [
    { kind: "train", step: i + 1, seconds: (i + 1) / 2, loss },
    { kind: "validation", step: i + 1, seconds: (i + 1) / 2, recall10: 10 * loss },
  ]);
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  await writeFile(join(folder, name, "metrics.jsonl"), text);
}

test("a comparison tells what differs in the configs and how each run ended", async () => {
  await compareRunsCommand(["a", "b"], { runs: folder, x: "step" });
  expect(stdout).toMatch(/differs in +a +b/);
  expect(stdout).toMatch(/learningRate +0\.001 +0\.01/);
  expect(stdout).not.toMatch(/dataset/);
  expect(stdout).toMatch(/loss, last +1\.000 +5\.000/);
  expect(stdout).toMatch(/recall10, best +30\.00 +50\.00/);
});

test("as JSON it holds the same, in the order of the names", async () => {
  await compareRunsCommand(["b", "a"], { runs: folder, x: "step", json: true });
  expect(JSON.parse(stdout)).toMatchObject({
    schemaVersion: 1,
    runs: [
      { name: "b", loss: 5 },
      { name: "a", loss: 1 },
    ],
    differences: { learningRate: [0.01, 0.001] },
    metric: "recall10",
    plot: null,
  });
});

test("--out draws both runs, as SVG and as PNG", async () => {
  for (const name of ["curves.svg", "curves.png"]) {
    await compareRunsCommand(["a", "b"], { runs: folder, x: "seconds", out: join(folder, name) });
    expect(stderr).toContain(name);
  }
  const svg = await readFile(join(folder, "curves.svg"), "utf8");
  expect(svg).toContain(">training loss, running mean<");
  expect(svg).toContain(">validation recall10<");
  expect(svg.match(/<path/g)).toHaveLength(4);
  expect(sniffFormat(await readFile(join(folder, "curves.png")))).toBe("png");
});

test("what cannot be compared is refused before anything is drawn", async () => {
  const flags = { runs: folder, x: "step" };
  await expect(compareRunsCommand(["a", "a"], flags)).rejects.toMatchObject({
    code: "TOO_FEW_RUNS",
  });
  await expect(compareRunsCommand(["a", "c"], flags)).rejects.toMatchObject({
    code: "RUN_NOT_FOUND",
  });
  await expect(compareRunsCommand(["a", "b"], { ...flags, x: "sceonds" })).rejects.toMatchObject({
    next: "did you mean --x seconds?",
  });
  await expect(
    compareRunsCommand(["a", "b"], { ...flags, metric: "recal10" }),
  ).rejects.toMatchObject({ code: "BAD_FLAG", next: "did you mean recall10?" });
  await expect(
    compareRunsCommand(["a", "b"], { ...flags, out: join(folder, "curves.pdf") }),
  ).rejects.toMatchObject({ code: "FORMAT_UNKNOWN" });
});

test("a run whose config is damaged is left out of the list by name, and the others stay", async () => {
  const damaged = join(folder, "damaged");
  await mkdir(damaged);
  await writeFile(join(damaged, "config.yaml"), "a: [1");
  await listRunsCommand({ runs: folder, json: true });
  const { runs } = JSON.parse(stdout) as { runs: { name: string }[] };
  expect(runs.map(({ name }) => name).sort()).toEqual(["a", "b"]);
  expect(stderr).toContain("damaged is left out");
  await rm(damaged, { recursive: true });
});

test("runs of one name are told apart by the folders that they lie in", () => {
  expect(distinctNames(["/x/a", "/x/b"])).toEqual(["a", "b"]);
  expect(distinctNames(["/x/a", "/y/a"])).toEqual(["x/a", "y/a"]);
});

test("runs that logged nothing have no drawing", () => {
  expect(runCurves([{ name: "a", lines: [] }], { x: "step", metric: "mrr" })).toBeUndefined();
});
