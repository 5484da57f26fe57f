import { describe, expect, test } from "vitest";
import { benchServing, percentile } from "../../../bench/speed/serving.ts";
import { startTinyServer } from "../../support/tiny-server.ts";

describe("a percentile", () => {
  test("is the value that so many percent do not exceed", () => {
    const sorted = Float64Array.from({ length: 200 }, (_, i) => i + 1);
    expect(percentile(sorted, 50)).toBe(100);
    expect(percentile(sorted, 99)).toBe(198);
    expect(percentile(sorted, 100)).toBe(200);
    expect(percentile(Float64Array.of(7), 99)).toBe(7);
  });
});

describe("the serving bench", () => {
  test("sends what it says, counts errors, and reads the server's memory", async () => {
    const server = await startTinyServer();
    const options = { connections: 8, requests: 200, warmUp: 20 };
    const result = await benchServing(server.serving.url, options);
    expect(result.errors).toBe(0);
    expect(result.p99Ms).toBeGreaterThanOrEqual(result.p50Ms);
    expect(result.requestsPerSecond).toBeCloseTo(200 / result.seconds, 5);
    expect(result.rssAfterBytes).toBeGreaterThan(2 ** 20);
    const metrics = await (await fetch(`${server.serving.url}/metrics`)).text();
    expect(metrics).toContain('soma_requests_total{route="/v1/embeddings",status="200"} 220');

    const small = await server.start({ maxConcurrentRequests: 1 });
    expect((await benchServing(small.url, options)).errors).toBeGreaterThan(0);
    await small.close();
    await server.close();
  });
});
