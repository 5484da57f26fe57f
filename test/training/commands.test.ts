import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { parseYaml } from "../../base/yaml.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import { readCheckpoint } from "../../models/checkpoint-folder.ts";
import { EncoderSession } from "../../models/session.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { embedCommand, exportCommand, type EmbedFlags } from "../../training/embed-command.ts";
import { OBJECTIVES as REGISTERED } from "../../training/objectives/registry.ts";
import { listRunsCommand, showRunCommand } from "../../training/runs-command.ts";
import { trainCommand, type TrainFlags } from "../../training/train-command.ts";
import { beforeDrawing, toyContrastive } from "../support/toy-objective.ts";

const OBJECTIVES = { contrastive: toyContrastive };
const TEXT_TOWER =
  "encoder.text={vocabularySize: 8192, width: 16, layers: 1, heads: 2, maxTokens: 16}";

let folder: string;
let run: string;
let stdout = "";
let stderr = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "soma-commands-"));
  run = join(folder, "run");
  const silenced = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  await trainCommand("tiny", { ...FAST, out: run, quiet: true, set: [TEXT_TOWER] }, OBJECTIVES);
  silenced.mockRestore();
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => {
  stdout = "";
  stderr = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

const FAST: TrainFlags = { steps: "4", batchSize: "8" };
const document = (): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;

test("soma train --json prints one document with what the contract names, and nothing else on stdout", async () => {
  const out = join(folder, "json");
  await trainCommand("tiny", { ...FAST, seed: "3", out, json: true }, OBJECTIVES);
  expect(document()).toMatchObject({
    out,
    steps: 4,
    seconds: expect.any(Number) as number,
    backend: expect.stringMatching(/^(native|wasm|cpu)$/) as string,
    recipe: "tiny",
    dataset: "synthetic",
    seed: 3,
    checkpoint: join(out, "checkpoints", "best"),
  });
  expect(stderr).toContain("ln(8) = 2.08");
  const environment = JSON.parse(await readFile(join(out, "env.json"), "utf8")) as object;
  expect(environment).toMatchObject({ node: process.version, dataset: { name: "synthetic" } });
});

test("soma train --print-config prints what it would train, and trains nothing", async () => {
  const out = join(folder, "printed");
  await trainCommand(
    "tiny",
    { seconds: "9", set: ["betas=[0.8, 0.9]"], out, printConfig: true },
    {},
  );
  const printed = parseYaml(stdout, "stdout") as Record<string, unknown>;
  expect(printed).toMatchObject({ recipe: "tiny", seconds: 9, betas: [0.8, 0.9] });
  expect(printed).not.toHaveProperty("steps");
  await expect(readdir(out)).rejects.toThrow();
});

test("a printed config trains the same encoder as the flags that made it", async () => {
  const file = join(folder, "printed.yaml");
  const flags: TrainFlags = { ...FAST, learningRate: "2e-3", seed: "5" };
  await trainCommand("tiny", { ...flags, printConfig: true }, OBJECTIVES);
  await writeFile(file, stdout);
  stdout = "";
  const outs = [join(folder, "by-flags"), join(folder, "by-file")];
  await trainCommand("tiny", { ...flags, out: outs[0] ?? "", quiet: true }, OBJECTIVES);
  await trainCommand(undefined, { config: file, out: outs[1] ?? "", quiet: true }, OBJECTIVES);
  const weights = await Promise.all(
    outs.map((out) => readFile(join(out, "checkpoints", "last", "model.safetensors"))),
  );
  expect(weights[0]?.equals(weights[1] ?? Buffer.of())).toBe(true);
});

test("flags win over the environment, the environment over the file, the file over the recipe", async () => {
  const file = join(folder, "layers.yaml");
  await writeFile(file, "seed: 10\nbatchSize: 10\nlearningRate: 0.01\n");
  vi.stubEnv("SOMA_SEED", "20");
  vi.stubEnv("SOMA_BATCH_SIZE", "20");
  await trainCommand("tiny", { config: file, seed: "30", printConfig: true }, {});
  vi.unstubAllEnvs();
  expect(parseYaml(stdout, "stdout")).toMatchObject({
    seed: 30,
    batchSize: 20,
    learningRate: 0.01,
    steps: 60,
  });
});

test.each([
  ["an unknown recipe", "tinny", {}, { code: "RECIPE_UNKNOWN", exitCode: 3, next: /tiny/ }],
  ["no recipe", undefined, {}, { code: "NO_RECIPE", exitCode: 2, next: /emoji-image/ }],
  [
    "an unknown dataset",
    "tiny",
    { dataset: "emojy" },
    { code: "DATASET_UNKNOWN", exitCode: 3, next: /emoji/ },
  ],
  [
    "an unknown objective",
    "tiny",
    { set: ["objectives.contrastiv.weight=1"] },
    { code: "OBJECTIVE_UNKNOWN", exitCode: 2, next: /contrastive/ },
  ],
  [
    "no objective",
    "tiny",
    { set: ["objectives.contrastive.weight=0"] },
    { code: "NO_OBJECTIVE", exitCode: 2, next: /weight/ },
  ],
  [
    "a seed that is no number",
    "tiny",
    { seed: "one" },
    { code: "BAD_FLAG", exitCode: 2, next: /number/ },
  ],
  [
    "no batch to overfit",
    "tiny",
    { overfitBatches: "0" },
    { code: "BAD_FLAG", exitCode: 2, next: /1, 2, 3/ },
  ],
  ["zero seconds", "tiny", { seconds: "0" }, { code: "BAD_CONFIG", exitCode: 2, next: /./ }],
  [
    "a run that is not there",
    undefined,
    { resume: "nowhere" },
    { code: "RUN_NOT_FOUND", exitCode: 3, next: /./ },
  ],
])("%s is refused, and says what to do", async (_what, recipe, flags, expected) => {
  const { next, ...rest } = expected;
  await expect(
    trainCommand(recipe, { out: join(folder, "refused"), ...flags }, OBJECTIVES),
  ).rejects.toMatchObject({ ...rest, next: expect.stringMatching(next) as string });
  await expect(readdir(join(folder, "refused"))).rejects.toThrow();
});

test("rows that are each alone in their group are refused, naming the way to learn from them", async () => {
  const dataset = join(folder, "alone.jsonl");
  const rows = ["a", "b", "c"].map((id) => ({ id, group: id, text: id, split: "train" }));
  await writeFile(dataset, rows.map((row) => JSON.stringify(row)).join("\n"));
  const set = [TEXT_TOWER, "objectives.contrastive.modality=text"];
  await expect(
    trainCommand("tiny", { dataset, set, out: join(folder, "refused") }, REGISTERED),
  ).rejects.toMatchObject({
    code: "TOO_FEW_GROUPS",
    exitCode: 2,
    next: expect.stringContaining("objectives.contrastive.from=augment") as string,
  });
});

test("a folder that holds a run is not trained over", async () => {
  await expect(trainCommand("tiny", { ...FAST, out: run }, OBJECTIVES)).rejects.toMatchObject({
    code: "RUN_EXISTS",
    exitCode: 2,
  });
});

test("soma train --fast-dev-run goes through everything and leaves no files", async () => {
  const before = (await readdir(tmpdir())).filter((name) => name.startsWith("soma-fast-dev-run"));
  await trainCommand("tiny", { fastDevRun: true, json: true }, OBJECTIVES);
  expect(document()["steps"]).toBe(2);
  const after = (await readdir(tmpdir())).filter((name) => name.startsWith("soma-fast-dev-run"));
  expect(after).toEqual(before);
});

test.each([
  ["SIGINT", "INTERRUPTED", 130],
  ["SIGTERM", "TERMINATED", 143],
] as const)("%s saves the run and ends it; --resume goes on", async (signal, code, exitCode) => {
  const out = join(folder, signal);
  const signalling = beforeDrawing((step) => {
    if (step === 2) process.emit(signal);
  });
  const listeners = process.listenerCount(signal);
  await expect(
    trainCommand("tiny", { ...FAST, out }, { contrastive: signalling }),
  ).rejects.toMatchObject({ code, exitCode, next: expect.stringContaining("--resume") as string });
  expect(process.listenerCount(signal)).toBe(listeners);
  await trainCommand(undefined, { resume: out, json: true }, OBJECTIVES);
  expect(document()["steps"]).toBe(4);
});

test("a resumed run may be made longer, but not turned into another", async () => {
  const out = join(folder, "longer");
  await trainCommand("tiny", { ...FAST, out, quiet: true }, OBJECTIVES);
  await trainCommand(undefined, { resume: "last", out, steps: "6", json: true }, OBJECTIVES);
  expect(document()["steps"]).toBe(6);
  for (const flags of [{ seed: "9" }, { learningRate: "1" }, { config: "other.yaml" }]) {
    await expect(
      trainCommand(undefined, { resume: out, ...flags }, OBJECTIVES),
    ).rejects.toMatchObject({ code: "CONFIG_CHANGED", exitCode: 2 });
  }
  await expect(trainCommand("emoji-image", { resume: out }, OBJECTIVES)).rejects.toMatchObject({
    code: "CONFIG_CHANGED",
  });
});

test("a damaged state is refused by name", async () => {
  const out = join(folder, "damaged");
  await trainCommand("tiny", { ...FAST, out, quiet: true }, OBJECTIVES);
  const path = join(out, "checkpoints", "state", "optimizer.safetensors");
  const bytes = await readFile(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  await writeFile(path, bytes);
  await expect(trainCommand(undefined, { resume: out }, OBJECTIVES)).rejects.toMatchObject({
    code: "STATE_CORRUPT",
    exitCode: 5,
    message: expect.stringContaining("optimizer.safetensors") as string,
  });
});

const embed = (out: string, flags: Partial<EmbedFlags> = {}): Promise<void> =>
  embedCommand(run, {
    dataset: "synthetic",
    split: "test",
    batch: "64",
    out,
    quiet: true,
    ...flags,
  });

interface Line {
  readonly id: string;
  readonly modality: string;
  readonly embedding: readonly number[];
}

const linesOf = async (path: string): Promise<Line[]> =>
  (await readFile(path, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

test("soma embed writes a line per example and modality, with what the session gives for it", async () => {
  const out = join(folder, "a.jsonl");
  await embed(out, { json: true });
  const lines = await linesOf(out);
  const dataset = await makeSynthetic();
  const examples = dataset.examples.filter(({ split }) => split === "test");
  expect(lines.map(({ id, modality }) => `${id} ${modality}`)).toEqual(
    examples.map(({ id, text }) => `${id} ${text === undefined ? "image" : "text"}`),
  );
  expect(document()).toMatchObject({ out, rows: lines.length, dimension: 32, skipped: 0 });
  const session = await EncoderSession.open(run);
  for (const example of [examples[0], examples.find(({ text }) => text !== undefined)]) {
    const { image } = example ?? {};
    const tokens =
      image?.kind === "pixels" ? patchify(image) : session.tokenizeText(example?.text ?? "");
    const [expected] = await session.embedTokens([{ tokens }], { normalize: false });
    const line = lines.find(({ id }) => id === example?.id);
    line?.embedding.forEach((value, i) => {
      expect(value).toBeCloseTo(expected?.[i] ?? Number.NaN, 4);
    });
    expect(line?.embedding.length).toBe(32);
  }
  session.dispose();
});

test("cuts and normalisation are as asked for", async () => {
  const out = join(folder, "cut.jsonl");
  await embed(out, { dimension: "8", normalize: true });
  for (const { embedding } of await linesOf(out)) {
    expect(embedding.length).toBe(8);
    expect(embedding.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(1, 5);
  }
  await expect(embed(out, { dimension: "7" })).rejects.toMatchObject({ code: "BAD_DIMENSION" });
});

test("the four formats hold the same numbers", async () => {
  const path = (extension: string): string => join(folder, `same.${extension}`);
  for (const extension of ["jsonl", "arrow", "parquet", "npy"]) await embed(path(extension));
  const lines = await linesOf(path("jsonl"));
  const values = lines.flatMap(({ embedding }) => embedding).map(Math.fround);

  const npy = await readFile(path("npy"));
  const start = npy.length - 4 * values.length;
  expect(new Float32Array(Uint8Array.from(npy.subarray(start)).buffer)).toEqual(
    Float32Array.from(values),
  );
  const ids = lines.map(({ id, modality }) => ({ id, modality }));
  expect(await linesOf(join(folder, "same.ids.jsonl"))).toEqual(ids);

  const { readArrow } = await import("../../datasets/arrow.ts");
  const { readParquet } = await import("../../datasets/parquet.ts");
  for (const table of [await readArrow(path("arrow")), await readParquet(path("parquet"))]) {
    expect(table.rowCount).toBe(lines.length);
    const names = (await table.readColumn("id")).map((value) =>
      value instanceof Uint8Array ? new TextDecoder().decode(value) : value,
    );
    expect(names).toEqual(lines.map(({ id }) => id));
    const rows = (await table.readColumn("embedding")) as Iterable<number>[];
    expect(rows.flatMap((row) => Array.from(row))).toEqual(values);
  }
});

test("an encoder without a text tower skips texts and says so", async () => {
  const out = join(folder, "pictures-only");
  await trainCommand("tiny", { ...FAST, out, quiet: true }, OBJECTIVES);
  const file = join(folder, "pictures.jsonl");
  const flags: EmbedFlags = { dataset: "synthetic", split: "test", batch: "64", out: file };
  await embedCommand(out, flags);
  const lines = await linesOf(file);
  expect(new Set(lines.map(({ modality }) => modality))).toEqual(new Set(["image"]));
  expect(stderr).toMatch(/inputs left out/);
  const texts = join(folder, "texts.jsonl");
  await writeFile(texts, '{"id":"a","group":"a","text":"one"}\n');
  await expect(
    embedCommand(out, { manifest: texts, batch: "64", out: file }),
  ).rejects.toMatchObject({ code: "NOTHING_TO_EMBED", exitCode: 2 });
});

test("what cannot be embedded is refused before anything is written", async () => {
  const out = join(folder, "never.jsonl");
  await expect(embed(join(folder, "never.csv"))).rejects.toMatchObject({ code: "FORMAT_UNKNOWN" });
  await expect(embed(out, { split: "tset" })).rejects.toMatchObject({ code: "SPLIT_UNKNOWN" });
  await expect(embed(out, { manifest: "both.jsonl" })).rejects.toMatchObject({ code: "BAD_FLAG" });
  await expect(embed(out, { batch: "0" })).rejects.toMatchObject({ code: "BAD_FLAG" });
  const spaces = join(folder, "spaces.jsonl");
  await writeFile(
    spaces,
    '{"id":"a","group":"a","text":"one"}\n{"id":"b","group":"b","text":"  "}\n',
  );
  await expect(
    embedCommand(run, { manifest: spaces, batch: "8", out, quiet: true }),
  ).rejects.toMatchObject({
    code: "BAD_ROW",
    message: expect.stringContaining("spaces.jsonl") as string,
  });
  expect((await readdir(folder)).filter((name) => name.startsWith("never"))).toEqual([]);
});

test("soma export copies the result of a run, and refuses a damaged one or a folder in use", async () => {
  const out = join(folder, "exported");
  await exportCommand(run, { out, format: "safetensors", json: true });
  const files = ["README.md", "config.json", "model.safetensors", "tokenizer.model"];
  expect((await readdir(out)).sort()).toEqual(files);
  const { digest } = await readCheckpoint(run);
  expect(document()).toMatchObject({ out, digest });
  expect((await readCheckpoint(out)).digest).toBe(digest);
  await expect(exportCommand(run, { out, format: "safetensors" })).rejects.toMatchObject({
    code: "OUT_EXISTS",
    exitCode: 2,
  });
  await expect(exportCommand(run, { out: `${out}2`, format: "onnx" })).rejects.toMatchObject({
    code: "FORMAT_UNKNOWN",
  });
  const weights = await readFile(join(out, "model.safetensors"));
  weights[weights.length - 2] = (weights.at(-2) ?? 0) ^ 1;
  await writeFile(join(out, "model.safetensors"), weights);
  await expect(exportCommand(out, { out: `${out}3`, format: "safetensors" })).rejects.toMatchObject(
    {
      code: "CORRUPT_CHECKPOINT",
      exitCode: 5,
    },
  );
});

test("soma runs list and show tell of the runs in a folder", async () => {
  await listRunsCommand({ runs: folder, json: true });
  const { runs } = document() as { runs: { name: string; steps: number; best: number }[] };
  expect(runs.find(({ name }) => name === "run")).toMatchObject({ steps: 4, recipe: "tiny" });
  stdout = "";
  await listRunsCommand({ runs: folder });
  expect(stdout).toMatch(/^run +recipe +seed/);
  stdout = "";
  await showRunCommand("run", { runs: folder, json: true });
  expect(document()).toMatchObject({
    checkpoint: join(run, "checkpoints", "best"),
    steps: 4,
    environment: { node: process.version },
  });
});
