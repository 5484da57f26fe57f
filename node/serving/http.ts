/**
 * The HTTP door: mounts routes on fastify, documents them, and turns refusals into status codes. The one file
 * that names fastify and its plugins. Limits: guides "faults" 4.4 "HTTP".
 */
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { SomaError } from "../../base/errors.ts";
import { say } from "../../base/terminal.ts";
import { SOMA_VERSION } from "../../base/version.ts";
import type { Admission } from "./admission.ts";
import type { ServingConfig } from "./config.ts";
import type { ServingMetrics } from "./metrics.ts";
import { errorBody, Refusal, refusalOf } from "./route.ts";
import type { ErrorShape, Route, RouteReply } from "./route.ts";

/** Bytes of a body unless the route says otherwise. */
const BODY_BYTES_MAX = 2 * 2 ** 20;
/** Sockets at most, idle ones counted; each costs some 10 kB. */
const CONNECTIONS_MAX = 4096;

/** In the head of /docs, in the place of the library's own. */
const LOGO =
  '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="40"><text x="2" y="29" font-family="sans-serif" font-size="26" font-weight="700" fill="#fff">Soma</text></svg>';

export interface HttpServerOptions {
  readonly routes: readonly Route[];
  readonly config: ServingConfig;
  readonly admission: Admission;
  readonly metrics: ServingMetrics;
  /** True once the server is going down: computing routes are refused then. */
  readonly isDraining: () => boolean;
}

export interface HttpServer {
  /** Bind and answer. @returns the base URL  @throws SomaError PORT_IN_USE, PORT_DENIED, BAD_HOST */
  listen(): Promise<string>;
  /** Stop listening and close every connection. */
  close(): Promise<void>;
}

export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { config, routes } = options;
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: config.requestTimeoutMs,
    // Idle connections are cut on close, busy ones have been waited for by then.
    forceCloseConnections: true,
    http: {
      headersTimeout: config.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(
        5000,
        Math.ceil(Math.min(config.headersTimeoutMs, config.requestTimeoutMs) / 4),
      ),
    },
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  // Only JSON is taken; the default would also read text/plain.
  app.removeContentTypeParser("text/plain");
  acceptUtf8Json(app);
  // Schemas document; handlers check, with messages of their own, and write their JSON themselves.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.setErrorHandler((error, request, reply) => {
    sendRefusal(reply, refusalOfAny(error), shapeOf(request));
  });
  app.setNotFoundHandler((request, reply) => {
    const refusal = new Refusal({
      status: 404,
      code: "NOT_FOUND",
      message: `there is no ${request.method} ${request.url.split("?")[0] ?? ""}; see /docs`,
    });
    sendRefusal(reply, refusal, "openai");
  });
  addMetrics(app, options.metrics);
  addCors(app, config.corsAllowOrigin);
  await addDocumentation(app);
  for (const route of routes) mount(app, route, options);

  return {
    async listen() {
      try {
        await app.listen({ host: config.host, port: config.port });
      } catch (error) {
        throw listenError(error, config);
      }
      return baseUrl(app, config);
    },
    async close() {
      await app.close();
    },
  };
}

/** JSON is UTF-8 (RFC 8259); fastify alone would embed the replacement character in place of what is not. */
function acceptUtf8Json(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(body as Uint8Array);
    } catch {
      done(new Refusal({ status: 400, code: "BAD_UTF8", message: "the body is not UTF-8" }));
      return;
    }
    // Answers through `done`, at once.
    void parse(request, text, done);
  });
}

function mount(app: FastifyInstance, route: Route, options: HttpServerOptions): void {
  const { admission, isDraining } = options;
  const bodyLimit = route.bodyBytesMax ?? BODY_BYTES_MAX;
  app.route({
    method: route.method,
    url: route.path,
    bodyLimit,
    config: { errors: route.errors },
    schema: {
      summary: route.summary,
      tags: [route.tag],
      ...(route.bodySchema === undefined ? {} : { body: route.bodySchema }),
      ...(route.responseSchema === undefined ? {} : { response: { 200: route.responseSchema } }),
    },
    // Before the body is read: a refused request costs a few headers.
    onRequest: (request, reply, done) => {
      if (!route.computes) {
        done();
        return;
      }
      if (isDraining()) {
        void reply.header("connection", "close");
        done(drainingRefusal());
        return;
      }
      const declared = Number(request.headers["content-length"] ?? bodyLimit);
      const leave = admission.enter(Math.min(declared, bodyLimit));
      if (leave === undefined) {
        done(overloadedRefusal(admission.inFlight));
        return;
      }
      reply.raw.once("close", leave);
      done();
    },
    handler: async (request, reply) => {
      const gone = new AbortController();
      reply.raw.once("close", () => {
        if (!reply.raw.writableFinished) gone.abort(new Error("the client went away"));
      });
      const { status, mediaType, headers, body } = await handleUnlessGone(
        route,
        request,
        gone.signal,
      );
      void reply.code(status ?? 200).headers(headers ?? {});
      void reply.type(mediaType ?? "application/json; charset=utf-8");
      const raw = typeof body === "string" || body instanceof Uint8Array;
      return reply.send(raw ? body : JSON.stringify(body));
    },
  });
}

/** An aborted answer is nobody's error: whatever it throws, there is no one left to tell. */
async function handleUnlessGone(
  route: Route,
  request: FastifyRequest,
  signal: AbortSignal,
): Promise<RouteReply> {
  const parameters = request.params as Readonly<Record<string, string>>;
  try {
    return await route.handle({ body: request.body, parameters, signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Refusal({ status: 499, code: "CLIENT_GONE", message: "the client went away" });
  }
}

declare module "fastify" {
  interface FastifyContextConfig {
    errors?: ErrorShape;
  }
}

function shapeOf(request: FastifyRequest): ErrorShape {
  return request.routeOptions.config.errors ?? "openai";
}

function sendRefusal(reply: FastifyReply, refusal: Refusal, shape: ErrorShape): void {
  if (refusal.retryAfterS !== undefined) {
    void reply.header("retry-after", String(refusal.retryAfterS));
  }
  void reply
    .code(refusal.status)
    .type("application/json; charset=utf-8")
    .send(JSON.stringify(errorBody(refusal, shape)));
}

/** Ours as they are, fastify's by their status; anything else is a bug, told to the operator and not to the client. */
function refusalOfAny(error: unknown): Refusal {
  const known = refusalOf(error);
  if (known !== undefined) return known;
  const { statusCode, code, message } = error as {
    readonly statusCode?: number;
    readonly code?: string;
    readonly message?: string;
  };
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new Refusal({
      status: statusCode,
      code: code?.replace(/^FST_ERR_(?:CTP_)?/, "") ?? "BAD_REQUEST",
      message: message ?? "the request is not valid",
    });
  }
  say(
    `error[INTERNAL]: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  return new Refusal({
    status: 500,
    code: "INTERNAL",
    message: "the server failed; its log says how",
  });
}

function overloadedRefusal(inFlight: number): Refusal {
  return new Refusal({
    status: 429,
    code: "OVERLOADED",
    message: `${inFlight} requests are in flight, as many as this server takes; try again in a second`,
    retryAfterS: 1,
  });
}

function drainingRefusal(): Refusal {
  return new Refusal({
    status: 503,
    code: "CLOSING",
    message: "the server is shutting down; send the request to another one, or again later",
    retryAfterS: 1,
  });
}

function addMetrics(app: FastifyInstance, metrics: ServingMetrics): void {
  app.addHook("onRequest", (request, reply, done) => {
    const startMs = performance.now();
    reply.raw.once("close", () => {
      // 499: nginx' status for a client that did not wait for its answer.
      const status = reply.raw.writableFinished ? reply.raw.statusCode : 499;
      const route = request.routeOptions.url ?? "none";
      metrics.observeRequest(route, status, (performance.now() - startMs) / 1000);
    });
    done();
  });
}

/** Cross-origin headers for the allowed origins; without any, browsers keep other sites' pages away. */
function addCors(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  app.addHook("onRequest", (request, reply, done) => {
    const { origin } = request.headers;
    if (origin !== undefined && (origins.includes("*") || origins.includes(origin))) {
      void reply.header("access-control-allow-origin", origins.includes("*") ? "*" : origin);
      void reply.header("vary", "origin");
      if (
        request.method === "OPTIONS" &&
        request.headers["access-control-request-method"] !== undefined
      ) {
        void reply
          .code(204)
          .header("access-control-allow-methods", "GET, POST")
          .header(
            "access-control-allow-headers",
            request.headers["access-control-request-headers"] ?? "content-type",
          )
          .header("access-control-max-age", "600")
          .send();
        return;
      }
    }
    done();
  });
}

async function addDocumentation(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Soma",
        version: SOMA_VERSION,
        description: "Embeddings of texts and pictures in one space, as OpenAI's API serves them.",
      },
    },
  });
  await app.register(swaggerUi, {
    routePrefix: "/docs",
    staticCSP: true,
    logo: { type: "image/svg+xml", content: Buffer.from(LOGO), href: "/" },
  });
}

function baseUrl(app: FastifyInstance, config: ServingConfig): string {
  const address = app.server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  const host = config.host === "0.0.0.0" || config.host === "::" ? "127.0.0.1" : config.host;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function listenError(error: unknown, { host, port }: ServingConfig): SomaError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
  switch (code) {
    case "EADDRINUSE":
      return new SomaError({
        code: "PORT_IN_USE",
        kind: "failure",
        what: `port ${port} of ${host} is in use`,
        next: `stop what holds it, or take another with --port ${port === 65_535 ? 8080 : port + 1} (0 = any free one)`,
      });
    case "EACCES":
      return new SomaError({
        code: "PORT_DENIED",
        kind: "failure",
        what: `this user may not bind port ${port} of ${host}`,
        next: "take a port above 1023 with --port",
      });
    default:
      return new SomaError(
        {
          code: "BAD_HOST",
          kind: "usage",
          what: `cannot listen on ${host}, port ${port} (${code})`,
          next: "give an address of this machine with --host",
        },
        { cause: error },
      );
  }
}
