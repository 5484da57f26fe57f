/**
 * The identity of data: SHA-256 of contents, and one digest over a whole dataset that goes into checkpoints.
 * Uses the runtime's native SHA-256 rather than the protocol's portable one: the same function, several times
 * faster over the hundreds of megabytes of a picture set.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { assert, present, SomaError } from "../base/errors.ts";
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
      if (source.sha256 !== undefined) return source.sha256;
      const hash = createHash("sha256").update(`pixels ${source.width}x${source.height}\n`);
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
  const unhashed = [...examples.keys()].filter((index) => {
    const image = examples[index]?.image;
    return image !== undefined && image.kind !== "pixels" && image.sha256 === undefined;
  });
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    for (let index = unhashed[next++]; index !== undefined; index = unhashed[next++]) {
      const example = present(result[index], "an index within the list");
      const source = example.image;
      assert(
        source !== undefined && source.kind !== "pixels",
        "chosen because it has bytes to hash",
      );
      const sha256 = await imageHash(source).catch((cause: unknown) => {
        throw unreadable(example.id, source, cause);
      });
      result[index] = { ...example, image: { ...source, sha256 } };
      progress.update({ done: ++done, total: unhashed.length });
    }
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
  return result;
}

function unreadable(id: string, source: ImageSource, cause: unknown): SomaError {
  return new SomaError(
    {
      code: "IMAGE_UNREADABLE",
      kind: "failure",
      what: `cannot read the picture of example "${id}"${source.kind === "file" ? ` (${source.path})` : ""}`,
      next: "check that the file may be read",
    },
    { cause },
  );
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
  const writer = new HashWriter();
  for (const example of examples) {
    writer.add(example.id);
    writer.add(example.group);
    writer.add(example.split);
    writer.add(example.text);
    writer.add(example.label);
    writer.add(example.variant);
    writer.add(example.image === undefined ? undefined : await imageHash(example.image));
  }
  return writer.hex();
}

/** Hashes fields through one buffer: a call into the native hash for each would cost more than the hash. */
class HashWriter {
  private readonly hash = createHash("sha256");
  private readonly buffer = Buffer.alloc(1 << 16);
  private used = 0;

  /** Byte length (u32, little-endian) and UTF-8 bytes; a missing field has a length that no text has. */
  add(text: string | undefined): void {
    if (this.used + 4 + 3 * (text?.length ?? 0) > this.buffer.length) this.flush();
    if (text !== undefined && 4 + 3 * text.length > this.buffer.length) {
      const bytes = Buffer.from(text);
      this.writeLength(bytes.length);
      this.flush();
      this.hash.update(bytes);
      return;
    }
    const lengthAt = this.writeLength(0xffffffff);
    if (text === undefined) return;
    const sizeBytes = this.buffer.write(text, this.used);
    this.buffer.writeUInt32LE(sizeBytes, lengthAt);
    this.used += sizeBytes;
  }

  hex(): string {
    this.flush();
    return this.hash.digest("hex");
  }

  /** @returns where the length was written */
  private writeLength(sizeBytes: number): number {
    const at = this.used;
    this.used = this.buffer.writeUInt32LE(sizeBytes, at);
    return at;
  }

  private flush(): void {
    this.hash.update(this.buffer.subarray(0, this.used));
    this.used = 0;
  }
}
