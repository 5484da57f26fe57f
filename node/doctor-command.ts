/** `soma doctor`: what this machine has, what is missing, and what that costs. */
import type { Command } from "commander";
import { EXIT_CODES } from "../base/errors.ts";
import { printJson, say } from "../base/terminal.ts";
import type { Part } from "./runtime/doctor.ts";

export function registerDoctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("show what this machine has, and what each missing part costs")
    .option("--json", "one JSON document on stdout")
    .addHelpText("after", "\nExamples:\n  soma doctor\n  soma doctor --json")
    .action(async (options: { readonly json?: true }) => {
      const { diagnose, thisMachine } = await import("./runtime/doctor.ts");
      const diagnosis = await diagnose(thisMachine());
      if (options.json === true) printJson(diagnosis);
      else say(describeParts(diagnosis.parts));
      if (!diagnosis.ok) process.exitCode = EXIT_CODES.failure;
    });
}

/** A table of the parts, and below it what is missing with its remedy. */
export function describeParts(parts: readonly Part[]): string {
  const width = Math.max(...parts.map((part) => part.name.length));
  const lines = parts.map(
    (part) => `${part.name.padEnd(width)}  ${part.state.padEnd(7)}  ${part.detail}`,
  );
  const advice = parts
    .filter((part) => part.state !== "ok")
    .map((part) => `${part.name}: ${part.cost ?? ""}. To have it: ${part.remedy ?? ""}.`);
  return [...lines, ...(advice.length === 0 ? [] : ["", ...advice])].join("\n");
}
