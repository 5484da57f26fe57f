/** From a dataset's pictures to the gallery that a server searches: one picture a concept, its name, its embedding. */
import { present, SomaError } from "../base/errors.ts";
import { SILENT, type Progress } from "../base/progress.ts";
import type { Dataset, Example } from "../datasets/dataset.ts";
import type { EmbeddingRow } from "../datasets/embeddings.ts";
import { loadImages } from "../datasets/images.ts";
import type { Gallery, GalleryEntry } from "../models/gallery.ts";
import type { EncoderSession } from "../models/session.ts";
import { encodePng } from "../tokenizers/image/decode.ts";
import { embedDataset, type RowSink } from "./embed.ts";

/** Patches of a thumbnail's grid at most: a square picture is shown at 64 × 64. */
const THUMBNAIL_PATCHES = 16;
const EMBED_BATCH = 256;
/** Which text names a concept, where there are several. */
const NAME_VARIANT = "en";

export interface GalleryOptions {
  /** Every picture of a concept instead of its first: answers still name a concept once. */
  readonly allPictures: boolean;
  readonly skipCorrupt: boolean;
  readonly progress?: Progress;
  readonly warn?: (sentence: string) => void;
}

/**
 * Embed the pictures of `examples` and make their thumbnails.
 * @param session of a checkpoint, with an image tower
 * @throws SomaError NO_PICTURES (usage) if there is nothing to show, or the encoder reads no pictures
 */
export async function buildGallery(
  session: EncoderSession,
  dataset: Dataset,
  examples: readonly Example[],
  options: GalleryOptions,
): Promise<Gallery> {
  const { skipCorrupt, progress = SILENT, warn = () => undefined } = options;
  const shown = choose(examples, options.allPictures);
  if (shown.length === 0 || session.config.image === undefined) {
    throw new SomaError({
      code: "NO_PICTURES",
      kind: "usage",
      what:
        shown.length === 0
          ? `${dataset.name} has no pictures to show`
          : "this encoder reads no pictures",
      next: "take a dataset with pictures, and an encoder that was trained on some",
    });
  }
  const embeddings = new Map<string, Float32Array>();
  await embedDataset(session, dataset, shown, collectInto(embeddings), {
    dimension: session.dimension,
    normalize: true,
    batchSize: EMBED_BATCH,
    skipCorrupt,
    progress,
    warn,
  });
  const images = await loadImages(dataset, shown, {
    maxPatches: THUMBNAIL_PATCHES,
    trim: session.config.image.trim,
    skipCorrupt,
    warn,
  });
  const names = namesOf(dataset.examples);
  const entries: GalleryEntry[] = [];
  for (const { id, group, label } of shown) {
    const embedding = embeddings.get(id);
    if (embedding === undefined || !images.has(id)) continue; // left out as corrupt
    const text = names.get(group);
    entries.push({
      id,
      group,
      embedding,
      ...(text === undefined ? {} : { text }),
      ...(label === undefined ? {} : { label }),
      picture: { mediaType: "image/png", bytes: await encodePng(images.get(id)) },
    });
  }
  return {
    name: dataset.name,
    credits: dataset.licence,
    checkpointDigest: present(session.checkpoint, "a session of a checkpoint").digest,
    entries,
  };
}

/** The examples with a picture, without their texts: the first of each group, or all. */
function choose(examples: readonly Example[], all: boolean): readonly Example[] {
  const seen = new Set<string>();
  return examples.flatMap(({ text: _text, ...example }): Example[] => {
    if (example.image === undefined || (!all && seen.has(example.group))) return [];
    seen.add(example.group);
    return [example];
  });
}

/** What each group is called: its English text if it has one, else its first. */
function namesOf(examples: readonly Example[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const settled = new Set<string>();
  for (const { group, text, variant } of examples) {
    if (text === undefined || settled.has(group)) continue;
    if (variant === NAME_VARIANT) settled.add(group);
    else if (names.has(group)) continue;
    names.set(group, text);
  }
  return names;
}

function collectInto(embeddings: Map<string, Float32Array>): RowSink {
  return {
    async write(rows: readonly EmbeddingRow[]) {
      for (const { id, embedding } of rows) embeddings.set(id, embedding);
    },
    close: async () => undefined,
    abandon: async () => undefined,
  };
}
