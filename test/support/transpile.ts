/**
 * The program as plain JavaScript, for tests that need it in a process of its own (to be killed, or signalled).
 * Types are dropped without a check, so it takes half a second; it lies under node_modules, where imports resolve.
 */
import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const WINGS = ["base", "tokenizers", "datasets", "models", "training", "protocol", "node", "bench"];

/**
 * @param also  files of the tests that it needs, by path in the repository
 * @returns the folder, laid out as the repository; the caller removes it
 */
export async function transpileSources(also: readonly string[] = []): Promise<string> {
  const cache = join(ROOT, "node_modules", ".cache");
  await mkdir(cache, { recursive: true });
  const target = await mkdtemp(join(cache, "soma-test-"));
  const files = ["cli.ts", ...also];
  for (const wing of WINGS) {
    const inside = await readdir(join(ROOT, wing), { recursive: true });
    files.push(...inside.map((file) => join(wing, file)));
  }
  for (const file of files) {
    if (!file.endsWith(".ts")) continue;
    const { outputText } = ts.transpileModule(await readFile(join(ROOT, file), "utf8"), {
      fileName: file,
      compilerOptions: {
        target: ts.ScriptTarget.ES2023,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        rewriteRelativeImportExtensions: true,
      },
    });
    const path = join(target, file.replace(/\.ts$/, ".js"));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, outputText);
  }
  return target;
}
