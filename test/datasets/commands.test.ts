import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeImage } from "../../tokenizers/image/decode.ts";
import { transpileSources } from "../support/transpile.ts";
import { plainPng, temporaryFolder } from "./support.ts";

/** The commands compiled and in a process of their own, so that pictures are decoded by worker threads. */
let program: string;
let cache: string;
let folder: string;
beforeAll(async () => {
  program = await transpileSources();
  cache = await temporaryFolder();
  folder = await temporaryFolder();
  const commands = pathToFileURL(join(program, "datasets", "commands.js")).href;
  const errors = pathToFileURL(join(program, "base", "errors.js")).href;
  await writeFile(
    join(program, "soma.mjs"),
    `import { Command } from "commander";
     import { registerDataCommands } from ${JSON.stringify(commands)};
     import { SomaError } from ${JSON.stringify(errors)};
     const program = new Command("soma");
     registerDataCommands(program);
     await program.parseAsync().catch((error) => {
       if (!(error instanceof SomaError)) throw error;
       console.error(error.line());
       process.exitCode = error.exitCode;
     });`,
  );
  for (const [label, shades] of [
    ["dark", [10, 20, 30]],
    ["bright", [200, 210, 220]],
  ] as const) {
    await mkdir(join(folder, label));
    for (const shade of shades) {
      await writeFile(join(folder, label, `${shade}.png`), await plainPng(shade));
    }
  }
});
afterAll(() => rm(program, { recursive: true, force: true }));

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

async function soma(...words: readonly string[]): Promise<Outcome> {
  const run = promisify(execFile)(process.execPath, [join(program, "soma.mjs"), ...words], {
    env: { ...process.env, SOMA_CACHE: cache },
    maxBuffer: 1 << 26,
  });
  return run.then(
    ({ stdout, stderr }) => ({ stdout, stderr, exitCode: 0 }),
    (error: unknown) => {
      const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
      return { stdout, stderr, exitCode: code };
    },
  );
}

test("data list names every registered dataset", async () => {
  const { stdout } = await soma("data", "list", "--json");
  const { datasets } = JSON.parse(stdout) as { datasets: { name: string; summary: string }[] };
  expect(datasets.map(({ name }) => name)).toEqual([
    "emoji",
    "mnist",
    "wordnet",
    "brown",
    "synthetic",
  ]);
});

test("data prepare decodes in worker threads, once", async () => {
  const first = await soma("data", "prepare", folder, "--json");
  expect(first.stderr).toContain("decoding");
  expect(JSON.parse(first.stdout)).toMatchObject({ pictures: 6, decoded: 6, skipped: [] });
  const second = await soma("data", "prepare", folder, "--json");
  expect(JSON.parse(second.stdout)).toMatchObject({ pictures: 6, decoded: 0, skipped: [] });
});

test("data prepare refuses a corrupt picture by name, exit code 5, unless told to skip it", async () => {
  const mixed = await temporaryFolder();
  await writeFile(join(mixed, "good.png"), await plainPng(1));
  await writeFile(join(mixed, "bad.png"), (await plainPng(2)).subarray(0, 60));
  const refused = await soma("data", "prepare", mixed);
  expect(refused.exitCode).toBe(5);
  expect(refused.stderr).toMatch(/error\[IMAGES_CORRUPT\]: 1 picture cannot be decoded.*bad\.png/);
  const skipped = await soma("data", "prepare", mixed, "--skip-corrupt", "--json");
  expect(JSON.parse(skipped.stdout)).toMatchObject({ pictures: 1, skipped: [{ id: "bad.png" }] });
});

test("data inspect counts, measures, draws a contact sheet and finds what leaks", async () => {
  const png = Buffer.from(await plainPng(128)).toString("base64");
  const image = `data:image/png;base64,${png}`;
  const rows = [
    { id: "a", group: "one", split: "train", image, label: "x", variant: "photo" },
    { id: "b", group: "two", split: "test", image, label: "y", variant: "photo" },
    { id: "c", group: "one", split: "train", text: "häuser", label: "x", variant: "name" },
    { id: "d", group: "three", split: "validation", text: "😀", label: "x", variant: "name" },
  ];
  const manifest = join(folder, "m.jsonl");
  await writeFile(manifest, rows.map((row) => JSON.stringify(row)).join("\n"));
  const sheet = join(folder, "sheet.png");
  const { stdout } = await soma("data", "inspect", manifest, "--json", "--out", sheet);
  expect(JSON.parse(stdout)).toMatchObject({
    splits: {
      train: { examples: 2, groups: 1, texts: 1, pictures: 1 },
      validation: { examples: 1, groups: 1, texts: 1, pictures: 0 },
      test: { examples: 1, groups: 1, texts: 0, pictures: 1 },
    },
    labels: { x: 3, y: 1 },
    variants: { photo: 2, name: 2 },
    pictures: { count: 2, distinct: 1, width: { min: 64, median: 64, max: 64 }, corrupt: [] },
    texts: { count: 2, distinct: 2, length: { min: 1, median: 6, max: 6 } },
    pictureLeaks: { count: 1, listed: [{ ids: ["a", "b"], splits: ["train", "test"] }] },
    textLeakCount: 0,
    contactSheet: sheet,
  });
  // Two rows of one cell each (a class a row): 6 + 2 · (64 + 6) high, 6 + 64 + 6 wide.
  const decoded = await decodeImage(await readFile(sheet), { maxPatches: 196 });
  expect([decoded.sourceWidth, decoded.sourceHeight]).toEqual([76, 146]);

  const people = await soma("data", "inspect", manifest);
  expect(people.stderr).toContain("warning: one picture in train and test: a, b");
  expect(people.stdout).toMatch(/^train +2 +1 +1 +1$/m);
});

test("data inspect of a set without pictures has no contact sheet to write", async () => {
  const manifest = join(folder, "texts.jsonl");
  await writeFile(manifest, JSON.stringify({ id: "a", group: "g", text: "t" }));
  const { exitCode, stderr } = await soma("data", "inspect", manifest, "--out", "never.png");
  expect(exitCode).toBe(2);
  expect(stderr).toContain("has no pictures");
});

test("wrong names and options are refused before anything is loaded", async () => {
  const unknown = await soma("data", "inspect", "emjoi");
  expect(unknown.exitCode).toBe(3);
  expect(unknown.stderr).toContain("did you mean emoji?");
  const patches = await soma("data", "prepare", "emoji", "--max-patches", "0");
  expect(patches.exitCode).not.toBe(0);
  expect(patches.stderr).toContain("a whole number from 1 to 196");
});
