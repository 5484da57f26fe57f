/** A folder that is something else is not a damaged checkpoint. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readCheckpoint } from "../../models/checkpoint-folder.ts";

test("a folder with neither config nor weights is not found, one with weights alone is corrupt", async () => {
  const folder = await mkdtemp(join(tmpdir(), "soma-no-checkpoint-"));
  await writeFile(join(folder, "notes.txt"), "nothing to see");
  await expect(readCheckpoint(folder)).rejects.toMatchObject({ kind: "notFound" });
  await writeFile(join(folder, "model.safetensors"), "x");
  await expect(readCheckpoint(folder)).rejects.toMatchObject({ kind: "corrupt" });
});
