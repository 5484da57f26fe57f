/** `soma tokens`: what another engine is given to train on. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBackend } from "../../models/backend.ts";
import { saveCheckpoint } from "../../models/checkpoint.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { decodeImage } from "../../tokenizers/image/decode.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { loadTextTokenizer } from "../../tokenizers/text/sentencepiece.ts";
import { tokensCommand } from "../../training/tokens-command.ts";
import { bytesOf, noise } from "../support/pictures.ts";
import { TINY_CARD, TINY_CONFIG, TINY_IMAGE_CONFIG } from "../support/tiny-encoder.ts";

let folder: string;
let manifest: string;
let checkpoint: string;
let picture: Uint8Array;
const TEXT = "a striped cat on a long red sofa";

beforeAll(async () => {
  await startBackend();
  folder = await mkdtemp(join(tmpdir(), "soma-tokens-"));
  await mkdir(join(folder, "photos"));
  picture = await bytesOf(noise(64, 48).png());
  await writeFile(join(folder, "photos", "cat.png"), picture);
  manifest = join(folder, "data.jsonl");
  const rows = [
    { id: "a", group: "cat", split: "train", label: "animal", image: "photos/cat.png" },
    { id: "b", group: "cat", split: "train", text: TEXT },
    { id: "c", group: "dog", split: "test", text: "a dog" },
  ];
  await writeFile(manifest, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  checkpoint = join(folder, "both");
  for (const [path, config] of [
    [checkpoint, TINY_CONFIG],
    [join(folder, "image"), TINY_IMAGE_CONFIG],
  ] as const) {
    const encoder = new TransformerEncoder(config, seededRng(1, "weights"));
    await saveCheckpoint(path, { encoder, card: TINY_CARD });
    encoder.dispose();
  }
});
afterAll(() => rm(folder, { recursive: true }));

async function linesOf(path: string): Promise<Record<string, unknown>[]> {
  const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a line holds what identifies a row and the tokens that the encoder would read", async () => {
  const out = join(folder, "train.jsonl");
  await tokensCommand(checkpoint, { manifest, split: "train", out, quiet: true });
  const { patches } = patchify(await decodeImage(picture, { maxPatches: 16 }));
  expect(await linesOf(out)).toEqual([
    {
      id: "a",
      group: "cat",
      split: "train",
      label: "animal",
      modality: "image",
      columns: 4,
      rows: 3,
      patches: Buffer.from(patches).toString("base64"),
    },
    {
      id: "b",
      group: "cat",
      split: "train",
      modality: "text",
      ids: [...(await loadTextTokenizer()).encode(TEXT)],
    },
  ]);
});

test("rows that the encoder has no tower for are left out", async () => {
  const out = join(folder, "image.jsonl");
  await tokensCommand(join(folder, "image"), { manifest, out, quiet: true });
  expect((await linesOf(out)).map(({ id }) => id)).toEqual(["a"]);
});

test("a dataset with nothing to read is refused, and leaves no file", async () => {
  const out = join(folder, "nothing.jsonl");
  const flags = { manifest, split: "test", out, quiet: true };
  await expect(tokensCommand(join(folder, "image"), flags)).rejects.toMatchObject({
    code: "NOTHING_TO_READ",
  });
  expect((await readdir(folder)).filter((name) => name.startsWith("nothing"))).toEqual([]);
});

test("the source is named once", async () => {
  const out = join(folder, "x.jsonl");
  await expect(tokensCommand(checkpoint, { out })).rejects.toMatchObject({ code: "BAD_FLAG" });
  await expect(
    tokensCommand(checkpoint, { manifest, dataset: "emoji", out }),
  ).rejects.toMatchObject({ code: "BAD_FLAG" });
});
