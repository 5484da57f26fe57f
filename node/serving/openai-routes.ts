/**
 * OpenAI's API: POST /v1/embeddings and GET /v1/models, with pictures as Jina's API takes them.
 * Source: OpenAI API reference "Embeddings", "Models"; Jina AI Embeddings API, input of jina-clip.
 */
import { assertCut, cutEmbedding } from "../../models/embedding.ts";
import type { Embedding } from "../../models/encoder.ts";
import type { EmbeddingService } from "./embedding-service.ts";
import {
  badInput,
  fieldsOf,
  isPositiveInteger,
  isString,
  optionalField,
  parseInputs,
} from "./inputs.ts";
import { Refusal, refusalOf, type JsonSchema, type Route } from "./route.ts";
import type { ServingConfig } from "./config.ts";

/** Bytes of a body that may hold a picture: the 8 MiB that a picture may have, a third more in base64, and some air. */
export const PICTURE_BODY_BYTES_MAX = 12 * 2 ** 20;

/** Names whichever model is served, for clients that do not ask which it is. */
const ANY_MODEL = "soma";

export interface ServedModel {
  readonly name: string;
  /** Seconds since 1970 when the checkpoint was written. */
  readonly createdS: number;
  /** SHA-256 hex of the checkpoint. */
  readonly digest: string;
}

const FIELDS = ["model", "input", "encoding_format", "dimensions", "user"] as const;

export function openaiRoutes(
  service: EmbeddingService,
  model: ServedModel,
  config: ServingConfig,
): readonly Route[] {
  const { session } = service;
  const modelObject = {
    id: model.name,
    object: "model",
    created: model.createdS,
    owned_by: "soma",
  };
  return [
    {
      method: "POST",
      path: "/v1/embeddings",
      summary: "Embed texts, token ids or pictures",
      tag: "OpenAI",
      errors: "openai",
      computes: true,
      bodyBytesMax: PICTURE_BODY_BYTES_MAX,
      bodySchema: embeddingsSchema(model.name, session.config.matryoshka),
      async handle({ body, signal }) {
        const fields = fieldsOf(body, FIELDS);
        const name = optionalField(fields, "model", isString, "a string");
        if (name === undefined) throw badInput('"model" is missing', "model");
        if (!isServed(name, model)) throw unknownModel(name, model.name);
        const format = optionalField(fields, "encoding_format", isFormat, '"float" or "base64"');
        const dimension = optionalField(fields, "dimensions", isPositiveInteger, "a whole number");
        if (dimension !== undefined) assertServedCut(service, dimension);
        const inputs = parseInputs(fields["input"], {
          name: "input",
          countMax: config.maxClientBatchSize,
        });
        const { embeddings, tokens } = await service.embed({ inputs, name: "input", signal });
        const encode = format === "base64" ? toBase64 : toList;
        return {
          body: {
            object: "list",
            data: embeddings.map((embedding, index) => ({
              object: "embedding",
              index,
              embedding: encode(
                cutEmbedding(embedding, dimension === undefined ? {} : { dimension }),
              ),
            })),
            model: model.name,
            usage: { prompt_tokens: tokens, total_tokens: tokens },
          },
        };
      },
    },
    {
      method: "GET",
      path: "/v1/models",
      summary: "The model that is served",
      tag: "OpenAI",
      errors: "openai",
      computes: false,
      handle: () => ({ body: { object: "list", data: [modelObject] } }),
    },
    {
      method: "GET",
      path: "/v1/models/:id",
      summary: "One model",
      tag: "OpenAI",
      errors: "openai",
      computes: false,
      handle({ parameters }) {
        const { id = "" } = parameters;
        if (!isServed(id, model)) throw unknownModel(id, model.name);
        return { body: modelObject };
      },
    },
  ];
}

/** @throws Refusal 422 naming the cuts there are */
export function assertServedCut(service: EmbeddingService, dimension: number): void {
  try {
    assertCut(service.session.config, dimension);
  } catch (error) {
    throw refusalOf(error, "dimensions") ?? error;
  }
}

export function toList(embedding: Embedding): readonly number[] {
  return Array.from(embedding);
}

/** Little-endian float32, as OpenAI's clients decode it. */
function toBase64(embedding: Embedding): string {
  return Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength).toString(
    "base64",
  );
}

const isFormat = (value: unknown): value is "float" | "base64" =>
  value === "float" || value === "base64";

const isServed = (name: string, model: ServedModel): boolean =>
  name === model.name || name === ANY_MODEL;

function unknownModel(name: string, served: string): Refusal {
  return new Refusal({
    status: 404,
    code: "MODEL_NOT_FOUND",
    message: `this server has no model "${name}"; it serves "${served}"`,
    parameter: "model",
  });
}

export const INPUT_SCHEMA: JsonSchema = {
  description:
    "A text, token ids, or a list of texts, of lists of ids, or of objects with a text or a picture. " +
    "A picture is jpeg, png or webp of at most 8 MiB, in base64 or as a data: URL; other URLs are not fetched.",
  oneOf: [
    { type: "string", examples: ["a smiling cat"] },
    { type: "array", items: { type: "integer" } },
    {
      type: "array",
      items: {
        oneOf: [
          { type: "string" },
          { type: "array", items: { type: "integer" } },
          { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
          { type: "object", properties: { image: { type: "string" } }, required: ["image"] },
        ],
      },
    },
  ],
};

function embeddingsSchema(model: string, cuts: readonly number[]): JsonSchema {
  return {
    type: "object",
    required: ["model", "input"],
    additionalProperties: false,
    properties: {
      model: { type: "string", enum: [...new Set([model, ANY_MODEL])] },
      input: INPUT_SCHEMA,
      encoding_format: { type: "string", enum: ["float", "base64"], default: "float" },
      dimensions: {
        type: "integer",
        enum: [...cuts],
        description: "Keep this many values, scaled to length 1 again.",
      },
      user: { type: "string", description: "Taken and ignored." },
    },
  };
}
