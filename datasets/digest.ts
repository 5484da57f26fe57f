/**
 * The identity of data: SHA-256 of contents, and one digest over a whole dataset that goes into checkpoints.
 * Uses the runtime's native SHA-256 rather than the protocol's portable one: the same function, several times
 * faster over the hundreds of megabytes of a picture set.
 */
import { createHash, type Hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { present } from "../base/errors.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import type { Example, ImageSource } from "./dataset.ts";

/** Files read at once while hashing: enough to hide the latency of a disk. */
const READS_AT_ONCE = 16;

/** SHA-256 hex of bytes. */
export function contentHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** SHA-256 hex of a source's content: the encoded bytes, or for pixels their size and values. Reads a file. */
export async function imageHash(source: ImageSource): Promise<string> {
  switch (source.kind) {
    case "file":
      return source.sha256 ?? contentHash(await readFile(source.path));
    case "bytes":
      return source.sha256 ?? contentHash(source.bytes);
    case "pixels": {
      const hash = createHash("sha256");
      addText(hash, `pixels ${source.width}x${source.height}`);
      return hash.update(source.pixels).digest("hex");
    }
  }
}

/**
 * The examples with the content hash of every picture filled in, so that nothing later reads a file
 * only to know which picture it is. Reads each file that has no hash yet, `READS_AT_ONCE` at a time.
 */
export async function withImageHashes(
  examples: readonly Example[],
  progress: Progress = SILENT,
): Promise<Example[]> {
  const result = [...examples];
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    while (next < result.length) {
      const index = next++;
      const example = present(result[index], "an index within the list");
      const source = example.image;
      if (source !== undefined && source.kind !== "pixels" && source.sha256 === undefined) {
        const sha256 = await imageHash(source);
        result[index] = { ...example, image: { ...source, sha256 } };
      }
      progress.update({ done: ++done, total: result.length });
    }
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
  return result;
}

/** The distinct labels of examples, ascending by code unit (no locale). */
export function labelsOf(examples: readonly Example[]): string[] {
  const labels = new Set<string>();
  for (const { label } of examples) if (label !== undefined) labels.add(label);
  return [...labels].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/**
 * SHA-256 hex over every example in order: id, group, split, text, label, variant and the content hash of
 * its picture, each with its byte length before it, so that no two datasets share a spelling.
 */
export async function datasetDigest(examples: readonly Example[]): Promise<string> {
  const hash = createHash("sha256");
  for (const example of examples) {
    const picture = example.image === undefined ? undefined : await imageHash(example.image);
    const fields = [
      example.id,
      example.group,
      example.split,
      example.text,
      example.label,
      example.variant,
      picture,
    ];
    for (const field of fields) addText(hash, field);
  }
  return hash.digest("hex");
}

/** Length (u32, little-endian) and UTF-8 bytes; a missing field has a length no text can have. */
function addText(hash: Hash, text: string | undefined): void {
  const head = Buffer.alloc(4);
  if (text === undefined) {
    head.writeUInt32LE(0xffffffff);
    hash.update(head);
    return;
  }
  head.writeUInt32LE(Buffer.byteLength(text));
  hash.update(head).update(text);
}
