import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { loadDataset } from "../../datasets/registry.ts";
import { splitOf } from "../../datasets/split.ts";
import { plainPng, refusal, temporaryFolder } from "./support.ts";

async function folderOf(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

const png = await plainPng(50);

test("a sub-folder is the label, and equal names in two of them are two groups", async () => {
  const folder = await folderOf({ "cat/1.png": png, "dog/1.png": png, "dog/old/2.jpeg": png });
  const { examples, labels } = await loadDataset(folder);
  expect(examples.map(({ id, group, label }) => [id, group, label])).toEqual([
    ["cat/1.png", "cat/1", "cat"],
    ["dog/1.png", "dog/1", "dog"],
    ["dog/old/2.jpeg", "dog/old/2", "dog"],
  ]);
  expect(labels).toEqual(["cat", "dog"]);
  for (const { group, split } of examples) expect(split).toBe(splitOf("user", group));
});

test("top folders named after splits are the splits", async () => {
  const folder = await folderOf({
    "train/cat/1.png": png,
    "val/cat/1.png": png,
    "test/dog/1.png": png,
  });
  const { examples } = await loadDataset(folder);
  expect(examples.map(({ group, split, label }) => [group, split, label])).toEqual([
    ["test/dog/1", "test", "dog"],
    ["train/cat/1", "train", "cat"],
    ["val/cat/1", "validation", "cat"],
  ]);
});

test("a class may be called test as long as the others are not splits", async () => {
  const folder = await folderOf({ "test/1.png": png, "cat/1.png": png });
  expect((await loadDataset(folder)).labels).toEqual(["cat", "test"]);
});

test("files of one stem are one group, and a text beside a picture is its caption", async () => {
  const folder = await folderOf({
    "a.png": png,
    "a.webp": png,
    "a.txt": "\ufeffa grey square\n",
    "notes.txt": "belongs to no picture",
    "b.doc": "x",
    ".hidden.png": png,
  });
  const warnings: string[] = [];
  const { examples } = await loadDataset(folder, { warn: (sentence) => warnings.push(sentence) });
  expect(examples.map(({ id, group, text }) => [id, group, text])).toEqual([
    ["a.png", "a", undefined],
    ["a.txt", "a", "a grey square"],
    ["a.webp", "a", undefined],
  ]);
  expect(warnings).toEqual([expect.stringMatching(/1 file was passed over/)]);
});

test("an empty folder and a link out of it are refused", async () => {
  const empty = await folderOf({});
  expect(await refusal(loadDataset(empty))).toMatchObject({ code: "DATASET_EMPTY", exitCode: 2 });
  const linked = await folderOf({ "a.png": png });
  await symlink("/etc/hostname", join(linked, "b.png"));
  expect(await refusal(loadDataset(linked))).toMatchObject({ code: "PATH_OUTSIDE", exitCode: 4 });
});

test("a caption that is empty or no text is refused by name", async () => {
  for (const content of ["  \n", Uint8Array.of(0xff, 0xfe, 0x41)]) {
    const folder = await folderOf({ "a.png": png, "a.txt": content });
    const error = await refusal(loadDataset(folder));
    expect(error).toMatchObject({ code: "CAPTION_BAD" });
    expect(error.message).toContain("a.txt");
  }
});
