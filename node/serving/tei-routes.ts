/**
 * The API of Hugging Face's text-embeddings-inference: POST /embed and GET /info.
 * Source: text-embeddings-inference, "router" OpenAPI.
 */
import { cutEmbedding } from "../../models/embedding.ts";
import { SOMA_VERSION } from "../../base/version.ts";
import type { ServingConfig } from "./config.ts";
import type { EmbeddingService } from "./embedding-service.ts";
import { fieldsOf, isBoolean, isPositiveInteger, optionalField, parseInputs } from "./inputs.ts";
import {
  assertServedCut,
  INPUT_SCHEMA,
  PICTURE_BODY_BYTES_MAX,
  toList,
  type ServedModel,
} from "./openai-routes.ts";
import type { Route } from "./route.ts";

const FIELDS = ["inputs", "normalize", "truncate", "dimensions"] as const;

export function teiRoutes(
  service: EmbeddingService,
  model: ServedModel,
  config: ServingConfig,
): readonly Route[] {
  const encoder = service.session.config;
  return [
    {
      method: "POST",
      path: "/embed",
      summary: "Embed texts, token ids or pictures: a list of vectors",
      tag: "Text embeddings inference",
      errors: "tei",
      computes: true,
      bodyBytesMax: PICTURE_BODY_BYTES_MAX,
      bodySchema: {
        type: "object",
        required: ["inputs"],
        additionalProperties: false,
        properties: {
          inputs: INPUT_SCHEMA,
          normalize: { type: "boolean", default: true, description: "Scale to length 1." },
          truncate: {
            type: "boolean",
            default: false,
            description:
              "Cut texts that are longer than the model reads, instead of refusing them.",
          },
          dimensions: { type: "integer", enum: [...encoder.matryoshka] },
        },
      },
      async handle({ body, signal }) {
        const fields = fieldsOf(body, FIELDS);
        const normalize = optionalField(fields, "normalize", isBoolean, "true or false") ?? true;
        const truncate = optionalField(fields, "truncate", isBoolean, "true or false") ?? false;
        const dimension = optionalField(fields, "dimensions", isPositiveInteger, "a whole number");
        if (dimension !== undefined) assertServedCut(service, dimension);
        const inputs = parseInputs(fields["inputs"], {
          name: "inputs",
          countMax: config.maxClientBatchSize,
        });
        const { embeddings } = await service.embed({
          inputs,
          name: "inputs",
          signal,
          refuseLong: !truncate,
        });
        const cut = dimension === undefined ? { normalize } : { normalize, dimension };
        return { body: embeddings.map((embedding) => toList(cutEmbedding(embedding, cut))) };
      },
    },
    {
      method: "GET",
      path: "/info",
      summary: "The model and the limits of this server",
      tag: "Text embeddings inference",
      errors: "tei",
      computes: false,
      handle: () => ({
        body: {
          model_id: model.name,
          model_sha: model.digest,
          model_dtype: "float32",
          model_type: { embedding: { pooling: "projection" } },
          max_concurrent_requests: config.maxConcurrentRequests,
          max_input_length: encoder.text?.maxTokens ?? encoder.image?.maxPatches ?? 0,
          max_batch_tokens: config.maxBatchTokens,
          max_client_batch_size: config.maxClientBatchSize,
          max_body_bytes: PICTURE_BODY_BYTES_MAX,
          modalities: service.session.modalities,
          dimension: encoder.dimension,
          matryoshka: encoder.matryoshka,
          version: SOMA_VERSION,
        },
      }),
    },
  ];
}
