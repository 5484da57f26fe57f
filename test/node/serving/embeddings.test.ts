import OpenAI, { type APIError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cosine } from "../../../models/embedding.ts";
import { startTinyServer, type TinyServer } from "../../support/tiny-server.ts";

let server: TinyServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startTinyServer();
  client = new OpenAI({ baseURL: `${server.serving.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => server.close());

/** The shapes that answers are expected to have; what they truly hold is for the tests to find out. */
interface EmbeddingList {
  readonly data: readonly { readonly embedding: unknown }[];
}
interface Failure {
  readonly error: { readonly message: string; readonly param: string | null };
}

const dataUrl = (): string => `data:image/png;base64,${server.picture.toString("base64")}`;

describe("the official OpenAI client, unchanged,", () => {
  test("gets the embedding of a text, equal to the session's", async () => {
    const answer = await client.embeddings.create({ model: "tiny", input: "a smiling cat" });
    const [expected] = await server.session.embedTexts(["a smiling cat"]);
    expect(answer.object).toBe("list");
    expect(answer.model).toBe("tiny");
    expect(answer.data[0]?.embedding).toHaveLength(32);
    expect(
      cosine(Float32Array.from(answer.data[0]?.embedding ?? []), expected ?? new Float32Array(32)),
    ).toBeCloseTo(1, 5);
    const tokens = server.session.tokenizeText("a smiling cat").ids.length;
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
    const raw = await server.post("/v1/embeddings", {
      model: "tiny",
      input,
      encoding_format: "base64",
    });
    const text = (raw.body as EmbeddingList).data[0]?.embedding as string;
    expect(Buffer.from(text, "base64")).toHaveLength(4 * 32);
  });

  test("keeps the order of a batch", async () => {
    const input = Array.from({ length: 32 }, (_, i) => "word ".repeat(1 + ((i * 7) % 20)));
    const { data } = await client.embeddings.create({ model: "tiny", input });
    const expected = await server.session.embedTexts(input);
    for (const [i, embedding] of expected.entries()) {
      expect(cosine(Float32Array.from(data[i]?.embedding ?? []), embedding)).toBeGreaterThan(
        0.9999,
      );
    }
  });

  test("may send token ids, one list or many", async () => {
    const text = "a smiling cat";
    const ids = [...server.session.tokenizeText(text).ids];
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

  test('asks for whichever model is served as "soma"', async () => {
    const named = await client.embeddings.create({ model: "tiny", input: "cat" });
    const any = await client.embeddings.create({ model: "soma", input: "cat" });
    expect(any).toEqual(named); // and the answer says which it was
    expect((await client.models.retrieve("soma")).id).toBe("tiny");
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
    const input = [
      { image: dataUrl() },
      { text: "a cat" },
      { image: server.picture.toString("base64") },
    ];
    const { status, body } = await server.post("/v1/embeddings", { model: "tiny", input });
    expect(status).toBe(200);
    const [fromUrl, text, fromBase64] = (body as EmbeddingList).data.map(({ embedding }) =>
      Float32Array.from(embedding as number[]),
    );
    const [image] = await server.session.embedImages([server.picture]);
    const [words] = await server.session.embedTexts(["a cat"]);
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
      image === "CUT"
        ? server.picture.subarray(0, server.picture.length >> 1).toString("base64")
        : image;
    const { status, body } = await server.post("/v1/embeddings", {
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
    const answer = await server.post("/v1/embeddings", body);
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

  test("that are not UTF-8 are refused, not embedded with replacement characters", async () => {
    const body = Buffer.concat([
      Buffer.from('{"model":"tiny","input":"'),
      Buffer.of(0xff, 0xfe),
      Buffer.from('"}'),
    ]);
    const answer = await fetch(`${server.serving.url}/v1/embeddings`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("the body is not UTF-8");
  });

  test("name the nearest field there is", async () => {
    const { body } = await server.post("/v1/embeddings", { model: "tiny", inputs: "x" });
    expect((body as Failure).error.message).toBe('unknown field "inputs"; did you mean "input"?');
  });

  test("that are not JSON by their type get 415, missing routes 404, bodies over the limit 413", async () => {
    expect(
      (await server.post("/v1/embeddings", "x", { "content-type": "text/plain" })).status,
    ).toBe(415);
    expect(
      (await server.post("/v1/embeddings", "x", { "content-type": "application/xml" })).status,
    ).toBe(415);
    expect((await server.post("/v1/nothing", {})).status).toBe(404);
    expect((await fetch(`${server.serving.url}/v1/embeddings`)).status).toBe(404);
    const huge = JSON.stringify({ model: "tiny", input: "a".repeat(13 * 2 ** 20) });
    expect((await server.post("/v1/embeddings", huge)).status).toBe(413);
  });

  test("get no stack, no path, and no header of the library", async () => {
    const { body, headers } = await server.post("/v1/embeddings", "{");
    expect(JSON.stringify(body)).not.toMatch(/node_modules|at .*\.ts|\/home/);
    expect(headers.get("x-powered-by")).toBeNull();
  });

  test("about text are refused by a model of pictures", async () => {
    const images = await server.start({}, { checkpoint: server.imageCheckpoint });
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
