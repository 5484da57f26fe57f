import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readGallery, writeGallery, type Gallery } from "../../models/gallery.ts";

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "soma-gallery-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const gallery: Gallery = {
  name: "toys",
  credits: "made for this test",
  checkpointDigest: "a".repeat(64),
  entries: [
    {
      id: "1",
      group: "cat",
      text: "cat 😺",
      label: "animals",
      embedding: Float32Array.of(1, 0.1),
      picture: { mediaType: "image/webp", bytes: Uint8Array.of(1, 2, 3) },
    },
    { id: "2", group: "word", text: "a word", embedding: Float32Array.of(0, -2) },
    {
      id: "3",
      group: "cat",
      embedding: Float32Array.of(3, 4),
      picture: { mediaType: "image/png", bytes: Uint8Array.of(9) },
    },
  ],
};

test("what is written is read back", async () => {
  const folder = join(home, "round");
  await writeGallery(folder, gallery);
  const read = await readGallery(folder);
  expect({ ...read, entries: read.entries.map(plain) }).toEqual({
    ...gallery,
    entries: gallery.entries.map(plain),
  });
});

test("a damaged file is refused with exit code 5 and its name", async () => {
  const folder = join(home, "damaged");
  for (const file of ["gallery.json", "vectors.safetensors", "pictures.bin"]) {
    await writeGallery(folder, gallery);
    const bytes = await readFile(join(folder, file));
    await writeFile(join(folder, file), bytes.subarray(0, bytes.length - 3));
    await expect(readGallery(folder)).rejects.toMatchObject({
      exitCode: 5,
      message: expect.stringContaining(join(folder, file)) as string,
    });
    if (file === "gallery.json") continue;
    await rm(join(folder, file));
    await expect(readGallery(folder)).rejects.toMatchObject({ exitCode: 5 });
  }
});

test("a missing gallery is not found, and says how to make one", async () => {
  await expect(readGallery(join(home, "none"))).rejects.toMatchObject({
    exitCode: 3,
    next: expect.stringContaining("soma gallery") as string,
  });
});

/** Bytes as numbers, so that a Buffer and a Uint8Array of equal content are equal. */
function plain(entry: Gallery["entries"][number]): unknown {
  const { picture, embedding, ...rest } = entry;
  return {
    ...rest,
    embedding: [...embedding],
    picture: picture && { ...picture, bytes: [...picture.bytes] },
  };
}
