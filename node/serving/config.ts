/** How a server is run: parsed and checked at the edge, frozen; all defaults stand here. */
import { parseConfig, z } from "../../base/schema.ts";
import { MODALITIES } from "../../tokenizers/modality.ts";

/** The longest input there is must fit into a batch. */
const LONGEST_INPUT = Math.max(MODALITIES.text.unitsMax, MODALITIES.image.unitsMax);

const servingConfig = z.strictObject({
  /** Address to bind; 0.0.0.0 opens the server to the network. */
  host: z.string().min(1).default("127.0.0.1"),
  /** 0 takes any free port. */
  port: z.int().min(0).max(65_535).default(8080),
  /** Tokens of one batch at most, padding counted. */
  maxBatchTokens: z.int().min(LONGEST_INPUT).default(16_384),
  /** Requests being answered or waiting at most; more get 429. */
  maxConcurrentRequests: z.int().min(1).default(512),
  /** Inputs of one request at most; more get 413. */
  maxClientBatchSize: z.int().min(1).default(32),
  /** Origins whose pages may call the API from a browser; "*" = any. None by default. */
  corsAllowOrigin: z.array(z.string().min(1)).default([]),
  /** How long the first input of a batch waits for company. */
  batchWaitMs: z.number().min(0).default(2),
  /** A client must send its headers, and its whole request, within these. */
  headersTimeoutMs: z.int().min(1).default(10_000),
  requestTimeoutMs: z.int().min(1).default(30_000),
  /** How long a shutdown waits for requests in flight. */
  drainTimeoutMs: z.int().min(0).default(30_000),
  /** Bytes of all request bodies being held at most; more get 429. */
  bodyBytesInFlightMax: z
    .int()
    .min(1)
    .default(256 * 2 ** 20),
});

export type ServingConfig = z.output<typeof servingConfig>;

/** @throws SomaError BAD_CONFIG or UNKNOWN_KEY (usage) */
export function parseServingConfig(
  value: z.input<typeof servingConfig>,
  where = "server settings",
): ServingConfig {
  return parseConfig(servingConfig, value, where);
}
