/** Temporary folders and small pictures for the tests of datasets/. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { encodePng } from "../../tokenizers/image/decode.ts";

const folders: string[] = [];
// At the top of the module, so that it is a hook of the whole test file that imports this.
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A new empty folder, removed after the test file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "soma-datasets-"));
  folders.push(folder);
  return folder;
}

/** PNG bytes of a plain 64×64 picture, another one for each `shade` 0 … 255. */
export function plainPng(shade: number, side = 64): Promise<Uint8Array> {
  return encodePng({
    width: side,
    height: side,
    pixels: new Uint8Array(side * side * 3).fill(shade),
  });
}

/** The SomaError that a promise is rejected with. */
export async function refusal(promise: Promise<unknown>): Promise<SomaError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "it should have been refused").toBeInstanceOf(SomaError);
  return error as SomaError;
}
