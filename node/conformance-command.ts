/** `soma conformance`: answers to shared cases of the protocol's rules, for an outside checker to judge. */
import type { Command } from "commander";
import { printJson, say } from "../base/terminal.ts";
import type { Answers } from "./conformance/mysticeti.ts";

export function registerConformanceCommand(program: Command): void {
  program
    .command("conformance")
    .summary("answer shared cases of the protocol's rules")
    .description(
      "Run cases of the protocol's rules and print what this program decides, whatever the file expects.",
    )
    .command("mysticeti")
    .description(
      "the consensus: committer, linearizer, threshold clock, block rules, block manager",
    )
    .argument("<file>", "cases in the format of mysticeti-cases.json")
    .option("--json", "one JSON document on stdout: every decision of every case")
    .addHelpText(
      "after",
      "\nExamples:\n  soma conformance mysticeti test/vectors/mysticeti-cases.json --json",
    )
    .action(async (path: string, options: { readonly json?: true }) => {
      const { answerCases, readCaseFile } = await import("./conformance/mysticeti.ts");
      const answers = answerCases(await readCaseFile(path));
      if (options.json === true) printJson(answers);
      else say(describeAnswers(answers));
    });
}

/** For people: every slot that the committer cases decided, then how many other cases were answered. */
export function describeAnswers(answers: Answers): string {
  const lines = answers.cases.flatMap(({ name, calls }) => [
    name,
    ...calls.map((decided, call) => {
      const slots = decided.map(
        ({ round, offset, status, by, block }) =>
          `${round}:${offset} ${status} ${block === undefined ? "" : `${block} `}${by}`,
      );
      return `  call ${call}: ${slots.length === 0 ? "nothing decided" : slots.join(", ")}`;
    }),
  ]);
  const { cases, ...others } = answers;
  const counts = Object.entries(others).map(
    ([group, list]: [string, readonly unknown[]]) => `${list.length} ${group}`,
  );
  return [...lines, `answered: ${cases.length} committer, ${counts.join(", ")}`].join("\n");
}
