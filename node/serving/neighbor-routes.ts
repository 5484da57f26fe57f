/** POST /v1/neighbors: the entries of a gallery nearest to a text or a picture, and their pictures. */
import { cosine, cutEmbedding } from "../../models/embedding.ts";
import type { Embedding } from "../../models/encoder.ts";
import type { Gallery, GalleryEntry } from "../../models/gallery.ts";
import { createNeighborIndex } from "../../models/neighbors/create.ts";
import type { NeighborIndex } from "../../models/neighbors/neighbor-index.ts";
import { present } from "../../base/errors.ts";
import type { EmbeddingService } from "./embedding-service.ts";
import { badInput, fieldsOf, isPositiveInteger, optionalField, parseInput } from "./inputs.ts";
import { PICTURE_BODY_BYTES_MAX } from "./openai-routes.ts";
import { Refusal, type Route } from "./route.ts";

/** Neighbours of one answer at most, and without being asked. */
const NEIGHBORS_MAX = 100;
const NEIGHBORS_DEFAULT = 12;
/** Smaller galleries are searched exactly: 2 ms at 5,000 entries of 256, and nothing to build at the start. */
const EXACT_ENTRIES_MAX = 20_000;

/** One neighbour, as it is sent. */
export interface ServedNeighbor {
  readonly id: string;
  readonly text: string | null;
  readonly label: string | null;
  /** Cosine with the query, −1 … 1. */
  readonly score: number;
  /** Path of its thumbnail on this server. */
  readonly picture: string | null;
}

export function neighborRoutes(service: EmbeddingService, gallery: Gallery): readonly Route[] {
  const search = new GallerySearch(gallery);
  return [
    {
      method: "POST",
      path: "/v1/neighbors",
      summary: `The nearest of ${gallery.entries.length} entries of the gallery "${gallery.name}"`,
      tag: "Gallery",
      errors: "openai",
      computes: true,
      bodyBytesMax: PICTURE_BODY_BYTES_MAX,
      bodySchema: {
        type: "object",
        additionalProperties: false,
        properties: {
          text: { type: "string", description: "What to look for; or:" },
          image: { type: "string", description: "A picture in base64, or as a data: URL." },
          k: { type: "integer", minimum: 1, maximum: NEIGHBORS_MAX, default: NEIGHBORS_DEFAULT },
        },
      },
      async handle({ body, signal }) {
        const fields = fieldsOf(body, ["text", "image", "k"]);
        const k = optionalField(fields, "k", isPositiveInteger, "a whole number above 0");
        if (k !== undefined && k > NEIGHBORS_MAX) {
          throw badInput(`"k" is ${k}; at most ${NEIGHBORS_MAX} neighbours are given`, "k");
        }
        const query = Object.entries(fields).filter(([name]) => name !== "k");
        const inputs = [parseInput(Object.fromEntries(query), "query")];
        const { embeddings } = await service.embed({ inputs, name: "query", signal });
        const embedding = present(embeddings[0], "one embedding for one input");
        return { body: search.nearest(embedding, k ?? NEIGHBORS_DEFAULT) };
      },
    },
    {
      method: "GET",
      path: "/v1/gallery/:index",
      summary: "The picture of an entry",
      tag: "Gallery",
      errors: "openai",
      computes: false,
      handle({ parameters }) {
        const { index = "" } = parameters;
        const picture = /^\d{1,9}$/.test(index)
          ? gallery.entries[Number(index)]?.picture
          : undefined;
        if (picture === undefined) {
          throw new Refusal({
            status: 404,
            code: "NO_PICTURE",
            message: `the gallery has no picture ${index}`,
          });
        }
        return {
          mediaType: picture.mediaType,
          headers: { "cache-control": "public, max-age=3600" },
          body: picture.bytes,
        };
      },
    },
  ];
}

/** Neighbours in a gallery, one of each group. */
export class GallerySearch {
  private readonly gallery: Gallery;
  private readonly index: NeighborIndex;

  constructor(gallery: Gallery) {
    this.gallery = gallery;
    const { entries } = gallery;
    const dimension = entries[0]?.embedding.length ?? 1;
    const kind = entries.length > EXACT_ENTRIES_MAX ? "auto" : "exact";
    this.index = createNeighborIndex(dimension, { kind });
    entries.forEach(({ embedding }, row) => {
      this.index.add(embedding, row);
    });
  }

  /** The `count` nearest groups, each by its nearest entry. @param query  Float32Array of the gallery's dimension or longer */
  nearest(query: Embedding, count: number): readonly ServedNeighbor[] {
    const wanted = cutEmbedding(query, { dimension: this.index.dimension });
    // The nearest entries are often drawings of one thing: ask for more until enough groups are among them.
    for (let asked = 4 * count; ; asked *= 4) {
      const groups = new Set<string>();
      const found: ServedNeighbor[] = [];
      const neighbors = this.index.search(wanted, asked);
      for (const { label: row } of neighbors) {
        const entry = present(this.gallery.entries[row], "an entry for each label");
        if (groups.has(entry.group)) continue;
        groups.add(entry.group);
        found.push(served(entry, row, cosine(wanted, entry.embedding)));
        if (found.length === count) return found;
      }
      if (neighbors.length < asked) return found;
    }
  }
}

function served(entry: GalleryEntry, row: number, score: number): ServedNeighbor {
  return {
    id: entry.id,
    text: entry.text ?? null,
    label: entry.label ?? null,
    score,
    picture: entry.picture === undefined ? null : `/v1/gallery/${row}`,
  };
}
