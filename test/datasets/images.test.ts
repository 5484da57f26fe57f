import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Dataset } from "../../datasets/dataset.ts";
import { loadImages, type LoadImagesOptions } from "../../datasets/images.ts";
import { loadDataset } from "../../datasets/registry.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import { plainPng, refusal, temporaryFolder } from "./support.ts";

let folder: string;
let cache: string;
beforeEach(async () => {
  folder = await temporaryFolder();
  cache = await temporaryFolder();
  process.env["SOMA_CACHE"] = cache;
  for (const shade of [10, 20, 30]) {
    await writeFile(join(folder, `${shade}.png`), await plainPng(shade, 80));
  }
});
afterEach(() => {
  delete process.env["SOMA_CACHE"];
});

const load = async (
  dataset: Dataset,
  options: Partial<LoadImagesOptions> = {},
): Promise<Awaited<ReturnType<typeof loadImages>>> =>
  loadImages(dataset, dataset.examples, { maxPatches: 16, workers: 0, ...options });

async function segments(): Promise<string[]> {
  const names = await readdir(join(cache, "images"), { recursive: true });
  return names
    .filter((name) => name.endsWith(".images"))
    .map((name) => join(cache, "images", name));
}

test("a picture is scaled to its grid, and comes from the cache the second time", async () => {
  const dataset = await loadDataset(folder);
  const first = await load(dataset);
  expect([first.count, first.decodedCount, first.sizeBytes]).toEqual([3, 3, 3 * 64 * 64 * 3]);
  const second = await load(dataset);
  expect([second.count, second.decodedCount]).toEqual([3, 0]);
  for (const { id } of dataset.examples) {
    const image = second.get(id);
    expect(image).toEqual(first.get(id));
    expect(image).toMatchObject({ width: 64, height: 64, sourceWidth: 80, sourceHeight: 80 });
    expect(new Set(image.pixels)).toEqual(new Set([Number.parseInt(id)]));
  }
});

test("another cap on the grid is another picture", async () => {
  const dataset = await loadDataset(folder);
  await load(dataset);
  const larger = await load(dataset, { maxPatches: 196 });
  expect(larger.decodedCount).toBe(3);
  expect(larger.get("10.png")).toMatchObject({ width: 80, height: 80 });
});

test("only what is new is decoded, and equal pictures once", async () => {
  await load(await loadDataset(folder));
  await writeFile(join(folder, "40.png"), await plainPng(40, 80));
  await writeFile(join(folder, "copy-of-10.png"), await plainPng(10, 80));
  const store = await load(await loadDataset(folder));
  expect([store.count, store.decodedCount]).toEqual([5, 1]);
  expect(store.get("copy-of-10.png").pixels).toEqual(store.get("10.png").pixels);
});

test("a changed file is decoded again, for the cache knows contents and not names", async () => {
  await load(await loadDataset(folder));
  await writeFile(join(folder, "10.png"), await plainPng(99, 80));
  const store = await load(await loadDataset(folder));
  expect(store.decodedCount).toBe(1);
  expect(store.get("10.png").pixels[0]).toBe(99);
});

describe("a damaged cache is noticed and made anew", () => {
  test.each([
    ["a flipped byte in the pixels", -5],
    ["a flipped byte in the table", 20],
    ["a flipped byte in the head", 9],
  ])("with %s", async (_what, at) => {
    const dataset = await loadDataset(folder);
    const first = await load(dataset);
    const [path] = await segments();
    const bytes = await readFile(path ?? "");
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    await writeFile(path ?? "", bytes);
    const second = await load(dataset);
    expect(second.decodedCount).toBe(3);
    expect(second.get("30.png")).toEqual(first.get("30.png"));
    expect((await load(dataset)).decodedCount).toBe(0);
    expect(await segments()).toHaveLength(1);
  });

  test("when it is cut short", async () => {
    const dataset = await loadDataset(folder);
    await load(dataset);
    for (const sizeBytes of [0, 10, 100, 20_000]) {
      const [path] = await segments();
      await truncate(path ?? "", sizeBytes);
      expect((await load(dataset)).decodedCount).toBe(3);
      expect((await load(dataset)).decodedCount).toBe(0);
    }
  });
});

test("a cache that cannot be written costs a warning, not the pictures", async () => {
  process.env["SOMA_CACHE"] = join(folder, "10.png"); // a file where a folder should be
  const warnings: string[] = [];
  const store = await load(await loadDataset(folder), { warn: (line) => warnings.push(line) });
  expect(store.count).toBe(3);
  expect(warnings).toEqual([expect.stringMatching(/not kept for the next time/)]);
});

describe("corrupt pictures of the user", () => {
  beforeEach(async () => {
    const png = await plainPng(77);
    await writeFile(join(folder, "cut.png"), png.subarray(0, png.length - 40));
    await writeFile(join(folder, "text.png"), "not a picture");
    await writeFile(join(folder, "drawing.png"), "<svg xmlns='http://www.w3.org/2000/svg'/>");
  });

  test("are refused all at once, with example and file", async () => {
    const error = await refusal(load(await loadDataset(folder)));
    expect(error).toMatchObject({ code: "IMAGES_CORRUPT", exitCode: 5 });
    expect(error.message).toMatch(/^3 pictures cannot be decoded/);
    for (const name of ["cut.png", "text.png", "drawing.png"]) {
      expect(error.message).toContain(`example "${name}" (`);
      expect(error.message).toContain(join(folder, name));
    }
  });

  test("or left out and listed if one asks for that", async () => {
    const store = await load(await loadDataset(folder), { skipCorrupt: true });
    expect(store.count).toBe(3);
    expect(store.skipped.map(({ id }) => id)).toEqual(["cut.png", "drawing.png", "text.png"]);
    for (const { reason } of store.skipped) expect(reason).not.toBe("");
    expect(store.has("cut.png")).toBe(false);
    expect(() => store.get("cut.png")).toThrow(/no picture of cut.png/);
  });

  test("and one that is changed while it is read is refused too", async () => {
    const dataset = await loadDataset(folder);
    await writeFile(join(folder, "20.png"), await plainPng(21));
    const store = await load(dataset, { skipCorrupt: true });
    expect(store.skipped.find(({ id }) => id === "20.png")?.reason).toMatch(/was changed/);
  });
});

test("pixels that lie on the grid are given out as they are, others are scaled", async () => {
  const toys = await makeSynthetic({ groupCount: 4 });
  const store = await load(toys);
  expect([store.count, store.decodedCount]).toEqual([12, 0]);
  for (const { id, image } of toys.examples) {
    if (image?.kind === "pixels") expect(store.get(id).pixels).toEqual(image.pixels);
  }
  const smaller = await load(toys, { maxPatches: 4 });
  expect(smaller.get(toys.examples[0]?.id ?? "")).toMatchObject({ width: 32, sourceWidth: 64 });
});

test("progress counts every picture that is decoded", async () => {
  const seen: number[] = [];
  const progress = {
    update: ({ done }: { readonly done: number }) => seen.push(done),
    finish: () => undefined,
  };
  await load(await loadDataset(folder), { progress });
  expect(seen).toEqual([1, 2, 3]);
});
