/**
 * What a route is, without a word of the HTTP library: http.ts mounts them. And what a refusal is: the one type
 * that becomes a status code.
 */
import { SomaError } from "../../base/errors.ts";

export interface RouteRequest {
  /** The parsed JSON body; undefined for GET. Comes from a stranger: narrow it. */
  readonly body: unknown;
  /** Values of `:name` parts of the path. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Aborts when the client goes away before its answer. */
  readonly signal: AbortSignal;
}

export interface RouteReply {
  /** Default 200. */
  readonly status?: number;
  /** Default application/json. */
  readonly mediaType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string or bytes are sent as they are, anything else as JSON. */
  readonly body: unknown;
}

/** Whose error body clients of a route expect: OpenAI's, or text-embeddings-inference's. */
export type ErrorShape = "openai" | "tei";

/** A JSON schema, for the documentation alone: handlers check what they get. */
export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Route {
  readonly method: "GET" | "POST";
  /** e.g. "/v1/models/:id" */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly errors: ErrorShape;
  readonly bodySchema?: JsonSchema;
  readonly responseSchema?: JsonSchema;
  /** Bytes of the body at most; more get 413. Default 2 MiB. */
  readonly bodyBytesMax?: number;
  /** Whether it computes: such a route counts against the limits, and is refused while the server drains. */
  readonly computes: boolean;
  handle(request: RouteRequest): Promise<RouteReply> | RouteReply;
}

export interface RefusalInit {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** The field of the body that is wrong, e.g. "input[3]". */
  readonly parameter?: string;
  readonly retryAfterS?: number;
}

/** A request that is not answered, and why. Caught at the HTTP door. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly parameter: string | undefined;
  readonly retryAfterS: number | undefined;

  constructor(init: RefusalInit) {
    super(init.message);
    this.name = "Refusal";
    this.status = init.status;
    this.code = init.code;
    this.parameter = init.parameter;
    this.retryAfterS = init.retryAfterS;
  }
}

/** Codes of our errors whose status does not follow from their kind. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  INPUT_TOO_LONG: 413,
  TEXT_TOO_LARGE: 413,
  IMAGE_TOO_LARGE: 413,
  CLOSING: 503,
};

/** The refusal that an error of ours is; undefined for what is not the client's doing (a bug, a broken backend). */
export function refusalOf(error: unknown, parameter?: string): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (!(error instanceof SomaError)) return undefined;
  const status = STATUS_OF_CODE[error.code] ?? statusOfKind(error);
  if (status === undefined) return undefined;
  return new Refusal({
    status,
    code: error.code,
    message: error.next === undefined ? error.message : `${error.message}; ${error.next}`,
    ...(parameter === undefined ? {} : { parameter }),
    ...(status === 429 || status === 503 ? { retryAfterS: 1 } : {}),
  });
}

function statusOfKind({ kind }: SomaError): number | undefined {
  switch (kind) {
    case "usage":
    case "refused":
    case "corrupt":
      return 422;
    case "notFound":
      return 404;
    case "resources":
      return 429;
    case "failure":
    case "network":
    case "timedOut":
    case "interrupted":
    case "terminated":
      return undefined;
  }
}

/** The JSON body of an error, in the shape that the route's clients read. */
export function errorBody(refusal: Refusal, shape: ErrorShape): unknown {
  const { status, message, parameter = null } = refusal;
  const code = refusal.code.toLowerCase();
  if (shape === "tei") return { error: message, error_type: teiErrorType(status) };
  return { error: { message, type: openaiErrorType(status), param: parameter, code } };
}

function openaiErrorType(status: number): string {
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

function teiErrorType(status: number): string {
  if (status === 429) return "overloaded";
  if (status >= 500) return status === 503 ? "unhealthy" : "backend";
  return status === 413 ? "validation" : "tokenizer";
}
