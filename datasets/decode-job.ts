/** One picture to decode: what is sent to a worker, and what comes back. Plain data, both ways. */
import { readFile } from "node:fs/promises";
import { SomaError, type Failure } from "../base/errors.ts";
import {
  decodeImage,
  resizeImage,
  type DecodedImage,
  type DecodeOptions,
} from "../tokenizers/image/decode.ts";
import { trimToSquare } from "../tokenizers/image/trim.ts";
import { imageGrid, PATCH_SIDE } from "../tokenizers/units.ts";
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
  readonly trimmed: boolean;
}

export type DecodeResult =
  | { readonly index: number; readonly kind: "decoded"; readonly picture: DecodedPicture }
  /** An expected refusal: a corrupt or too large picture. */
  | { readonly index: number; readonly kind: "refused"; readonly failure: Failure }
  /** A bug: rethrown in the caller's thread. */
  | { readonly index: number; readonly kind: "crashed"; readonly stack: string };

/** Decode one picture. Never rejects. */
export async function runDecodeJob(job: DecodeJob): Promise<DecodeResult> {
  const { index, source, hash, maxPatches, trusted } = job;
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
    const picture = job.trimmed
      ? await decodeTrimmed(bytes, { maxPatches, trusted })
      : await decodeImage(bytes, { maxPatches, trusted });
    return { index, kind: "decoded", picture };
  } catch (error) {
    if (error instanceof SomaError) {
      const { code, kind, message: what, next } = error;
      const failure: Failure = { code, kind, what, ...(next === undefined ? {} : { next }) };
      return { index, kind: "refused", failure };
    }
    return {
      index,
      kind: "crashed",
      stack: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}

/** Decoded at the network's full size, cut to the ink, then scaled to the grid that is asked for. */
async function decodeTrimmed(
  bytes: Uint8Array,
  options: Required<DecodeOptions>,
): Promise<DecodedImage> {
  const { sourceWidth, sourceHeight, ...large } = await decodeImage(bytes, {
    trusted: options.trusted,
  });
  const ink = trimToSquare(large);
  // The trimmed picture stands for one as large as its source.
  const { columns, rows } = imageGrid(sourceWidth, sourceHeight, options.maxPatches);
  const image = await resizeImage(ink, { width: columns * PATCH_SIDE, height: rows * PATCH_SIDE });
  return { ...image, sourceWidth, sourceHeight };
}
