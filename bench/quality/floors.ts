/**
 * Floors: what an encoder must beat before anything is said of it. Each is a space like any other, judged by
 * the same code: an encoder of the same make with the weights it starts from (what comes from its shape alone),
 * the picture's own pixels, their principal components, and TF-IDF. They do not depend on training, so their
 * numbers are kept by digests of the data.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { cacheDirectory, writeFileAtomic } from "../../base/files.ts";
import type { ImageStore } from "../../datasets/image-store.ts";
import type { EncoderConfig } from "../../models/config.ts";
import { EncoderSession } from "../../models/session.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { Image, MaskedTokens } from "../../tokenizers/tokenizer.ts";
import { symmetricEigen } from "./eigen.ts";
import { encodeSelection } from "./encode.ts";
import { centred, columnMeans, gramMatrix } from "./gram.ts";
import { denseMatrix, innerProducts, type DenseMatrix } from "./matrix.ts";
import { measureChance, measureSpace, type Space, type SpaceMetrics } from "./measure.ts";
import type { Row, Rows, Selection } from "./selection.ts";
import { TfIdf } from "./tfidf.ts";

/** Raised whenever a floor or a metric changes its meaning, so that no stale number is read. */
const FLOORS_VERSION = 1;
/** Pictures are compared at 16×16 pixels. */
const PIXEL_SIDE = 16;
const PIXEL_DIMENSION = PIXEL_SIDE * PIXEL_SIDE * 3;
/** Principal components kept. */
const COMPONENT_COUNT = 128;

export interface FloorOptions {
  readonly selection: Selection;
  /** Of the encoder that is judged; a floor of random weights has the same. Absent: none. */
  readonly config?: EncoderConfig;
  /** Pictures of all selected rows; absent if no pictures are judged. */
  readonly images?: Pick<ImageStore, "get">;
  /** Called with a floor's name when it is not in the cache. */
  readonly onCompute?: (name: string) => void;
}

/** The numbers of every floor that applies, chance first. */
export async function measureFloors(options: FloorOptions): Promise<readonly SpaceMetrics[]> {
  const { selection, config, images } = options;
  const floors: SpaceMetrics[] = [measureChance(selection)];
  const add = async (
    name: string,
    parameters: unknown,
    make: () => Promise<Space>,
  ): Promise<void> => {
    const path = cachePath(name, selection, parameters);
    let metrics = await readCached(path);
    if (metrics === undefined) {
      options.onCompute?.(name);
      metrics = await measureSpace(await make(), selection);
      await writeCached(path, metrics);
    }
    floors.push(metrics);
  };
  const pictures = selection.rows.image;
  const pixels =
    pictures === undefined || images === undefined
      ? undefined
      : { fit: pixelMatrix(pictures.fit, images), test: pixelMatrix(pictures.test, images) };
  // The dataset's digest is of the picture files; how they were decoded and scaled shows in the pixels alone.
  const pixelDigest =
    pixels === undefined ? null : digestOf([pixels.fit.values, pixels.test.values]);
  if (config !== undefined) {
    const encoder = new TransformerEncoder(config, seededRng(0, "random-init"));
    try {
      const session = await EncoderSession.over(encoder);
      const parameters = [pixelDigest, await fingerprint(session)];
      await add("random-init", parameters, async () => {
        const options = { name: "random-init", kind: "floor", images } as const;
        const space = await encodeSelection(session, selection, options);
        return { ...space, cuts: [space.dimension] };
      });
    } finally {
      encoder.dispose();
    }
  }
  if (pixels !== undefined) {
    await add("pixels-16x16", pixelDigest, async () => pixelSpace(pixels));
    if (pixels.fit.count > 1) {
      await add("pca-128-half-whitened", pixelDigest, async () => halfWhitened(pixels));
    }
  }
  const texts = selection.rows.text;
  if (texts !== undefined && texts.fit.length > 0) {
    await add("tf-idf", null, async () => tfIdfSpace(texts));
  }
  return floors;
}

/** A digest of what an encoder answers to two fixed inputs: changes with its weights, its shape and our code. */
async function fingerprint(session: EncoderSession): Promise<string> {
  const { image, text } = session.config;
  const inputs: MaskedTokens[] = [];
  if (image !== undefined) {
    const pixels = Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) => (at * 37) % 251);
    inputs.push({ tokens: patchify({ width: 32, height: 32, pixels }) });
  }
  if (text !== undefined) {
    const ids = Int32Array.of(300, 20, 1000).map((id) => id % text.vocabularySize);
    inputs.push({ tokens: { kind: "ids", modality: "text", ids } });
  }
  return digestOf(await session.embed(inputs));
}

function digestOf(parts: readonly Float32Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) {
    hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }
  return hash.digest("hex");
}

export interface PixelSets {
  readonly fit: DenseMatrix;
  readonly test: DenseMatrix;
}

function pixelSpace(pixels: PixelSets): Space {
  return {
    name: "pixels-16x16",
    kind: "floor",
    dimension: PIXEL_DIMENSION,
    cuts: [PIXEL_DIMENSION],
    points: { image: pixels },
  };
}

/**
 * The first 128 principal components of the training pixels, each divided by the square root of its standard
 * deviation: half-way between plain PCA (power 0) and whitening (power 1), the strongest of the three here.
 */
export function halfWhitened({ fit, test }: PixelSets): Space {
  const d = fit.dimension;
  const means = columnMeans(fit);
  const covariance = gramMatrix(centred(fit, means), fit.count, d).map((sum) => sum / fit.count);
  const { values, vectors } = symmetricEigen(covariance, d, COMPONENT_COUNT);
  const least = (values[0] ?? 0) * 1e-12; // a component without variance is rounding: scale 0
  const kept = values.subarray(0, COMPONENT_COUNT);
  const scales = kept.map((variance) => (variance > least ? variance ** -0.25 : 0));
  const components: DenseMatrix = {
    kind: "dense",
    count: COMPONENT_COUNT,
    dimension: d,
    values: Float32Array.from(vectors, (value, at) => value * (scales[Math.floor(at / d)] ?? 0)),
  };
  const project = (matrix: DenseMatrix): DenseMatrix => {
    const rows: DenseMatrix = { ...matrix, values: Float32Array.from(centred(matrix, means)) };
    const values = innerProducts(rows, components);
    return { kind: "dense", count: matrix.count, dimension: COMPONENT_COUNT, values };
  };
  return {
    name: "pca-128-half-whitened",
    kind: "floor",
    dimension: COMPONENT_COUNT,
    cuts: [COMPONENT_COUNT],
    points: { image: { fit: project(fit), test: project(test) } },
  };
}

function tfIdfSpace(texts: Rows): Space {
  const textsOf = (rows: readonly Row[]): string[] => rows.map(({ example }) => example.text ?? "");
  const model = TfIdf.fit(textsOf(texts.fit));
  return {
    name: "tf-idf",
    kind: "floor",
    dimension: model.dimension,
    cuts: [model.dimension],
    points: {
      text: {
        fit: model.transform(textsOf(texts.fit)),
        test: model.transform(textsOf(texts.test)),
      },
    },
  };
}

function pixelMatrix(rows: readonly Row[], images: Pick<ImageStore, "get">): DenseMatrix {
  return denseMatrix(
    rows.map(({ example }) => shrink(images.get(example.id))),
    PIXEL_DIMENSION,
  );
}

/** The picture at 16×16 by area average, −1 … 1. @returns Float32Array [768], RGB interleaved */
export function shrink({ width, height, pixels }: Image): Float32Array {
  const out = new Float32Array(PIXEL_DIMENSION);
  const columns = overlaps(width);
  const rows = overlaps(height);
  for (const [y, row, rowWeight] of rows) {
    for (const [x, column, columnWeight] of columns) {
      const weight = (rowWeight * columnWeight) / 127.5;
      for (let channel = 0; channel < 3; channel++) {
        const at = (row * PIXEL_SIDE + column) * 3 + channel;
        out[at] = (out[at] ?? 0) + weight * ((pixels[(y * width + x) * 3 + channel] ?? 0) - 127.5);
      }
    }
  }
  return out;
}

/** How much of each of 16 equal cells every one of `length` pixels fills: [pixel, cell, share of the cell]. */
function overlaps(length: number): readonly (readonly [number, number, number])[] {
  const cell = length / PIXEL_SIDE;
  const result: (readonly [number, number, number])[] = [];
  for (let pixel = 0; pixel < length; pixel++) {
    const first = Math.floor(pixel / cell);
    const last = Math.min(PIXEL_SIDE - 1, Math.floor((pixel + 1) / cell));
    for (let at = first; at <= last; at++) {
      const share = (Math.min(pixel + 1, (at + 1) * cell) - Math.max(pixel, at * cell)) / cell;
      if (share > 0) result.push([pixel, at, share]);
    }
  }
  return result;
}

function cachePath(name: string, selection: Selection, parameters: unknown): string {
  const key = JSON.stringify([
    FLOORS_VERSION,
    name,
    selection.dataset.digest,
    selection.key,
    parameters,
  ]);
  const digest = createHash("sha256").update(key).digest("hex").slice(0, 32);
  return join(cacheDirectory(), "floors", `${name}-${digest}.json`);
}

/** A file that cannot be read or is damaged counts as missing: the floor is computed again. */
async function readCached(path: string): Promise<SpaceMetrics | undefined> {
  try {
    const value = JSON.parse(await readFile(path, "utf8")) as SpaceMetrics;
    return Array.isArray(value.cuts) && typeof value.name === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A cache that cannot be written costs time on the next call, nothing else. */
async function writeCached(path: string, metrics: SpaceMetrics): Promise<void> {
  try {
    await writeFileAtomic(path, JSON.stringify(metrics));
  } catch (error) {
    if (!(error instanceof SomaError)) throw error;
  }
}
