/** One picture to decode: what is sent to a worker, and what comes back. Plain data, both ways. */
import { readFile } from "node:fs/promises";
import { SomaError, type Failure } from "../base/errors.ts";
import { decodeImage } from "../tokenizers/image/decode.ts";
import { contentHash } from "./digest.ts";
import type { DecodedPicture } from "./image-cache.ts";

export interface DecodeJob {
  readonly index: number;
  readonly source:
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "bytes"; readonly bytes: Uint8Array };
  /** SHA-256 hex that the encoded bytes must have; the result is cached under it. */
  readonly hash: string;
  readonly maxPatches: number;
  readonly trusted: boolean;
  /** Cut white margins away before scaling. */
  readonly trim: boolean;
}

export type DecodeResult =
  | { readonly index: number; readonly kind: "decoded"; readonly picture: DecodedPicture }
  /** An expected refusal: a corrupt or too large picture. */
  | { readonly index: number; readonly kind: "refused"; readonly failure: Failure }
  /** A bug: rethrown in the caller's thread. */
  | { readonly index: number; readonly kind: "crashed"; readonly stack: string };

/** Decode one picture. Never rejects. */
export async function runDecodeJob(job: DecodeJob): Promise<DecodeResult> {
  const { index, source, hash, maxPatches, trusted, trim } = job;
  try {
    const bytes = source.kind === "file" ? await readFile(source.path) : source.bytes;
    if (contentHash(bytes) !== hash) {
      const failure: Failure = {
        code: "IMAGE_CHANGED",
        kind: "corrupt",
        what: "the picture was changed while the dataset was being read",
        next: "run again once nothing writes to it",
      };
      return { index, kind: "refused", failure };
    }
    const picture = await decodeImage(bytes, { maxPatches, trusted, trim });
    return { index, kind: "decoded", picture };
  } catch (error) {
    if (error instanceof SomaError) return { index, kind: "refused", failure: error.failure };
    return {
      index,
      kind: "crashed",
      stack: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}
