/**
 * A gallery: labelled pictures and texts with their embeddings, ready to be searched by a server that may not
 * read data sets. A folder of gallery.json (entries, digests), vectors.safetensors and pictures.bin (thumbnails,
 * one behind the other: thousands of small files would each be flushed to disk).
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { assert, present, SomaError } from "../base/errors.ts";
import { settleFolder, writeFolderAtomic } from "../base/folders.ts";
import { parseConfig, z } from "../base/schema.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";

const GALLERY_FILE = "gallery.json";
const VECTORS_FILE = "vectors.safetensors";
const PICTURES_FILE = "pictures.bin";

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
const MEDIA_TYPES = ["image/png", "image/webp", "image/jpeg"] as const;

const galleryDocument = z.strictObject({
  name: z.string(),
  credits: z.string(),
  checkpoint: sha256Hex,
  dimension: z.int().positive(),
  entries: z.array(
    z.strictObject({
      id: z.string(),
      group: z.string(),
      text: z.string().optional(),
      label: z.string().optional(),
      picture: z
        .strictObject({
          media_type: z.enum(MEDIA_TYPES),
          offset: z.int().nonnegative(),
          bytes: z.int().positive(),
        })
        .optional(),
    }),
  ),
  files: z.strictObject({ [VECTORS_FILE]: sha256Hex, [PICTURES_FILE]: sha256Hex }),
});

export interface GalleryPicture {
  readonly mediaType: (typeof MEDIA_TYPES)[number];
  readonly bytes: Uint8Array;
}

export interface GalleryEntry {
  /** Unique in the gallery. */
  readonly id: string;
  /** Entries of one group show the same thing: of the neighbours of a query only the nearest of a group counts. */
  readonly group: string;
  /** What to call it. */
  readonly text?: string;
  /** Its class. */
  readonly label?: string;
  /** Thumbnail, about 64 pixels. */
  readonly picture?: GalleryPicture;
  /** Float32Array [dimension]; need not be of length 1. */
  readonly embedding: Float32Array;
}

export interface Gallery {
  /** Of the data set, e.g. "emoji". */
  readonly name: string;
  /** Licence and credits of the pictures, one line: shown where they are shown. */
  readonly credits: string;
  /** Digest of the checkpoint that made the embeddings: those of another model mean nothing beside them. */
  readonly checkpointDigest: string;
  readonly entries: readonly GalleryEntry[];
}

/** Replace `directory` by the gallery, whole or not at all. @throws SomaError DISK_FULL (resources), WRITE_FAILED (failure) */
export async function writeGallery(directory: string, gallery: Gallery): Promise<void> {
  const { entries } = gallery;
  const dimension = present(entries[0], "a gallery has an entry").embedding.length;
  assert(new Set(entries.map(({ id }) => id)).size === entries.length, "ids are unique");
  const rows = new Float32Array(entries.length * dimension);
  const pictures: Uint8Array[] = [];
  let offset = 0;
  const described = entries.map(({ embedding, picture, ...rest }, row) => {
    assert(embedding.length === dimension, "embeddings of one length");
    assert(embedding.every(Number.isFinite), "embeddings are finite");
    rows.set(embedding, row * dimension);
    if (picture === undefined) return rest;
    pictures.push(picture.bytes);
    const place = { media_type: picture.mediaType, offset, bytes: picture.bytes.length };
    offset += picture.bytes.length;
    return { ...rest, picture: place };
  });
  const vectors = writeSafetensors(
    new Map([["vectors", { shape: [entries.length, dimension], data: rows }]]),
  );
  const pictureBytes = Buffer.concat(pictures);
  const document = {
    name: gallery.name,
    credits: gallery.credits,
    checkpoint: gallery.checkpointDigest,
    dimension,
    entries: described,
    files: { [VECTORS_FILE]: sha256(vectors), [PICTURES_FILE]: sha256(pictureBytes) },
  };
  await writeFolderAtomic(
    directory,
    new Map<string, Uint8Array | string>([
      [GALLERY_FILE, `${JSON.stringify(document)}\n`],
      [VECTORS_FILE, vectors],
      [PICTURES_FILE, pictureBytes],
    ]),
  );
}

/** @throws SomaError NO_GALLERY (notFound), CORRUPT_GALLERY (corrupt) naming the file */
export async function readGallery(directory: string): Promise<Gallery> {
  await settleFolder(directory);
  const document = await readDocument(directory);
  const vectorBytes = await readPinned(directory, VECTORS_FILE, document.files[VECTORS_FILE]);
  const pictureBytes = await readPinned(directory, PICTURES_FILE, document.files[PICTURES_FILE]);
  const { dimension } = document;
  const vectors = readSafetensors(vectorBytes, join(directory, VECTORS_FILE)).tensors.get(
    "vectors",
  );
  if (
    vectors?.shape.length !== 2 ||
    vectors.shape[0] !== document.entries.length ||
    vectors.shape[1] !== dimension
  ) {
    throw corruptGallery(directory, VECTORS_FILE, "it does not hold a vector for each entry");
  }
  const entries = document.entries.map(({ id, group, text, label, picture }, row): GalleryEntry => {
    if (picture !== undefined && picture.offset + picture.bytes > pictureBytes.length) {
      throw corruptGallery(directory, GALLERY_FILE, `the picture of ${id} lies outside its file`);
    }
    return {
      id,
      group,
      embedding: vectors.data.subarray(row * dimension, (row + 1) * dimension),
      ...(text === undefined ? {} : { text }),
      ...(label === undefined ? {} : { label }),
      ...(picture === undefined
        ? {}
        : {
            picture: {
              mediaType: picture.media_type,
              bytes: pictureBytes.subarray(picture.offset, picture.offset + picture.bytes),
            },
          }),
    };
  });
  const { name, credits, checkpoint } = document;
  return { name, credits, checkpointDigest: checkpoint, entries };
}

async function readDocument(directory: string): Promise<z.output<typeof galleryDocument>> {
  let text: string;
  try {
    text = await readFile(join(directory, GALLERY_FILE), "utf8");
  } catch {
    throw new SomaError({
      code: "NO_GALLERY",
      kind: "notFound",
      what: `there is no ${join(directory, GALLERY_FILE)}`,
      next: "make a gallery with `soma gallery CHECKPOINT --dataset emoji --out DIR`",
    });
  }
  try {
    return parseConfig(galleryDocument, JSON.parse(text) as unknown, GALLERY_FILE);
  } catch (error) {
    const what = error instanceof SomaError ? error.message : "it is not JSON";
    throw corruptGallery(directory, GALLERY_FILE, what);
  }
}

async function readPinned(directory: string, file: string, digest: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(join(directory, file));
  } catch {
    throw corruptGallery(directory, file, "it cannot be read");
  }
  if (sha256(bytes) !== digest) {
    throw corruptGallery(directory, file, `its SHA-256 is not the one in ${GALLERY_FILE}`);
  }
  return bytes;
}

function corruptGallery(directory: string, file: string, what: string): SomaError {
  return new SomaError({
    code: "CORRUPT_GALLERY",
    kind: "corrupt",
    what: `${join(directory, file)}: ${what}`,
    next: "make the gallery again with `soma gallery`",
  });
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
