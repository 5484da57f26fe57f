/** YAML text to plain values and back: the one door of `yaml`. YAML 1.2 core schema, so that "no" is a word and 1e-3 a number. */
import { parse, stringify } from "yaml";
import { SomaError } from "./errors.ts";

/**
 * The value of one YAML document (JSON is YAML too).
 * @param where what is read, for the message, e.g. "train.yaml"   @throws SomaError BAD_YAML with the line
 */
export function parseYaml(text: string, where: string): unknown {
  try {
    // Aliases can blow a small file up to gigabytes; a config has no use for more than a handful.
    return parse(text, { maxAliasCount: 64, prettyErrors: true }) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    throw new SomaError(
      {
        code: "BAD_YAML",
        kind: "usage",
        what: `${where} is not YAML: ${reason.replace(/:$/, "")}`,
        next: "correct the file and run again",
      },
      { cause: error },
    );
  }
}

/** Keys in the order of the object; no anchors, long strings on one line. */
export function toYaml(value: unknown): string {
  return stringify(value, { aliasDuplicateObjects: false, lineWidth: 0 });
}
