/**
 * From a request's JSON to inputs for the encoder: text, token ids, or a picture's bytes. Shapes are OpenAI's
 * (string, list of strings, ids, list of ids) and Jina's ({"text": …}, {"image": base64 or data: URL}).
 */
import { nearestName } from "../../base/nearest.ts";
import { Refusal } from "./route.ts";

export type EmbeddingInput =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "ids"; readonly ids: Int32Array }
  /** An encoded picture, not yet decoded. */
  | { readonly kind: "image"; readonly bytes: Uint8Array };

/** Characters of all texts of one request: tokenizing is done between two batches and must stay short. */
const TEXT_CHARACTERS_MAX = 2 * 2 ** 20;

/** The fields of a JSON object. @throws Refusal 422 for another value, or a field that is not in `known` */
export function fieldsOf(
  body: unknown,
  known: readonly string[],
): Readonly<Record<string, unknown>> {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw badInput("the body must be a JSON object");
  }
  for (const name of Object.keys(body)) {
    if (known.includes(name)) continue;
    const nearest = nearestName(name, known);
    const hint =
      nearest === undefined ? `known are ${known.join(", ")}` : `did you mean "${nearest}"?`;
    throw badInput(`unknown field "${name}"; ${hint}`, name);
  }
  return body as Readonly<Record<string, unknown>>;
}

/** A field of one type. @throws Refusal 422 */
export function optionalField<T>(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  is: (value: unknown) => value is T,
  wanted: string,
): T | undefined {
  // Own fields only: "constructor" is no field of a stranger's.
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (value === undefined || value === null) return undefined;
  if (!is(value)) throw badInput(`"${name}" must be ${wanted}`, name);
  return value;
}

export const isString = (value: unknown): value is string => typeof value === "string";
export const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";
export const isPositiveInteger = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) > 0;

/**
 * The inputs of a request, in order.
 * @param name  the field they stand in, for messages: "input" or "inputs"
 * @throws Refusal 422 for what is no input or none at all, 413 for more than `countMax` or too much text
 */
export function parseInputs(
  value: unknown,
  { name, countMax }: { readonly name: string; readonly countMax: number },
): readonly EmbeddingInput[] {
  if (value === undefined || value === null) throw badInput(`"${name}" is missing`, name);
  // A list of numbers is one input; a list of anything else is one input per item.
  const single = !Array.isArray(value) || (value.length > 0 && value.every(isNumber));
  const items: readonly unknown[] = single ? [value] : value;
  if (items.length === 0) throw badInput(`"${name}" is an empty list`, name);
  if (items.length > countMax) {
    throw new Refusal({
      status: 413,
      code: "BATCH_TOO_LARGE",
      message: `${items.length} inputs in one request; at most ${countMax} are taken, send them in parts`,
      parameter: name,
    });
  }
  const inputs = items.map((item, i) => parseInput(item, single ? name : `${name}[${i}]`));
  const characters = inputs.reduce(
    (sum, input) => sum + (input.kind === "text" ? input.text.length : 0),
    0,
  );
  if (characters > TEXT_CHARACTERS_MAX) {
    throw new Refusal({
      status: 413,
      code: "TEXT_TOO_LARGE",
      message: `${characters} characters of text in one request; at most ${TEXT_CHARACTERS_MAX} are taken`,
      parameter: name,
    });
  }
  return inputs;
}

/** One input. @param name  where it stands, for messages  @throws Refusal 422 */
export function parseInput(value: unknown, name: string): EmbeddingInput {
  if (typeof value === "string") return textInput(value, name);
  if (Array.isArray(value)) return idsInput(value, name);
  if (typeof value !== "object" || value === null) {
    throw badInput(
      `"${name}" must be a string, a list of token ids, or an object with "text" or "image"`,
      name,
    );
  }
  const fields = fieldsOf(value, ["text", "image"]);
  const text = optionalField(fields, "text", isString, "a string");
  const image = optionalField(fields, "image", isString, "a string");
  if ((text === undefined) === (image === undefined)) {
    throw badInput(`"${name}" needs one of "text" and "image"`, name);
  }
  if (text !== undefined) return textInput(text, name);
  return { kind: "image", bytes: decodePicture(image ?? "", name) };
}

function textInput(text: string, name: string): EmbeddingInput {
  if (text.length === 0) throw badInput(`"${name}" is an empty string`, name);
  return { kind: "text", text };
}

function idsInput(value: readonly unknown[], name: string): EmbeddingInput {
  if (value.length === 0) throw badInput(`"${name}" is an empty list`, name);
  // Int32Array would wrap a larger number into a valid id.
  if (!value.every(isTokenId)) throw badInput(`"${name}" must hold whole numbers, token ids`, name);
  return { kind: "ids", ids: Int32Array.from(value) };
}

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Bytes of base64 or of a data: URL. Other URLs are refused: a server that fetches them can be made to reach into its network. */
function decodePicture(text: string, name: string): Uint8Array {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    throw badInput(
      `"${name}" is a URL, which is never fetched; send the picture itself, as base64 or as a data: URL`,
      name,
    );
  }
  let base64 = text;
  if (/^data:/i.test(text)) {
    const comma = text.indexOf(",");
    if (!/;base64$/i.test(text.slice(0, Math.max(0, comma)))) {
      throw badInput(`"${name}" is a data: URL without ";base64,"`, name);
    }
    base64 = text.slice(comma + 1);
  }
  if (!BASE64.test(base64) || base64.replace(/=+$/, "").length % 4 === 1) {
    throw badInput(`"${name}" is not base64`, name);
  }
  return Buffer.from(base64, "base64");
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function isTokenId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}

export function badInput(message: string, parameter?: string): Refusal {
  return new Refusal({
    status: 422,
    code: "INVALID_INPUT",
    message,
    ...(parameter === undefined ? {} : { parameter }),
  });
}
