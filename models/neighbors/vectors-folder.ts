/**
 * A saved index: vectors.safetensors ([size, dimension] in the order of index.json's labels), index.json with
 * digests, and graph.hnsw if an HNSW graph was built. The vectors are the truth, the graph can be rebuilt.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SomaError } from "../../base/errors.ts";
import { settleFolder, writeFolderAtomic } from "../../base/folders.ts";
import { parseConfig, z } from "../../base/schema.ts";
import { readSafetensors, writeSafetensors } from "../safetensors.ts";
import { LABEL_MAX, type Metric } from "./neighbor-index.ts";

const INDEX_FILE = "index.json";
const VECTORS_FILE = "vectors.safetensors";
const GRAPH_FILE = "graph.hnsw";

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);

const indexDocument = z.strictObject({
  dimension: z.int().positive(),
  metric: z.enum(["cosine", "l2"]),
  labels: z.array(z.int().nonnegative().max(LABEL_MAX)),
  vectors: sha256Hex,
  graph: sha256Hex.optional(),
});

export interface SavedVectors {
  readonly dimension: number;
  readonly metric: Metric;
  /** Label → Float32Array [dimension], in the order they were added. */
  readonly vectors: ReadonlyMap<number, Float32Array>;
  /** The HNSW graph over them, as hnswlib wrote it. */
  readonly graph?: Uint8Array;
}

/** @throws SomaError DISK_FULL (resources) or WRITE_FAILED (failure) */
export async function saveVectors(directory: string, saved: SavedVectors): Promise<void> {
  const { dimension, metric, vectors, graph } = saved;
  const rows = new Float32Array(vectors.size * dimension);
  [...vectors.values()].forEach((vector, row) => {
    rows.set(vector, row * dimension);
  });
  const weights = writeSafetensors(
    new Map([["vectors", { shape: [vectors.size, dimension], data: rows }]]),
  );
  const document = {
    dimension,
    metric,
    labels: [...vectors.keys()],
    vectors: sha256(weights),
    ...(graph === undefined ? {} : { graph: sha256(graph) }),
  };
  const files = new Map<string, Uint8Array | string>([
    [INDEX_FILE, `${JSON.stringify(document)}\n`],
    [VECTORS_FILE, weights],
  ]);
  if (graph !== undefined) files.set(GRAPH_FILE, graph);
  await writeFolderAtomic(directory, files);
}

/**
 * Read a saved index. A graph that is missing or damaged is left out, and `warn` told: it can be rebuilt.
 * @throws SomaError CORRUPT_INDEX (corrupt) if the vectors or their description are
 */
export async function readVectors(
  directory: string,
  warn: (sentence: string) => void,
): Promise<SavedVectors> {
  await settleFolder(directory);
  const refuse = (file: string, what: string): SomaError =>
    new SomaError({
      code: "CORRUPT_INDEX",
      kind: "corrupt",
      what: `${join(directory, file)}: ${what}`,
      next: "build the index again from the embeddings",
    });
  const bytesOf = async (file: string): Promise<Uint8Array> => {
    try {
      return await readFile(join(directory, file));
    } catch {
      throw refuse(file, "it cannot be read");
    }
  };
  let document: z.output<typeof indexDocument>;
  try {
    const text = new TextDecoder().decode(await bytesOf(INDEX_FILE));
    document = parseConfig(indexDocument, JSON.parse(text) as unknown, INDEX_FILE);
  } catch (error) {
    throw refuse(INDEX_FILE, error instanceof Error ? error.message : "it is not JSON");
  }
  const { dimension, metric, labels } = document;
  const weights = await bytesOf(VECTORS_FILE);
  if (sha256(weights) !== document.vectors) {
    throw refuse(VECTORS_FILE, "its SHA-256 is not the one in index.json");
  }
  const rows = readSafetensors(weights, join(directory, VECTORS_FILE)).tensors.get("vectors");
  if (rows?.shape.length !== 2 || rows.shape[0] !== labels.length || rows.shape[1] !== dimension) {
    throw refuse(VECTORS_FILE, "it does not hold a vector for each label");
  }
  if (new Set(labels).size !== labels.length) throw refuse(INDEX_FILE, "a label appears twice");
  const vectors = new Map(
    labels.map((label, row) => [label, rows.data.subarray(row * dimension, (row + 1) * dimension)]),
  );
  const graph = await readGraph(directory, document.graph, warn);
  return { dimension, metric, vectors, ...(graph === undefined ? {} : { graph }) };
}

/** hnswlib crashes on a damaged file, or loads it and answers nonsense: only the exact bytes it wrote may reach it. */
async function readGraph(
  directory: string,
  digest: string | undefined,
  warn: (sentence: string) => void,
): Promise<Uint8Array | undefined> {
  if (digest === undefined) return undefined;
  const path = join(directory, GRAPH_FILE);
  try {
    const graph = await readFile(path);
    if (sha256(graph) === digest) return graph;
  } catch {
    // Missing or unreadable: the same remedy.
  }
  warn(`${path} is missing or damaged; the index is rebuilt from its vectors`);
  return undefined;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
