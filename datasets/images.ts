/**
 * The decoded pictures of a dataset, in memory, each scaled to its patch grid: decoded once, then kept on
 * disk by content hash (image-cache.ts), so that the second load of the emoji set takes well under a second.
 */
import { join } from "node:path";
import { SomaError, assert, present, type Failure } from "../base/errors.ts";
import { cacheDirectory } from "../base/files.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import { say } from "../base/terminal.ts";
import { resizeImage } from "../tokenizers/image/decode.ts";
import { trimToSquare } from "../tokenizers/image/trim.ts";
import { imageGrid, PATCH_SIDE } from "../tokenizers/units.ts";
import type { Dataset, Example, ImageSource } from "./dataset.ts";
import { decodeAll, defaultWorkerCount } from "./decode-pool.ts";
import type { DecodeJob } from "./decode-job.ts";
import { imageHash } from "./digest.ts";
import { packageVersion } from "./packages.ts";
import { ImageStore, PixelMemory, type KeptPicture, type SkippedPicture } from "./image-store.ts";
import { readCachedPictures, writeCachedPictures, type DecodedPicture } from "./image-cache.ts";

/** Raise this when `decodeImage` changes what it makes of the same bytes; a new sharp has a new folder by itself. */
const CACHE_VERSION = 1;
/** The cache is written in segments of about this many bytes, so that an interrupted first load keeps most of its work. */
const SEGMENT_BYTES = 16 << 20;
/** Pictures are held in memory: more than this is refused instead of swapping the machine to a halt. */
export const STORE_BYTES_MAX = 4 * 2 ** 30;
/** Corrupt pictures named in an error. */
const NAMED_MAX = 5;

export interface LoadImagesOptions {
  /** Patches of the grid at most: 16 makes a square picture 64×64, 196 is the network's bound. */
  readonly maxPatches: number;
  /** Cut white margins away before scaling, so that drawings by different hands fill their frames alike. */
  readonly trim?: boolean;
  readonly progress?: Progress;
  /** Worker threads; 0 decodes in this thread. Default: one a core. */
  readonly workers?: number;
  /** Leave out pictures that cannot be decoded, listed in `skipped`, instead of throwing. */
  readonly skipCorrupt?: boolean;
  /** Called if the cache cannot be written: the pictures are loaded all the same. Default: stderr. */
  readonly warn?: (sentence: string) => void;
}

/**
 * The pictures of those examples that have one.
 * @throws SomaError IMAGES_CORRUPT (corrupt) naming the examples and files, unless `skipCorrupt`;
 *         IMAGES_TOO_LARGE (resources) when they do not fit in memory
 */
export async function loadImages(
  dataset: Dataset,
  examples: readonly Example[],
  options: LoadImagesOptions,
): Promise<ImageStore> {
  const { maxPatches, trim = false } = options;
  const sources = new Map<string, Exclude<ImageSource, { kind: "pixels" }>>(); // by content hash
  const hashOf = new Map<string, string>(); // example id → content hash
  const pictures = new Map<string, KeptPicture>();
  const memory = new PixelMemory();
  let sizeBytes = 0;
  for (const { id, image } of examples) {
    if (image === undefined) continue;
    if (image.kind === "pixels") {
      const scaled = await scalePixels(image, { maxPatches, trim }, memory);
      pictures.set(id, scaled);
      sizeBytes += scaled.width * scaled.height * 3;
      continue;
    }
    const hash = await imageHash(image);
    hashOf.set(id, hash);
    sources.set(hash, image);
  }

  const folder = join(
    cacheDirectory(),
    "images",
    `v${CACHE_VERSION}-sharp-${packageVersion("sharp")}-${maxPatches}${dataset.trusted ? "-trusted" : ""}${trim ? "-trim" : ""}`,
  );
  const decoded = await readCachedPictures(folder, new Set(sources.keys()), memory);
  const missing = [...sources].filter(([hash]) => !decoded.has(hash));
  const failures = await decodeInto({ decoded, memory }, missing, folder, dataset.trusted, options);

  const skipped: SkippedPicture[] = [];
  for (const { id, image } of examples) {
    const hash = hashOf.get(id);
    if (hash === undefined || image === undefined) continue;
    const picture = decoded.get(hash);
    if (picture !== undefined) pictures.set(id, picture);
    else skipped.push({ id, where: describeSource(image), reason: failures.get(hash)?.what ?? "" });
  }
  if (skipped.length > 0 && options.skipCorrupt !== true) throw corruptPictures(skipped);
  for (const picture of decoded.values()) sizeBytes += picture.pixels.length;
  return new ImageStore(pictures, {
    skipped,
    sizeBytes,
    decodedCount: missing.length - failures.size,
  });
}

/** Decode what is missing into `decoded` and into the cache. @returns the refusals, by content hash */
async function decodeInto(
  {
    decoded,
    memory,
  }: { readonly decoded: Map<string, DecodedPicture>; readonly memory: PixelMemory },
  missing: readonly (readonly [string, Exclude<ImageSource, { kind: "pixels" }>])[],
  folder: string,
  trusted: boolean,
  options: LoadImagesOptions,
): Promise<Map<string, Failure>> {
  const { maxPatches, progress = SILENT, trim = false } = options;
  const failures = new Map<string, Failure>();
  let heldBytes = 0;
  for (const picture of decoded.values()) heldBytes += picture.pixels.length;
  let segment = new Map<string, DecodedPicture>();
  let segmentBytes = 0;
  const jobs = missing.map(([hash, source], index): DecodeJob => {
    const plain =
      source.kind === "file"
        ? { kind: source.kind, path: source.path }
        : { kind: source.kind, bytes: source.bytes };
    return { index, source: plain, hash, maxPatches, trusted, trim };
  });
  let done = 0;
  const flush = async (): Promise<void> => {
    const full = segment;
    segment = new Map();
    segmentBytes = 0;
    try {
      await writeCachedPictures(folder, full);
    } catch (error) {
      if (!(error instanceof SomaError)) throw error;
      const warn = options.warn ?? say;
      warn(`decoded pictures are not kept for the next time: ${error.message}`);
    }
  };
  try {
    await decodeAll(jobs, options.workers ?? defaultWorkerCount(), async (result) => {
      const { hash } = present(jobs[result.index], "a result of a job");
      progress.update({ done: ++done, total: jobs.length });
      if (result.kind === "refused") {
        failures.set(hash, result.failure);
        return;
      }
      assert(result.kind === "decoded", "a crash is thrown by the pool");
      const picture = { ...result.picture, pixels: memory.add(result.picture.pixels) };
      decoded.set(hash, picture);
      segment.set(hash, picture);
      segmentBytes += picture.pixels.length;
      heldBytes += picture.pixels.length;
      if (heldBytes > STORE_BYTES_MAX) throw tooLarge(done, jobs.length, maxPatches);
      if (segmentBytes >= SEGMENT_BYTES) await flush();
    });
  } finally {
    await flush(); // also what was done before an error
  }
  return failures;
}

/** Pixels on their grid: as they are where they have its size, else scaled as a picture of that size would be. */
async function scalePixels(
  source: Extract<ImageSource, { kind: "pixels" }>,
  { maxPatches, trim }: { readonly maxPatches: number; readonly trim: boolean },
  memory: PixelMemory,
): Promise<KeptPicture> {
  const { columns, rows } = imageGrid(source.width, source.height, maxPatches);
  const size = { width: columns * PATCH_SIDE, height: rows * PATCH_SIDE };
  const sourceSize = { sourceWidth: source.width, sourceHeight: source.height };
  if (trim || size.width !== source.width || size.height !== source.height) {
    const { pixels } = await resizeImage(trim ? trimToSquare(source) : source, size);
    return { ...size, ...sourceSize, pixels: memory.add(pixels) };
  }
  const { grey } = source;
  return grey === undefined
    ? { ...size, ...sourceSize, pixels: memory.add(source.pixels) }
    : { ...size, ...sourceSize, grey: { ...grey, levels: memory.add(grey.levels) } };
}

function describeSource(source: ImageSource): string {
  switch (source.kind) {
    case "file":
      return source.path;
    case "bytes":
      return `${source.bytes.length} bytes in the manifest`;
    case "pixels":
      return `${source.width}×${source.height} pixels`;
  }
}

function corruptPictures(skipped: readonly SkippedPicture[]): SomaError {
  const named = skipped
    .slice(0, NAMED_MAX)
    .map(({ id, where, reason }) => `example "${id}" (${where}): ${reason}`)
    .join("; ");
  const more = skipped.length > NAMED_MAX ? `; and ${skipped.length - NAMED_MAX} more` : "";
  return new SomaError({
    code: "IMAGES_CORRUPT",
    kind: "corrupt",
    what: `${skipped.length} ${skipped.length === 1 ? "picture" : "pictures"} cannot be decoded: ${named}${more}`,
    next: "repair or remove them, or leave them out with --skip-corrupt",
  });
}

function tooLarge(done: number, total: number, maxPatches: number): SomaError {
  return new SomaError({
    code: "IMAGES_TOO_LARGE",
    kind: "resources",
    what: `after ${done} of ${total} pictures at ${maxPatches} patches the limit of ${STORE_BYTES_MAX / 2 ** 30} GiB of pixels in memory is reached`,
    next: "use fewer patches (--max-patches) or a smaller dataset",
  });
}
