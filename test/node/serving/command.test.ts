import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBackend } from "../../../models/backend.ts";
import { TINY_CONFIG } from "../../support/tiny-encoder.ts";
import { postJson, saveRandomCheckpoint } from "../../support/tiny-server.ts";
import { transpileSources } from "../../support/transpile.ts";

let program: string;
let home: string;
let checkpoint: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  await startBackend();
  home = await mkdtemp(join(tmpdir(), "soma-command-"));
  checkpoint = join(home, "tiny");
  await saveRandomCheckpoint(checkpoint, TINY_CONFIG);
  program = await transpileSources();
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(program, { recursive: true });
  await rm(home, { recursive: true });
});

interface Running {
  readonly child: ChildProcess;
  /** All of stderr so far. */
  readonly errors: () => string;
  readonly exit: Promise<number | null>;
}

function run(argv: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [join(program, "cli.js"), ...argv], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  children.add(child);
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, errors: () => errors, exit };
}

/** The address that a server says it listens on. */
async function urlOf(running: Running): Promise<string> {
  await expect.poll(running.errors, { timeout: 30_000 }).toMatch(/listening on http:\S+/);
  return /listening on (\S+)/.exec(running.errors())?.[1] ?? "";
}

describe("soma serve", () => {
  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("on %s answers what is in flight, then exits %i", async (signal, exitCode) => {
    const running = run(["serve", checkpoint, "--port", "0"]);
    const url = await urlOf(running);
    const body = { model: "tiny", input: Array.from({ length: 32 }, () => "word ".repeat(60)) };
    const answers = Array.from({ length: 20 }, () => postJson(`${url}/v1/embeddings`, body));
    await expect
      .poll(async () => (await fetch(`${url}/metrics`)).text())
      .toMatch(/^soma_requests_total\{route="\/v1\/embeddings",status="200"\} \d+$/m);
    running.child.kill(signal);
    // Those that were taken are answered whole; those that came after are refused, and none is cut.
    for (const { status } of await Promise.all(answers)) expect([200, 503]).toContain(status);
    expect(await running.exit).toBe(exitCode);
  });

  test("takes flags before the environment, and the environment before defaults", async () => {
    const running = run(["serve", checkpoint, "--max-client-batch-size", "2"], {
      SOMA_PORT: "0",
      SOMA_MAX_CLIENT_BATCH_SIZE: "3",
      SOMA_MAX_BATCH_TOKENS: "1024",
    });
    const url = await urlOf(running);
    const info: unknown = await (await fetch(`${url}/info`)).json();
    expect(info).toMatchObject({
      max_client_batch_size: 2,
      max_batch_tokens: 1024,
      max_concurrent_requests: 512,
    });
    expect(new URL(url).hostname).toBe("127.0.0.1");
    running.child.kill("SIGKILL");
    await running.exit;
  });

  test("says which port is in use, and what to do", async () => {
    const first = run(["serve", checkpoint, "--port", "0"]);
    const { port } = new URL(await urlOf(first));
    const second = run(["serve", checkpoint, "--port", port]);
    expect(await second.exit).toBe(1);
    expect(second.errors()).toMatch(new RegExp(`error\\[PORT_IN_USE\\].*${port}.*--port`));
    first.child.kill("SIGKILL");
    await first.exit;
  });

  test.each<[string, readonly string[], number, RegExp]>([
    ["a missing checkpoint", ["nowhere"], 3, /NO_CHECKPOINT.*nowhere/],
    ["a missing gallery", ["CHECKPOINT", "--gallery", "nowhere"], 3, /NO_GALLERY.*soma gallery/],
    ["a port that is none", ["CHECKPOINT", "--port", "99999"], 2, /port/],
    ["a port that is a word", ["CHECKPOINT", "--port", "http"], 2, /whole number/],
    ["a budget below one input", ["CHECKPOINT", "--max-batch-tokens", "10"], 2, /maxBatchTokens/],
    ["an unknown flag", ["CHECKPOINT", "--prot", "1"], 2, /Did you mean --port/],
  ])("refuses %s", async (_, argv, exitCode, message) => {
    const running = run(["serve", ...argv.map((one) => (one === "CHECKPOINT" ? checkpoint : one))]);
    expect(await running.exit).toBe(exitCode);
    expect(running.errors()).toMatch(message);
  });
});
