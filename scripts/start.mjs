// `npm start`: the main job from one command. Sets up, then runs the program's own commands one after another, each
// shown as it can be typed: prepare the emoji, train an image–text encoder, judge it beside the floors, serve it,
// and ask it two questions through its HTTP door. On a terminal the server stays up; otherwise, or with --once, it
// is taken down and the exit code is 0.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setUp } from "./setup.mjs";
import { ROOT } from "./setup/tools.mjs";

const HELP = `npm start -- [options]
  --once         take the server down after two queries and exit (so does a start without a terminal)
  --seconds N    how long to train (default 75)
  --seed N       of weights and batches (default 1)
  --port N       where to serve (default 8080, or the next free one)`;

const PROGRAM = join(ROOT, "dist", "cli.js");
const HOST = "127.0.0.1";
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
/** A word, and a drawing of our own hand, which no data set holds. */
const QUERY_TEXT = "rocket";
const QUERY_PICTURE = "docs/pictures/heart.png";

/** A step ended badly; its own words are on the terminal already. */
class StepFailed extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** What is said about the work, as the commands do: on stderr. */
function tell(line) {
  process.stderr.write(`${line}\n`);
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      once: { type: "boolean", default: false },
      seconds: { type: "string", default: "75" },
      seed: { type: "string", default: "1" },
      port: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  return values;
}

/** runs/first, or the next name that is free: an earlier run is kept. */
function newRunFolder() {
  for (let number = 1; ; number++) {
    const folder = join("runs", number === 1 ? "first" : `first-${number}`);
    if (!existsSync(join(ROOT, folder))) return folder;
  }
}

/** The child that is at work, so that a signal reaches it even when the terminal did not send it one. */
let current;

function start(args) {
  tell(`\n$ npx soma ${args.join(" ")}`);
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const ended = new Promise((resolve) => {
    child.on("error", () => resolve(1));
    child.on("close", (code, signal) => resolve(signal === "SIGINT" ? 130 : signal ? 143 : code));
  });
  current = { child, ended, running: true };
  ended.then(() => {
    if (current?.child === child) current.running = false;
  });
  return current;
}

async function command(...args) {
  const code = await start(args).ended;
  if (code !== 0) throw new StepFailed(`soma ${args[0]} ended with exit code ${code}`, code);
}

/** The wanted port, or the next above it that nothing listens on. */
async function freePort(from) {
  for (let port = from; port < from + 100; port++) {
    const free = await new Promise((resolve) => {
      const probe = createServer();
      probe.once("error", () => resolve(false));
      probe.listen(port, HOST, () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new StepFailed(`ports ${from} to ${from + 99} are all in use; give --port`, 1);
}

/** Resolves when the server says that it is ready. @throws StepFailed if it ends or takes too long */
async function ready(url, server) {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  while (server.running) {
    try {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) });
      if (answer.ok) return;
    } catch {
      // it does not listen yet
    }
    if (performance.now() > deadlineMs)
      throw new StepFailed("the server did not become ready", 124);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const code = await server.ended;
  throw new StepFailed(`soma serve ended with exit code ${code}`, code === 0 ? 1 : code);
}

/** Ask the server for the nearest emoji and print them: the answer, so on stdout. @param query `{ text }` or `{ image }` (base64) */
async function ask(url, title, query) {
  const response = await fetch(`${url}/v1/neighbors`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...query, k: 5 }),
  });
  const body = await response.text();
  if (!response.ok)
    throw new StepFailed(`POST /v1/neighbors answered ${response.status}: ${body}`, 1);
  console.log(title);
  for (const { text, id, label, score } of JSON.parse(body)) {
    console.log(`  ${score.toFixed(3)}  ${text ?? id}${label ? ` (${label})` : ""}`);
  }
}

async function stop(server) {
  const timer = setTimeout(() => server.child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  server.child.kill("SIGTERM");
  await server.ended;
  clearTimeout(timer);
}

async function main() {
  const options = readOptions();
  if (options.help) {
    tell(HELP);
    return 0;
  }
  const startedMs = performance.now();
  await setUp();
  const stays = !options.once && process.stdin.isTTY === true && process.stderr.isTTY === true;
  const out = newRunFolder();

  await command("data", "prepare", "emoji", "--trim");
  await command(
    ...["train", "emoji-image-text", "--dataset", "emoji", "--seconds", options.seconds],
    ...["--seed", options.seed, "--out", out],
  );
  await command("evaluate", out, "--dataset", "emoji", "--plots", join(out, "plots"));
  await command("gallery", out, "--dataset", "emoji", "--out", join(out, "gallery"));
  const port = options.port ?? String(await freePort(8080));
  const server = start(["serve", out, "--gallery", join(out, "gallery"), "--port", port]);
  const url = `http://${HOST}:${port}`;
  try {
    await ready(url, server);
    tell("");
    await ask(url, `the emoji nearest to the word "${QUERY_TEXT}":`, { text: QUERY_TEXT });
    const picture = readFileSync(join(ROOT, QUERY_PICTURE)).toString("base64");
    await ask(url, `the emoji nearest to the picture ${QUERY_PICTURE}:`, {
      image: picture,
    });
    const seconds = (performance.now() - startedMs) / 1000;
    tell(
      `\nfrom set-up to answers in ${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`,
    );
    if (!stays) return 0;
    tell(`the page is at ${url} and stays up; Ctrl-C ends it`);
    const code = await server.ended;
    return interrupted ? 0 : code;
  } finally {
    if (server.running) await stop(server);
  }
}

// A terminal sends Ctrl-C to the commands too: each saves or drains, and this waits for it. SIGTERM comes to us alone.
let interrupted = false;
process.on("SIGINT", () => {
  interrupted = true;
  if (current === undefined || !current.running) process.exit(130);
});
process.on("SIGTERM", () => {
  interrupted = true;
  if (current?.running) current.child.kill("SIGTERM");
  else process.exit(143);
});

main().then(
  (code) => process.exit(code),
  (error) => {
    tell(`npm start: ${error.message}`);
    process.exit(
      error instanceof StepFailed
        ? error.exitCode
        : error.code?.startsWith?.("ERR_PARSE_ARGS")
          ? 2
          : 1,
    );
  },
);
