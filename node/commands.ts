/** Commands of this wing: `soma serve`, `soma doctor`, `soma conformance`, `soma simulate`. Heavy modules are loaded by the action that needs them. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { say } from "../base/terminal.ts";
import { EXIT_CODES } from "../base/errors.ts";
import { registerConformanceCommand } from "./conformance-command.ts";
import { registerDoctorCommand } from "./doctor-command.ts";
import { registerSimulateCommand } from "./simulate-command.ts";

interface ServeFlags {
  readonly host?: string;
  readonly port?: number;
  readonly maxBatchTokens?: number;
  readonly maxConcurrentRequests?: number;
  readonly maxClientBatchSize?: number;
  readonly corsAllowOrigin?: string[];
  readonly gallery?: string;
}

export function registerNodeCommands(program: Command): void {
  registerDoctorCommand(program);
  registerConformanceCommand(program);
  registerSimulateCommand(program);
  program
    .command("serve")
    .summary("serve a checkpoint over HTTP, as OpenAI's API")
    .description(
      "Serve a checkpoint over HTTP: POST /v1/embeddings as OpenAI's API (pictures as Jina's), /embed and /info\n" +
        "as text-embeddings-inference's, /metrics for Prometheus, /docs, and a page at / to try it.\n" +
        "Ctrl-C answers what is in flight and stops; a second one stops at once.",
    )
    .argument("<checkpoint>", "folder of a checkpoint or of a run")
    .addOption(
      option("--host <address>", "address to bind; 0.0.0.0 opens it to the network", "127.0.0.1"),
    )
    .addOption(option("--port <number>", "port to bind; 0 takes any free one", "8080", wholeNumber))
    .addOption(
      option(
        "--max-batch-tokens <number>",
        "tokens embedded at once, padding counted",
        "16384",
        wholeNumber,
      ),
    )
    .addOption(
      option(
        "--max-concurrent-requests <number>",
        "requests in flight; more get 429",
        "512",
        wholeNumber,
      ),
    )
    .addOption(
      option(
        "--max-client-batch-size <number>",
        "inputs of one request; more get 413",
        "32",
        wholeNumber,
      ),
    )
    .addOption(
      option(
        "--cors-allow-origin <origins>",
        'origins whose pages may call the API, separated by commas; "*" = any',
        "none",
        (text: string) => text.split(",").map((origin) => origin.trim()),
      ),
    )
    .addOption(
      option("--gallery <folder>", "pictures to search on the page; see `soma gallery`", "none"),
    )
    .addHelpText(
      "after",
      `
Examples:
  soma serve runs/emoji                        on http://127.0.0.1:8080
  soma serve runs/emoji --gallery emoji-gallery --port 0
  SOMA_HOST=0.0.0.0 SOMA_PORT=80 soma serve runs/emoji --cors-allow-origin https://example.org`,
    )
    .action(serve);
}

/** An option with its twin in the environment: --max-batch-tokens is SOMA_MAX_BATCH_TOKENS. The default is the config's; the help only tells it. */
function option(
  flags: string,
  description: string,
  defaultText: string,
  parse?: (text: string) => unknown,
): Option {
  const made = new Option(flags, `${description} (default: ${defaultText})`);
  const twin = `SOMA_${made.name().toUpperCase().replaceAll("-", "_")}`;
  return parse === undefined ? made.env(twin) : made.env(twin).argParser(parse);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

async function serve(checkpoint: string, flags: ServeFlags): Promise<void> {
  const { gallery, ...settings } = flags;
  const [{ parseServingConfig }, { startServing }] = await Promise.all([
    import("./serving/config.ts"),
    import("./serving/serve.ts"),
  ]);
  const config = parseServingConfig(settings);
  const serving = await startServing({
    checkpoint,
    config,
    ...(gallery === undefined ? {} : { gallery }),
  });
  say(`serving ${serving.model.name} (${serving.model.digest.slice(0, 12)})`);
  if (serving.galleryEntryCount > 0) say(`gallery of ${serving.galleryEntryCount} entries`);
  say(`listening on ${serving.url}  (API ${serving.url}/v1, docs ${serving.url}/docs)`);
  process.exitCode = await signalled(serving);
}

/** Wait for Ctrl-C or SIGTERM, then drain. @returns the exit code of the signal */
function signalled(serving: { close(): Promise<void> }): Promise<number> {
  return new Promise((resolve, reject) => {
    let stopping = false;
    const stop = (exitCode: number) => (): void => {
      if (stopping) process.exit(exitCode); // the second time: at once
      stopping = true;
      say("stopping: answering what is in flight; once more to stop at once");
      serving.close().then(() => {
        resolve(exitCode);
      }, reject);
    };
    process.on("SIGINT", stop(EXIT_CODES.interrupted));
    process.on("SIGTERM", stop(EXIT_CODES.terminated));
  });
}
