/**
 * Typed configuration, checked at the edge: the one door of zod. An unknown key or a wrong type is an error that
 * names the place and the nearest known key.
 */
import { z } from "zod";
import { SomaError } from "./errors.ts";
import { nearestName } from "./nearest.ts";

export { z };

/** `value` parsed by `schema`, deeply frozen. @param where what the value is, for the message, e.g. "config.json" */
export function parseConfig<S extends z.ZodType>(
  schema: S,
  value: unknown,
  where: string,
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return deepFreeze(result.data);
  const issue = result.error.issues[0];
  const path = issue?.path.map(String).join(".") ?? "";
  const place = path === "" ? where : `${where}: ${path}`;
  if (issue?.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const nearest = nearestName(key, knownKeys(schema, issue.path));
    throw new SomaError({
      code: "UNKNOWN_KEY",
      kind: "usage",
      what: `${place}: unknown key "${key}"`,
      next: nearest === undefined ? "remove it" : `did you mean "${nearest}"?`,
    });
  }
  throw new SomaError({
    code: "BAD_CONFIG",
    kind: "usage",
    what: `${place}: ${issue?.message ?? "is not valid"}`,
    next: "correct the value and run again",
  });
}

/** The keys that the object at `path` inside `schema` may have. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let current: unknown = schema;
  for (const step of [...path, undefined]) {
    while (
      current instanceof z.ZodOptional ||
      current instanceof z.ZodDefault ||
      current instanceof z.ZodNullable
    ) {
      current = current.unwrap();
    }
    if (!(current instanceof z.ZodObject)) return [];
    const shape = current.shape as Record<string, unknown>;
    if (step === undefined) return Object.keys(shape);
    current = shape[String(step)];
  }
  return [];
}

/** A loop, not a recursion: a document may be nested deeper than a stack. */
function deepFreeze<T>(value: T): T {
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next !== "object" || next === null || ArrayBuffer.isView(next)) continue;
    for (const inner of Object.values(next)) open.push(inner);
    Object.freeze(next);
  }
  return value;
}
