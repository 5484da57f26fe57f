import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  Binary,
  Field,
  Int64,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
  type Vector,
} from "apache-arrow";
import { beforeAll, describe, expect, test } from "vitest";
import { loadImages } from "../../datasets/images.ts";
import { loadDataset } from "../../datasets/registry.ts";
import { splitOf } from "../../datasets/split.ts";
import { plainPng, refusal, temporaryFolder } from "./support.ts";

beforeAll(async () => {
  process.env["SOMA_CACHE"] = await temporaryFolder();
});

const FEATURES = {
  image: { _type: "Image" },
  fine: { names: ["dark", "bright"], _type: "ClassLabel" },
  source: { dtype: "string", _type: "Value" },
};

interface Picture {
  readonly shade: number;
  readonly fine: number;
}

/** A stream as `datasets` writes it: the picture is a struct of its bytes and where they came from. */
async function shard(pictures: readonly Picture[]): Promise<Uint8Array> {
  const image = vectorFromArray(
    await Promise.all(
      pictures.map(async ({ shade }) => ({ bytes: await plainPng(shade), path: `${shade}.png` })),
    ),
    new Struct([new Field("bytes", new Binary(), true), new Field("path", new Utf8(), true)]),
  ) as Vector;
  return tableToIPC(
    new Table({
      image,
      fine: vectorFromArray(
        pictures.map(({ fine }) => BigInt(fine)),
        new Int64(),
      ),
      source: vectorFromArray(
        pictures.map(() => "somewhere"),
        new Utf8(),
      ),
    }),
    "stream",
  );
}

async function saveSplit(folder: string, shards: readonly (readonly Picture[])[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  const names = shards.map((_, i) => `data-0000${i}-of-0000${shards.length}.arrow`);
  for (const [index, pictures] of shards.entries()) {
    await writeFile(join(folder, names[index] ?? ""), await shard(pictures));
  }
  await writeFile(
    join(folder, "state.json"),
    JSON.stringify({ _data_files: names.map((filename) => ({ filename })), _split: null }),
  );
  await writeFile(join(folder, "dataset_info.json"), JSON.stringify({ features: FEATURES }));
}

test("a saved DatasetDict gives its splits, its pictures and the names of its classes", async () => {
  const folder = await temporaryFolder();
  await writeFile(
    join(folder, "dataset_dict.json"),
    JSON.stringify({ splits: ["train", "validation", "test", "unsupervised"] }),
  );
  await saveSplit(join(folder, "train"), [
    [
      { shade: 10, fine: 0 },
      { shade: 250, fine: 1 },
    ],
    [{ shade: 20, fine: -1 }],
  ]);
  await saveSplit(join(folder, "validation"), [[{ shade: 30, fine: 0 }]]);
  await saveSplit(join(folder, "test"), [[{ shade: 240, fine: 1 }]]);
  const warnings: string[] = [];
  const dataset = await loadDataset(folder, { warn: (sentence) => warnings.push(sentence) });
  expect(dataset.examples.map(({ id, split, label }) => [id, split, label])).toEqual([
    ["train/0", "train", "dark"],
    ["train/1", "train", "bright"],
    ["train/2", "train", undefined],
    ["validation/0", "validation", "dark"],
    ["test/0", "test", "bright"],
  ]);
  expect(dataset.labels).toEqual(["bright", "dark"]);
  expect(warnings.join("\n")).toMatch(/"unsupervised" is left out/);
  expect(warnings.join("\n")).toMatch(/ignored column: "source"/);

  const images = await loadImages(dataset, dataset.examples, { maxPatches: 16, workers: 0 });
  expect(dataset.examples.map(({ id }) => images.get(id).pixels[0])).toEqual([
    10, 250, 20, 30, 240,
  ]);
});

test("a saved Dataset without splits is divided by the hash of its rows", async () => {
  const folder = await temporaryFolder();
  await saveSplit(folder, [
    [
      { shade: 1, fine: 0 },
      { shade: 2, fine: 1 },
    ],
  ]);
  const { examples } = await loadDataset(folder, { warn: () => undefined });
  expect(examples.map(({ id, group, split }) => ({ id, group, split }))).toEqual(
    ["row/0", "row/1"].map((id) => ({ id, group: id, split: splitOf("user", id) })),
  );
});

test("a saved set is refused where its description is damaged", async () => {
  const folder = await temporaryFolder();
  await saveSplit(folder, [[{ shade: 1, fine: 0 }]]);
  const state = join(folder, "state.json");
  for (const [content, code] of [
    ["{", "MANIFEST_MALFORMED"],
    ["{}", "SAVED_SET_DAMAGED"],
    [`{"_data_files":[{"filename":"../data.arrow"}]}`, "SAVED_SET_DAMAGED"],
    [`{"_data_files":[{"filename":".."}]}`, "SAVED_SET_DAMAGED"],
  ] as const) {
    await writeFile(state, content);
    expect(await refusal(loadDataset(folder)), content).toMatchObject({ code, exitCode: 5 });
  }
  await writeFile(state, `{"_data_files":[{"filename":"data-00000-of-00002.arrow"}]}`);
  expect(await refusal(loadDataset(folder))).toMatchObject({ code: "SAVED_SET_DAMAGED" });
});

test("a class that has no name is refused with its row", async () => {
  const folder = await temporaryFolder();
  await saveSplit(folder, [
    [
      { shade: 1, fine: 0 },
      { shade: 1, fine: 2 },
    ],
  ]);
  const error = await refusal(loadDataset(folder, { warn: () => undefined }));
  expect(error.message).toMatch(/row 1: its label 2 has no name/);
});

describe("files that Hugging Face's own library wrote (fixtures/make.py)", () => {
  const fixture = (name: string): string =>
    fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

  test("a saved DatasetDict of two shards", async () => {
    const dataset = await loadDataset(fixture("saved-dict"));
    expect(dataset.examples.map(({ id, split, label, text }) => [id, split, label, text])).toEqual([
      ["train/0", "train", "dark", "shade 10"],
      ["train/1", "train", "bright", "shade 200"],
      ["train/2", "train", "dark", "shade 20"],
      ["test/0", "test", "bright", "shade 210"],
    ]);
    const images = await loadImages(dataset, dataset.examples, { maxPatches: 16, workers: 0 });
    expect(dataset.examples.map(({ id }) => images.get(id).pixels[0])).toEqual([10, 200, 20, 210]);
  });

  test("a Parquet file with picture structs and class names in its metadata", async () => {
    const warnings: string[] = [];
    const dataset = await loadDataset(fixture("manifest.parquet"), {
      warn: (sentence) => warnings.push(sentence),
    });
    expect(dataset.examples.map(({ id, group, label }) => [id, group, label])).toEqual([
      ["1", "a", "dark"],
      ["2", "b", "bright"],
    ]);
    expect(warnings).toEqual([expect.stringMatching(/ignored column: "caption"/)]);
    const images = await loadImages(dataset, dataset.examples, { maxPatches: 16, workers: 0 });
    expect(dataset.examples.map(({ id }) => images.get(id).pixels[0])).toEqual([30, 220]);
  });
});
