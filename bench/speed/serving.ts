/**
 * How `soma serve` holds up: 32 connections that each send the next request when the last is answered, against a
 * server that should run in a process of its own. Reports latency, throughput, errors, and the server's memory before and after.
 */
import { Agent, request as httpRequest } from "node:http";
import { cpus } from "node:os";
import { assert } from "../../base/errors.ts";
import type { Progress } from "../../base/progress.ts";

export interface ServingBenchOptions {
  readonly connections: number;
  readonly requests: number;
  /** Requests before those that count. */
  readonly warmUp: number;
  readonly progress?: Progress;
}

export interface ServingBenchResult {
  readonly connections: number;
  readonly requests: number;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The bar is under 10. */
  readonly p99OverP50: number;
  /** Answers other than 200, and connections that broke. */
  readonly errors: number;
  readonly rssBeforeBytes: number;
  readonly rssAfterBytes: number;
  readonly machine: string;
  readonly date: string;
}

/** Ask a server that runs at `url` for embeddings of short texts, and measure. */
export async function benchServing(
  url: string,
  { connections, requests, warmUp, progress }: ServingBenchOptions,
): Promise<ServingBenchResult> {
  const model = await modelOf(url);
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  try {
    await sendAll(url, model, agent, { connections, requests: warmUp });
    const rssBeforeBytes = await residentBytes(url);
    const startMs = performance.now();
    const { latenciesMs, errors } = await sendAll(url, model, agent, {
      connections,
      requests,
      ...(progress === undefined ? {} : { progress }),
    });
    const seconds = (performance.now() - startMs) / 1000;
    const sorted = latenciesMs.sort();
    const p50Ms = percentile(sorted, 50);
    const p99Ms = percentile(sorted, 99);
    return {
      connections,
      requests,
      seconds,
      requestsPerSecond: requests / seconds,
      p50Ms,
      p99Ms,
      p99OverP50: p99Ms / p50Ms,
      errors,
      rssBeforeBytes,
      rssAfterBytes: await residentBytes(url),
      machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, Node ${process.versions.node}`,
      date: new Date().toISOString(),
    };
  } finally {
    agent.destroy();
  }
}

/** The value that `percent` of the values do not exceed (nearest rank). @param sorted  ascending, not empty */
export function percentile(sorted: Float64Array, percent: number): number {
  assert(sorted.length > 0, "a percentile of something");
  const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
  return sorted[rank - 1] ?? NaN;
}

interface Load {
  readonly connections: number;
  readonly requests: number;
  readonly progress?: Progress;
}

async function sendAll(
  url: string,
  model: string,
  agent: Agent,
  { connections, requests, progress }: Load,
): Promise<{ latenciesMs: Float64Array; errors: number }> {
  const latenciesMs = new Float64Array(requests);
  let errors = 0;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < requests) {
      const index = next++;
      const startMs = performance.now();
      const status = await sendOne(url, agent, { model, input: textOf(index) });
      latenciesMs[index] = performance.now() - startMs;
      if (status !== 200) errors++;
      progress?.update({ done: index + 1, total: requests });
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  return { latenciesMs, errors };
}

const WORDS = ["a", "smiling", "cat", "on", "the", "mountain", "under", "heavy", "rain", "sings"];

/** A text of 1 to 12 words; equal for equal indices. */
function textOf(index: number): string {
  const count = 1 + (index % 12);
  return Array.from({ length: count }, (_, i) => WORDS[(index * 7 + i * 3) % WORDS.length]).join(
    " ",
  );
}

/** The status of one request; 0 if the connection broke. The answer is read to its end. */
function sendOne(url: string, agent: Agent, content: unknown): Promise<number> {
  const body = JSON.stringify(content);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  return new Promise((resolve) => {
    const request = httpRequest(
      `${url}/v1/embeddings`,
      { agent, method: "POST", headers },
      (response) => {
        response.resume();
        response.on("end", () => {
          resolve(response.statusCode ?? 0);
        });
        response.on("error", () => {
          resolve(0);
        });
      },
    );
    request.on("error", () => {
      resolve(0);
    });
    request.end(body);
  });
}

async function modelOf(url: string): Promise<string> {
  const answer = (await (await fetch(`${url}/v1/models`)).json()) as {
    readonly data: readonly { readonly id: string }[];
  };
  return answer.data[0]?.id ?? "";
}

/** Memory of the server's process, as its own metrics tell it. */
async function residentBytes(url: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(metrics)?.[1] ?? NaN);
}
