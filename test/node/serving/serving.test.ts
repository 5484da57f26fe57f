import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBackend, tf } from "../../../models/backend.ts";
import { saveCheckpoint } from "../../../models/checkpoint.ts";
import { readCheckpoint } from "../../../models/checkpoint-folder.ts";
import { cosine } from "../../../models/embedding.ts";
import { writeGallery } from "../../../models/gallery.ts";
import { EncoderSession } from "../../../models/session.ts";
import { TransformerEncoder } from "../../../models/transformer.ts";
import { parseServingConfig } from "../../../node/serving/config.ts";
import type { ServedNeighbor } from "../../../node/serving/neighbor-routes.ts";
import { startServing, type Serving } from "../../../node/serving/serve.ts";
import { encodePng } from "../../../tokenizers/image/decode.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { TINY_CARD, TINY_CONFIG, TINY_IMAGE_CONFIG } from "../../support/tiny-encoder.ts";

let home: string;
let checkpoint: string;
let imageCheckpoint: string;
let gallery: string;
let serving: Serving;
let session: EncoderSession;
let client: OpenAI;
let picture: Buffer;

beforeAll(async () => {
  await startBackend();
  home = await mkdtemp(join(tmpdir(), "soma-serving-"));
  checkpoint = join(home, "tiny");
  imageCheckpoint = join(home, "tiny-image");
  await saveRandom(checkpoint, TINY_CONFIG);
  await saveRandom(imageCheckpoint, TINY_IMAGE_CONFIG);
  session = await EncoderSession.open(checkpoint);
  picture = Buffer.from(await pictureOf(64, 64));
  gallery = join(home, "gallery");
  await writeToyGallery(gallery);
  serving = await start({}, { gallery });
  client = new OpenAI({ baseURL: `${serving.url}/v1`, apiKey: "none", maxRetries: 0 });
});

afterAll(async () => {
  await serving.close();
  session.dispose();
  await rm(home, { recursive: true, force: true });
});

async function saveRandom(folder: string, config: typeof TINY_CONFIG): Promise<void> {
  const encoder = new TransformerEncoder(config, seededRng(7, "weights"));
  await saveCheckpoint(folder, { encoder, card: TINY_CARD });
  encoder.dispose();
}

function pictureOf(width: number, height: number, fill = 0): Promise<Uint8Array> {
  return encodePng({
    width,
    height,
    pixels: Uint8Array.from({ length: width * height * 3 }, (_, i) => (fill + i * 7) % 256),
  });
}

/** Six texts in three groups, each with a picture. */
async function writeToyGallery(folder: string): Promise<void> {
  const texts = ["cat", "kitten", "dog", "puppy", "rain", "storm"];
  const embeddings = await session.embedTexts(texts);
  const thumbnail = await pictureOf(16, 16);
  await writeGallery(folder, {
    name: "toys",
    credits: "Drawn for a test.",
    checkpointDigest: (await readCheckpoint(checkpoint)).digest,
    entries: texts.map((text, i) => ({
      id: `toy-${i}`,
      group: `group-${i >> 1}`,
      text,
      label: i < 4 ? "animals" : "weather",
      embedding: embeddings[i] ?? new Float32Array(32),
      picture: { mediaType: "image/png" as const, bytes: thumbnail },
    })),
  });
}

function start(
  settings: Parameters<typeof parseServingConfig>[0],
  options: { gallery?: string; checkpoint?: string } = {},
): Promise<Serving> {
  const config = parseServingConfig({ port: 0, ...settings });
  return startServing({ checkpoint, config, ...options });
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** The shapes that answers are expected to have; what they truly hold is for the tests to find out. */
interface EmbeddingList {
  readonly data: readonly { readonly embedding: unknown }[];
}
interface Failure {
  readonly error: { readonly message: string; readonly param: string | null };
}

async function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${serving.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const { status, headers: answered } = response;
  return { status, headers: answered, body: (await response.json()) };
}

const dataUrl = (): string => `data:image/png;base64,${picture.toString("base64")}`;

describe("the official OpenAI client, unchanged,", () => {
  test("gets the embedding of a text, equal to the session's", async () => {
    const answer = await client.embeddings.create({ model: "tiny", input: "a smiling cat" });
    const [expected] = await session.embedTexts(["a smiling cat"]);
    expect(answer.object).toBe("list");
    expect(answer.model).toBe("tiny");
    expect(answer.data[0]?.embedding).toHaveLength(32);
    expect(
      cosine(Float32Array.from(answer.data[0]?.embedding ?? []), expected ?? new Float32Array(32)),
    ).toBeCloseTo(1, 5);
    const tokens = session.tokenizeText("a smiling cat").ids.length;
    expect(answer.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
  });

  test("gets the same numbers as floats and as base64", async () => {
    const input = ["one", "two", "three"];
    const [floats, base64] = await Promise.all([
      client.embeddings.create({ model: "tiny", input, encoding_format: "float" }),
      client.embeddings.create({ model: "tiny", input }), // the client asks for base64 and decodes it
    ]);
    for (const [i, { embedding, index }] of floats.data.entries()) {
      expect(index).toBe(i);
      const decoded = base64.data[i]?.embedding ?? [];
      expect(Array.from(decoded)).toHaveLength(32);
      embedding.forEach((value, d) => {
        expect(value).toBeCloseTo(decoded[d] ?? NaN, 5);
      });
    }
    const raw = await post("/v1/embeddings", { model: "tiny", input, encoding_format: "base64" });
    const text = (raw.body as EmbeddingList).data[0]?.embedding as string;
    expect(Buffer.from(text, "base64")).toHaveLength(4 * 32);
  });

  test("keeps the order of a batch", async () => {
    const input = Array.from({ length: 32 }, (_, i) => "word ".repeat(1 + ((i * 7) % 20)));
    const { data } = await client.embeddings.create({ model: "tiny", input });
    const expected = await session.embedTexts(input);
    for (const [i, embedding] of expected.entries()) {
      expect(cosine(Float32Array.from(data[i]?.embedding ?? []), embedding)).toBeGreaterThan(
        0.9999,
      );
    }
  });

  test("may send token ids, one list or many", async () => {
    const text = "a smiling cat";
    const ids = [...session.tokenizeText(text).ids];
    const [byText, byIds, byLists] = await Promise.all(
      [text, ids, [ids, ids]].map((input) => client.embeddings.create({ model: "tiny", input })),
    );
    expect(byIds?.usage).toEqual(byText?.usage);
    expect(byLists?.data).toHaveLength(2);
    const reference = Float32Array.from(byText?.data[0]?.embedding ?? []);
    for (const { embedding } of [...(byIds?.data ?? []), ...(byLists?.data ?? [])]) {
      expect(cosine(Float32Array.from(embedding), reference)).toBeCloseTo(1, 5);
    }
  });

  test("may cut the embedding at a Matryoshka cut, and gets length 1", async () => {
    const full = await client.embeddings.create({ model: "tiny", input: "cat" });
    const cut = await client.embeddings.create({ model: "tiny", input: "cat", dimensions: 8 });
    const short = Float32Array.from(cut.data[0]?.embedding ?? []);
    expect(short).toHaveLength(8);
    expect(Math.hypot(...short)).toBeCloseTo(1, 5);
    const prefix = Float32Array.from(full.data[0]?.embedding.slice(0, 8) ?? []);
    expect(cosine(short, prefix)).toBeCloseTo(1, 5);
  });

  test("lists and retrieves the model", async () => {
    const { data } = await client.models.list();
    expect(data).toEqual([
      { id: "tiny", object: "model", created: expect.any(Number) as number, owned_by: "soma" },
    ]);
    expect(await client.models.retrieve("tiny")).toEqual(data[0]);
  });

  test("understands our errors", async () => {
    const error = await client.embeddings
      .create({ model: "gpt", input: "x" })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({
      status: 404,
      code: "model_not_found",
      param: "model",
      type: "invalid_request_error",
    });
    expect((error as APIError).message).toContain('it serves "tiny"');
  });
});

describe("pictures", () => {
  test("come as base64 or data: URLs beside texts, as in Jina's API", async () => {
    const input = [{ image: dataUrl() }, { text: "a cat" }, { image: picture.toString("base64") }];
    const { status, body } = await post("/v1/embeddings", { model: "tiny", input });
    expect(status).toBe(200);
    const [fromUrl, text, fromBase64] = (body as EmbeddingList).data.map(({ embedding }) =>
      Float32Array.from(embedding as number[]),
    );
    const [image] = await session.embedImages([picture]);
    const [words] = await session.embedTexts(["a cat"]);
    const none = new Float32Array(32);
    expect(cosine(fromUrl ?? none, image ?? none)).toBeCloseTo(1, 5);
    expect(cosine(fromBase64 ?? none, image ?? none)).toBeCloseTo(1, 5);
    expect(cosine(text ?? none, words ?? none)).toBeCloseTo(1, 5);
  });

  test.each([
    ["an http URL, which is never fetched", "http://127.0.0.1:1/cat.png", /never fetched/],
    ["an https URL", "https://example.org/cat.png", /never fetched/],
    ["a file URL", "file:///etc/passwd", /never fetched/],
    ["no base64", "not base64!", /is not base64/],
    ["a data: URL that is not base64", "data:image/png,abc", /without ";base64,"/],
    ["bytes that are no picture", Buffer.from("hello, world").toString("base64"), /.+/],
    ["a picture cut off", "CUT", /.+/],
    ["an svg", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>').toString("base64"), /.+/],
  ])("that are %s are refused with 422 and the place", async (_, image, message) => {
    const sent =
      image === "CUT" ? picture.subarray(0, picture.length >> 1).toString("base64") : image;
    const { status, body } = await post("/v1/embeddings", {
      model: "tiny",
      input: [{ text: "ok" }, { image: sent }],
    });
    expect(status).toBe(422);
    expect((body as Failure).error.message).toMatch(message);
    expect((body as Failure).error.param).toBe("input[1]");
  });
});

describe("bad requests", () => {
  const ok = { model: "tiny", input: "x" };
  test.each<[string, unknown, number, string | null]>([
    ["no model", { input: "x" }, 422, "model"],
    ["a model that is a number", { ...ok, model: 3 }, 422, "model"],
    ["another model", { ...ok, model: "gpt" }, 404, "model"],
    ["no input", { model: "tiny" }, 422, "input"],
    ["an input of null", { ...ok, input: null }, 422, "input"],
    ["an empty text", { ...ok, input: "" }, 422, "input"],
    ["a text of spaces", { ...ok, input: "  \n" }, 422, "input"],
    ["a text of control characters", { ...ok, input: "\u0001\u0002" }, 422, "input"],
    ["an empty list", { ...ok, input: [] }, 422, "input"],
    ["an empty text in a list", { ...ok, input: ["a", ""] }, 422, "input[1]"],
    ["an object in the place of a text", { ...ok, input: {} }, 422, "input"],
    ["an object of both kinds", { ...ok, input: [{ text: "a", image: "b" }] }, 422, "input[0]"],
    ["an unknown kind", { ...ok, input: [{ video: "a" }] }, 422, "video"],
    ["an input that is a boolean", { ...ok, input: true }, 422, "input"],
    ["a list of ids and texts", { ...ok, input: [1, "a"] }, 422, "input[0]"],
    ["an id outside the vocabulary", { ...ok, input: [8192] }, 422, "input"],
    ["a negative id", { ...ok, input: [-1] }, 422, "input"],
    ["half an id", { ...ok, input: [1.5] }, 422, "input"],
    ["an id that wraps", { ...ok, input: [2 ** 32] }, 422, "input"],
    ["more ids than the encoder reads", { ...ok, input: new Array(65).fill(5) }, 413, "input"],
    [
      "more inputs than a request may have",
      { ...ok, input: new Array(33).fill("a") },
      413,
      "input",
    ],
    [
      "3 MiB of text",
      { ...ok, input: ["a".repeat(2 ** 20), "a".repeat(2 ** 20), "a".repeat(2 ** 20)] },
      413,
      "input",
    ],
    ["a text over 1 MiB", { ...ok, input: "a".repeat(2 ** 20 + 1) }, 413, "input"],
    ["an unknown format", { ...ok, encoding_format: "int8" }, 422, "encoding_format"],
    ["a dimension that is no cut", { ...ok, dimensions: 9 }, 422, "dimensions"],
    ["a dimension that is text", { ...ok, dimensions: "8" }, 422, "dimensions"],
    ["an unknown field", { ...ok, encodingformat: "float" }, 422, "encodingformat"],
    ["a list for a body", [ok], 422, null],
    ["a body that is not JSON", "{", 400, null],
    ["an empty body", "", 400, null],
    ["a prototype in the body", '{"model":"tiny","input":"x","__proto__":{"a":1}}', 400, null],
    [
      "a constructor in the body",
      '{"model":"tiny","input":"x","constructor":{"prototype":{"a":1}}}',
      400,
      null,
    ],
  ])("with %s are refused", async (_, body, status, parameter) => {
    const answer = await post("/v1/embeddings", body);
    expect(answer.status).toBe(status);
    expect(answer.body).toEqual({
      error: {
        message: expect.stringMatching(/.{10}/) as string,
        type: "invalid_request_error",
        param: parameter,
        code: expect.stringMatching(/^[a-z_]+$/) as string,
      },
    });
  });

  test("name the nearest field there is", async () => {
    const { body } = await post("/v1/embeddings", { model: "tiny", inputs: "x" });
    expect((body as Failure).error.message).toBe('unknown field "inputs"; did you mean "input"?');
  });

  test("that are not JSON by their type get 415, missing routes 404, bodies over the limit 413", async () => {
    expect((await post("/v1/embeddings", "x", { "content-type": "text/plain" })).status).toBe(415);
    expect((await post("/v1/embeddings", "x", { "content-type": "application/xml" })).status).toBe(
      415,
    );
    expect((await post("/v1/nothing", {})).status).toBe(404);
    expect((await fetch(`${serving.url}/v1/embeddings`)).status).toBe(404);
    const huge = JSON.stringify({ model: "tiny", input: "a".repeat(13 * 2 ** 20) });
    expect((await post("/v1/embeddings", huge)).status).toBe(413);
  });

  test("get no stack, no path, and no header of the library", async () => {
    const { body, headers } = await post("/v1/embeddings", "{");
    expect(JSON.stringify(body)).not.toMatch(/node_modules|at .*\.ts|\/home/);
    expect(headers.get("x-powered-by")).toBeNull();
  });

  test("about text are refused by a model of pictures", async () => {
    const images = await start({}, { checkpoint: imageCheckpoint });
    const ask = (input: unknown): Promise<Response> =>
      fetch(`${images.url}/v1/embeddings`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "tiny", input }),
      });
    expect((await ask("a cat")).status).toBe(422);
    expect((await ask([1, 2])).status).toBe(422);
    expect((await ask([{ image: dataUrl() }])).status).toBe(200);
    await images.close();
  });
});

describe("text-embeddings-inference's API", () => {
  test("/embed gives bare vectors, of length 1 unless asked otherwise", async () => {
    const { body } = await post("/embed", { inputs: ["a cat", "a dog"] });
    expect(body).toHaveLength(2);
    expect(Math.hypot(...((body as number[][])[0] ?? []))).toBeCloseTo(1, 5);
    const [raw] = await session.embed([{ tokens: session.tokenizeText("a cat") }]);
    const asked = await post("/embed", { inputs: "a cat", normalize: false });
    (asked.body as number[][])[0]?.forEach((value, d) => {
      expect(value).toBeCloseTo(raw?.[d] ?? NaN, 4);
    });
  });

  test("/embed refuses long texts unless they may be truncated, in its own error shape", async () => {
    const inputs = "word ".repeat(100);
    const refused = await post("/embed", { inputs });
    expect(refused.status).toBe(413);
    expect(refused.body).toEqual({
      error: expect.stringContaining("64") as string,
      error_type: "validation",
    });
    expect((await post("/embed", { inputs, truncate: true })).status).toBe(200);
    expect((await post("/embed", { inputs: "" })).body).toMatchObject({ error_type: "tokenizer" });
  });

  test("/info tells the model and its limits", async () => {
    const info = (await (await fetch(`${serving.url}/info`)).json()) as Record<string, unknown>;
    expect(info).toMatchObject({
      model_id: "tiny",
      max_client_batch_size: 32,
      max_input_length: 64,
      matryoshka: [8, 16, 32],
      modalities: ["image", "text"],
    });
  });
});

describe("the gallery", () => {
  test("gives the nearest entry of each group, nearest first, with a picture that can be fetched", async () => {
    const { status, body } = await post("/v1/neighbors", { text: "kitten", k: 2 });
    expect(status).toBe(200);
    expect(body).toHaveLength(2);
    const [first, second] = body as ServedNeighbor[];
    expect(first).toMatchObject({ id: "toy-1", text: "kitten", label: "animals" });
    expect(first?.score).toBeCloseTo(1, 4);
    expect(second?.score).toBeLessThanOrEqual(first?.score ?? -1);
    const response = await fetch(`${serving.url}${first?.picture ?? ""}`);
    expect(response.headers.get("content-type")).toBe("image/png");
    expect(
      Buffer.from(await response.arrayBuffer())
        .subarray(1, 4)
        .toString(),
    ).toBe("PNG");
    const all = await post("/v1/neighbors", { image: dataUrl() });
    expect(all.body).toHaveLength(3); // six entries, three groups
  });

  test.each([
    [{}, 422],
    [{ text: "a", image: "b" }, 422],
    [{ text: "a", k: 0 }, 422],
    [{ text: "a", k: 101 }, 422],
    [{ word: "a" }, 422],
  ])("refuses %j", async (body, status) => {
    expect((await post("/v1/neighbors", body)).status).toBe(status);
  });

  test.each(["/v1/gallery/6", "/v1/gallery/-1", "/v1/gallery/..%2f..%2fetc", "/v1/gallery/1e0"])(
    "has nothing at %s",
    async (path) => {
      expect((await fetch(`${serving.url}${path}`)).status).toBe(404);
    },
  );

  test("of another checkpoint is refused", async () => {
    await expect(start({}, { gallery, checkpoint: imageCheckpoint })).rejects.toMatchObject({
      code: "FOREIGN_GALLERY",
    });
  });
});

describe("for operators", () => {
  test("health, readiness, documentation and the page are there, and need nothing from elsewhere", async () => {
    for (const path of ["/healthz", "/health", "/readyz"]) {
      expect((await fetch(`${serving.url}${path}`)).status).toBe(200);
    }
    const openapi = (await (await fetch(`${serving.url}/docs/json`)).json()) as {
      paths: Record<string, unknown>;
    };
    expect(Object.keys(openapi.paths)).toEqual(
      expect.arrayContaining([
        "/v1/embeddings",
        "/v1/models",
        "/embed",
        "/info",
        "/v1/neighbors",
        "/metrics",
      ]),
    );
    expect(await (await fetch(`${serving.url}/docs/`)).text()).toContain("swagger");
    const page = await fetch(serving.url);
    const html = await page.text();
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  });

  test("metrics count requests, batches and tokens", async () => {
    await post("/embed", { inputs: "counted" });
    await post("/embed", { inputs: "" });
    const text = await (await fetch(`${serving.url}/metrics`)).text();
    expect(text).toMatch(/soma_requests_total\{route="\/embed",status="200"\} \d+/);
    expect(text).toMatch(/soma_requests_total\{route="\/embed",status="422"\} \d+/);
    expect(text).toMatch(/soma_tokens_total\{modality="text"\} [1-9]/);
    expect(text).toMatch(/soma_batch_tokens_count [1-9]/);
    expect(text).toMatch(/soma_request_duration_seconds_bucket\{le="0.1",route="\/embed"\} \d+/);
    expect(text).toMatch(/^soma_queue_inputs 0$/m);
    expect(text).toMatch(/^soma_requests_in_flight 0$/m);
  });

  test("pages of other origins may call only when their origin is allowed", async () => {
    const closed = await fetch(`${serving.url}/info`, { headers: { origin: "https://a.example" } });
    expect(closed.headers.get("access-control-allow-origin")).toBeNull();
    const open = await start({ corsAllowOrigin: ["https://a.example"] });
    const ask = (origin: string, method = "GET"): Promise<Response> =>
      fetch(`${open.url}/v1/embeddings`, {
        method,
        headers: { origin, "access-control-request-method": "POST" },
      });
    expect(
      (await ask("https://b.example", "OPTIONS")).headers.get("access-control-allow-origin"),
    ).toBeNull();
    const allowed = await ask("https://a.example", "OPTIONS");
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://a.example");
    await open.close();
  });

  test("a port in use is an error that says which to take", async () => {
    const port = Number(new URL(serving.url).port);
    const error = await start({ port }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "PORT_IN_USE",
      exitCode: 1,
      next: expect.stringContaining("--port") as string,
    });
  });

  test("a host that is not this machine's is an error", async () => {
    await expect(start({ host: "203.0.113.1" })).rejects.toMatchObject({
      code: "BAD_HOST",
      exitCode: 2,
    });
  });
});

describe("under load", () => {
  test("requests beyond the limit get 429 and a time to come back, and the others their answer", async () => {
    // A wait of 300 ms holds what is taken, so that the third is sure to find the server full.
    const small = await start({ maxConcurrentRequests: 2, batchWaitMs: 300 });
    const ask = (): Promise<Response> =>
      fetch(`${small.url}/v1/embeddings`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "tiny", input: "x" }),
      });
    const answers = await Promise.all([ask(), ask(), ask(), ask()]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 429, 429]);
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.headers.get("retry-after")).toBe("1");
    expect(await refused?.json()).toMatchObject({
      error: { type: "rate_limit_error", code: "overloaded" },
    });
    expect((await fetch(`${small.url}/healthz`)).status).toBe(200);
    expect((await ask()).status).toBe(200); // places are given back
    await small.close();
  });

  test("large bodies count before they are read", async () => {
    const small = await start({ bodyBytesInFlightMax: 1000, batchWaitMs: 300 });
    const body = JSON.stringify({ model: "tiny", input: "x".repeat(800) });
    const ask = (): Promise<Response> =>
      fetch(`${small.url}/v1/embeddings`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
    const statuses = (await Promise.all([ask(), ask()])).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 429]);
    await small.close();
  });

  test("a client that goes away gives its place back and costs no batch", async () => {
    const small = await start({ maxConcurrentRequests: 1, batchWaitMs: 200 });
    const gone = new AbortController();
    const ask = (signal?: AbortSignal): Promise<Response> =>
      fetch(`${small.url}/embed`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ inputs: "x" }),
        signal: signal ?? null,
      });
    const first = ask(gone.signal);
    setTimeout(() => {
      gone.abort();
    }, 50);
    await expect(first).rejects.toThrow();
    await expect.poll(async () => (await ask()).status, { timeout: 3000 }).toBe(200);
    const metrics = await (await fetch(`${small.url}/metrics`)).text();
    expect(metrics).toMatch(/soma_requests_total\{route="\/embed",status="499"\} 1/);
    await small.close();
  });

  test("slow clients are cut: headers that do not end, bodies that do not come", async () => {
    const strict = await start({ headersTimeoutMs: 200, requestTimeoutMs: 400 });
    const port = Number(new URL(strict.url).port);
    const endOf = (opening: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(port, "127.0.0.1", () => socket.write(opening));
        let heard = "";
        socket.on("data", (data) => (heard += data.toString()));
        socket.on("close", () => {
          resolve(heard);
        });
        socket.on("error", reject);
      });
    const [headers, body] = await Promise.all([
      endOf("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "),
      endOf(
        'POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"in',
      ),
    ]);
    expect(headers).toContain("408");
    expect(body).toContain("408");
    expect((await fetch(`${strict.url}/healthz`)).status).toBe(200);
    await strict.close();
  });

  test("memory and tensors stay flat over many small requests", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 32 });
    const send = async (count: number): Promise<void> => {
      let left = count;
      await Promise.all(
        Array.from({ length: 32 }, async () => {
          while (left-- > 0) expect(await ask(agent, `request ${left}`)).toBe(200);
        }),
      );
    };
    await send(500);
    const tensors = tf.memory().numTensors;
    const rss = process.memoryUsage.rss();
    await send(1500);
    expect(tf.memory().numTensors).toBe(tensors);
    expect(process.memoryUsage.rss() - rss).toBeLessThan(60 * 2 ** 20);
    agent.destroy();
  });
});

/** Status of one small request over a kept connection. */
function ask(agent: Agent, text: string): Promise<number> {
  const body = JSON.stringify({ model: "tiny", input: text });
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${serving.url}/v1/embeddings`,
      {
        agent,
        method: "POST",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
      },
      (response) => {
        response.resume();
        response.on("end", () => {
          resolve(response.statusCode ?? 0);
        });
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

describe("going down", () => {
  test("what is in flight is answered, new requests get 503, then the port is free", async () => {
    const going = await start({ batchWaitMs: 300 });
    const ask = (): Promise<Response> =>
      fetch(`${going.url}/v1/embeddings`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "tiny", input: "x" }),
      });
    const inFlight = ask();
    await expect
      .poll(async () => (await fetch(`${going.url}/metrics`)).text())
      .toMatch(/^soma_requests_in_flight 1$/m);
    const closed = going.close();
    const late = await ask();
    expect(late.status).toBe(503);
    expect(await late.json()).toMatchObject({ error: { type: "server_error", code: "closing" } });
    expect((await fetch(`${going.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${going.url}/healthz`)).status).toBe(200);
    expect((await inFlight).status).toBe(200);
    await closed;
    await expect(fetch(`${going.url}/healthz`)).rejects.toThrow();
    await going.close(); // a second time is no error
  });

  test("a request that never ends does not hold the server longer than the drain limit", async () => {
    const going = await start({ drainTimeoutMs: 100, batchWaitMs: 60_000 });
    const stuck = fetch(`${going.url}/embed`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ inputs: "x" }),
    }).catch(() => "cut");
    await expect
      .poll(async () => (await fetch(`${going.url}/metrics`)).text())
      .toMatch(/^soma_requests_in_flight 1$/m);
    await going.close();
    expect(await stuck).toBe("cut");
  });
});
