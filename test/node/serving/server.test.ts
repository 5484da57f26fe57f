import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tf } from "../../../models/backend.ts";
import type { ServedNeighbor } from "../../../node/serving/neighbor-routes.ts";
import { postJson, startTinyServer, type TinyServer } from "../../support/tiny-server.ts";

let server: TinyServer;
beforeAll(async () => {
  server = await startTinyServer();
});
afterAll(() => server.close());

describe("text-embeddings-inference's API", () => {
  test("/embed gives bare vectors, of length 1 unless asked otherwise", async () => {
    const { body } = await server.post("/embed", { inputs: ["a cat", "a dog"] });
    expect(body).toHaveLength(2);
    expect(Math.hypot(...((body as number[][])[0] ?? []))).toBeCloseTo(1, 5);
    const [raw] = await server.session.embed([{ tokens: server.session.tokenizeText("a cat") }]);
    const asked = await server.post("/embed", { inputs: "a cat", normalize: false });
    (asked.body as number[][])[0]?.forEach((value, d) => {
      expect(value).toBeCloseTo(raw?.[d] ?? NaN, 4);
    });
  });

  test("/embed refuses long texts unless they may be truncated, in its own error shape", async () => {
    const inputs = "word ".repeat(100);
    const refused = await server.post("/embed", { inputs });
    expect(refused.status).toBe(413);
    expect(refused.body).toEqual({
      error: expect.stringContaining("64") as string,
      error_type: "validation",
    });
    expect((await server.post("/embed", { inputs, truncate: true })).status).toBe(200);
    expect((await server.post("/embed", { inputs: "" })).body).toMatchObject({
      error_type: "tokenizer",
    });
  });

  test("/info tells the model and its limits", async () => {
    const info = (await (await fetch(`${server.serving.url}/info`)).json()) as Record<
      string,
      unknown
    >;
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
    const { status, body } = await server.post("/v1/neighbors", { text: "kitten", k: 2 });
    expect(status).toBe(200);
    expect(body).toHaveLength(2);
    const [first, second] = body as ServedNeighbor[];
    expect(first).toMatchObject({ id: "toy-1", text: "kitten", label: "animals" });
    expect(first?.score).toBeCloseTo(1, 4);
    expect(second?.score).toBeLessThanOrEqual(first?.score ?? -1);
    const response = await fetch(`${server.serving.url}${first?.picture ?? ""}`);
    expect(response.headers.get("content-type")).toBe("image/png");
    expect(
      Buffer.from(await response.arrayBuffer())
        .subarray(1, 4)
        .toString(),
    ).toBe("PNG");
    const all = await server.post("/v1/neighbors", { image: server.picture.toString("base64") });
    expect(all.body).toHaveLength(3); // six entries, three groups
  });

  test.each([
    [{}, 422],
    [{ text: "a", image: "b" }, 422],
    [{ text: "a", k: 0 }, 422],
    [{ text: "a", k: 101 }, 422],
    [{ word: "a" }, 422],
  ])("refuses %j", async (body, status) => {
    expect((await server.post("/v1/neighbors", body)).status).toBe(status);
  });

  test.each(["/v1/gallery/6", "/v1/gallery/-1", "/v1/gallery/..%2f..%2fetc", "/v1/gallery/1e0"])(
    "has nothing at %s",
    async (path) => {
      expect((await fetch(`${server.serving.url}${path}`)).status).toBe(404);
    },
  );

  test("of another checkpoint is refused", async () => {
    await expect(
      server.start({}, { gallery: server.gallery, checkpoint: server.imageCheckpoint }),
    ).rejects.toMatchObject({
      code: "FOREIGN_GALLERY",
    });
  });
});

describe("for operators", () => {
  test("health, readiness, documentation and the page are there, and need nothing from elsewhere", async () => {
    for (const path of ["/healthz", "/health", "/readyz"]) {
      expect((await fetch(`${server.serving.url}${path}`)).status).toBe(200);
    }
    const openapi = (await (await fetch(`${server.serving.url}/docs/json`)).json()) as {
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
    expect(await (await fetch(`${server.serving.url}/docs/`)).text()).toContain("swagger");
    const page = await fetch(server.serving.url);
    const html = await page.text();
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  });

  test("metrics count requests, batches and tokens", async () => {
    await server.post("/embed", { inputs: "counted" });
    await server.post("/embed", { inputs: "" });
    const text = await (await fetch(`${server.serving.url}/metrics`)).text();
    expect(text).toMatch(/soma_requests_total\{route="\/embed",status="200"\} \d+/);
    expect(text).toMatch(/soma_requests_total\{route="\/embed",status="422"\} \d+/);
    expect(text).toMatch(/soma_tokens_total\{modality="text"\} [1-9]/);
    expect(text).toMatch(/soma_batch_tokens_count [1-9]/);
    expect(text).toMatch(/soma_request_duration_seconds_bucket\{le="0.1",route="\/embed"\} \d+/);
    expect(text).toMatch(/^soma_queue_inputs 0$/m);
    expect(text).toMatch(/^soma_requests_in_flight 0$/m);
  });

  test("pages of other origins may call only when their origin is allowed", async () => {
    const closed = await fetch(`${server.serving.url}/info`, {
      headers: { origin: "https://a.example" },
    });
    expect(closed.headers.get("access-control-allow-origin")).toBeNull();
    const open = await server.start({ corsAllowOrigin: ["https://a.example"] });
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
    const port = Number(new URL(server.serving.url).port);
    const error = await server.start({ port }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: "PORT_IN_USE",
      exitCode: 1,
      next: expect.stringContaining("--port") as string,
    });
  });

  test("a host that is not this machine's is an error", async () => {
    await expect(server.start({ host: "203.0.113.1" })).rejects.toMatchObject({
      code: "BAD_HOST",
      exitCode: 2,
    });
  });
});

describe("under load", () => {
  test("requests beyond the limit get 429 and a time to come back, and the others their answer", async () => {
    const small = await server.start({ maxConcurrentRequests: 2 });
    const held = [hold(small.url), hold(small.url)];
    await inFlight(small.url, 2);
    const refused = await postJson(`${small.url}/v1/embeddings`, { model: "tiny", input: "x" });
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(refused.body).toMatchObject({ error: { type: "rate_limit_error", code: "overloaded" } });
    expect((await fetch(`${small.url}/healthz`)).status).toBe(200);
    for (const { finish, status } of held) {
      finish();
      expect(await status).toBe(200);
    }
    await inFlight(small.url, 0); // places are given back
    await small.close();
  });

  test("large bodies count before they are read", async () => {
    const small = await server.start({ bodyBytesInFlightMax: 1000 });
    const held = hold(small.url);
    await inFlight(small.url, 1);
    const ask = async (length: number): Promise<number> => {
      const body = { model: "tiny", input: "x".repeat(length) };
      return (await postJson(`${small.url}/v1/embeddings`, body)).status;
    };
    expect(await ask(100)).toBe(200);
    expect(await ask(1000)).toBe(429);
    held.finish();
    expect(await held.status).toBe(200);
    await inFlight(small.url, 0);
    expect(await ask(1000)).toBe(200); // alone, any body within the route's limit is taken
    await small.close();
  });

  test("a client that goes away gives its place back", async () => {
    const small = await server.start({ maxConcurrentRequests: 1, batchWaitMs: 60_000 });
    const gone = new AbortController();
    const first = fetch(`${small.url}/embed`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ inputs: "x" }),
      signal: gone.signal,
    });
    const failed = expect(first).rejects.toThrow();
    await inFlight(small.url, 1);
    gone.abort();
    await failed;
    await inFlight(small.url, 0);
    const metrics = await (await fetch(`${small.url}/metrics`)).text();
    expect(metrics).toMatch(/soma_requests_total\{route="\/embed",status="499"\} 1/);
    await small.close();
  });

  test("slow clients are cut: headers that do not end, bodies that do not come", async () => {
    const strict = await server.start({ headersTimeoutMs: 200, requestTimeoutMs: 400 });
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

/** A request whose body stays half sent, so that it is in flight for as long as the test likes. */
function hold(url: string): { finish: () => void; status: Promise<number> } {
  const [head, tail] = ['{"model":"tiny",', '"input":"x"}'];
  const request = httpRequest(`${url}/v1/embeddings`, {
    method: "POST",
    headers: { "content-type": "application/json", "content-length": head.length + tail.length },
  });
  const status = new Promise<number>((resolve, reject) => {
    request.on("response", (response) => {
      response.resume();
      response.on("end", () => {
        resolve(response.statusCode ?? 0);
      });
    });
    request.on("error", reject);
  });
  request.write(head);
  return {
    status,
    finish: () => {
      request.end(tail);
    },
  };
}

async function inFlight(url: string, count: number): Promise<void> {
  await expect
    .poll(async () => (await fetch(`${url}/metrics`)).text(), { timeout: 10_000 })
    .toMatch(new RegExp(`^soma_requests_in_flight ${count}$`, "m"));
}

/** Status of one small request over a kept connection. */
function ask(agent: Agent, text: string): Promise<number> {
  const body = JSON.stringify({ model: "tiny", input: text });
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${server.serving.url}/v1/embeddings`,
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
    const going = await server.start({});
    const held = hold(going.url);
    await inFlight(going.url, 1);
    const closed = going.close();
    const late = await postJson(`${going.url}/v1/embeddings`, { model: "tiny", input: "x" });
    expect(late.status).toBe(503);
    expect(late.body).toMatchObject({ error: { type: "server_error", code: "closing" } });
    expect((await fetch(`${going.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${going.url}/healthz`)).status).toBe(200);
    held.finish();
    expect(await held.status).toBe(200);
    await closed;
    await expect(fetch(`${going.url}/healthz`)).rejects.toThrow();
    await going.close(); // a second time is no error
  });

  test("a request that never ends does not hold the server longer than the drain limit", async () => {
    const going = await server.start({ drainTimeoutMs: 100 });
    const held = hold(going.url);
    const cut = expect(held.status).rejects.toThrow();
    await inFlight(going.url, 1);
    await going.close();
    await cut;
  });
});
