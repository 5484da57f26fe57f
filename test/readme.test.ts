/** What README.md and the pages of docs/ show must work: their commands parse, the manifest loads. */
import { mkdtemp, mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { registerBenchCommands } from "../bench/commands.ts";
import { registerDataCommands } from "../datasets/commands.ts";
import { loadDataset } from "../datasets/registry.ts";
import { registerNodeCommands } from "../node/commands.ts";
import { registerTokenizerCommands } from "../tokenizers/commands.ts";
import { registerTrainingCommands } from "../training/commands.ts";
import { bytesOf, plain } from "./support/pictures.ts";

const readme = await readFile("README.md", "utf8");
const documents = ["docs/benchmarks.md", "docs/simulation.md"];
const pages =
  readme + (await Promise.all(documents.map((path) => readFile(path, "utf8")))).join("\n");
const commandLines = [...pages.matchAll(/^(?:\$ )?npx soma (.*)$/gm)].map(([, line = ""]) => line);

/** The real command tree whose actions only note that they were reached. */
function parserThatRunsNothing(reached: string[]): Command {
  const program = new Command("soma");
  registerDataCommands(program);
  registerTokenizerCommands(program);
  registerTrainingCommands(program);
  registerBenchCommands(program);
  registerNodeCommands(program);
  const disarm = (command: Command): void => {
    command.exitOverride();
    if (command.commands.length === 0) {
      command.action(() => {
        reached.push(command.name());
      });
    }
    command.commands.forEach(disarm);
  };
  disarm(program);
  return program;
}

describe("each command in the README and the pages of benchmarks and of the simulator", () => {
  test.each(commandLines.filter((line) => !line.startsWith("--")))(
    "parses: soma %s",
    async (line) => {
      const reached: string[] = [];
      await parserThatRunsNothing(reached).parseAsync(line.split(/\s+/), { from: "user" });
      expect(reached).toHaveLength(1);
    },
  );

  test("there are at least seven", () => {
    expect(commandLines.length).toBeGreaterThanOrEqual(7);
  });
});

test("the README's manifest loads as three rows of one group", async () => {
  const rows = [...readme.matchAll(/^\{"id".*\}$/gm)].map(([row]) => row);
  expect(rows).toHaveLength(3);
  const folder = await mkdtemp(join(tmpdir(), "soma-readme-"));
  await mkdir(join(folder, "photos"));
  await writeFile(join(folder, "photos", "cat-1.png"), await bytesOf(plain(80, 60).png()));
  await writeFile(join(folder, "photos", "cat-2.jpg"), await bytesOf(plain(60, 80).jpeg()));
  await writeFile(join(folder, "photos.jsonl"), rows.join("\n"));
  const dataset = await loadDataset(join(folder, "photos.jsonl"));
  expect(new Set(dataset.examples.map(({ group }) => group))).toEqual(new Set(["cat"]));
  expect(dataset.examples.map(({ id }) => id)).toEqual(["a1", "a2", "a3"]);
});
