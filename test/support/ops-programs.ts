/** Calls of our own modules in processes of their own: threads and backend are fixed when a process starts. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { transpileSources } from "./transpile.ts";

export interface ProgramCall {
  /** Path of a .ts file in the repository. */
  readonly module: string;
  /** An exported function whose result JSON can hold. */
  readonly call: string;
  readonly arguments?: readonly unknown[];
}

export class Programs {
  private folder: Promise<string> | undefined;

  /**
   * @param env  added to this process's own
   * @throws Error with the end of what the process wrote, if it did not answer
   */
  async run<T>(
    { module, call, arguments: given = [] }: ProgramCall,
    env: Readonly<Record<string, string>>,
  ): Promise<T> {
    this.folder ??= transpileSources(SUPPORT);
    const folder = await this.folder;
    const id = randomUUID();
    const [program, answer] = [join(folder, `${id}.mjs`), join(folder, `${id}.json`)];
    await writeFile(
      program,
      `import { writeFileSync } from "node:fs";
import { ${call} } from "./${module.replace(/\.ts$/, ".js")}";
const result = await ${call}(...${JSON.stringify(given)});
writeFileSync(${JSON.stringify(answer)}, JSON.stringify(result));
`,
    );
    const { code, output } = await ended(program, { ...process.env, ...env });
    if (code !== 0) throw new Error(`${call} ended with ${code}:\n${output.slice(-3000)}`);
    return JSON.parse(await readFile(answer, "utf8")) as T;
  }

  async remove(): Promise<void> {
    if (this.folder !== undefined) await rm(await this.folder, { recursive: true, force: true });
  }
}

/** What the calls import besides the house. */
const SUPPORT = ["bf16", "cases", "random", "recipes", "stack", "table", "threads"]
  .map((name) => `test/support/ops-${name}.ts`)
  .concat("test/support/made-up-dataset.ts");

function ended(
  program: string,
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | string; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program], { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ code: code ?? signal ?? "nothing", output });
    });
  });
}
