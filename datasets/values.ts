/**
 * Single values of a user's table, checked and narrowed: the one place where foreign values come in. Every
 * refusal is a SomaError BAD_ROW (usage) that names the row.
 */
import { SomaError } from "../base/errors.ts";
import { nearestName } from "../base/nearest.ts";
import { MODALITIES } from "../tokenizers/modality.ts";
import { SPLITS, type Split } from "./dataset.ts";
import { parseSplit } from "./split.ts";
import { isRecord } from "./table.ts";

/** What a column can be. */
export const ROLES = ["id", "group", "split", "text", "image", "label", "variant"] as const;
export type Role = (typeof ROLES)[number];

/** Characters of an id, a group, a label or a variant at most. */
const NAME_LENGTH_MAX = 1024;

/** A picture as a row gives it: a path, not yet looked for, or its encoded bytes. */
export type DraftImage =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** The text of a row, as it stands; undefined if it is missing or empty. */
export function toText(value: unknown, place: string): string | undefined {
  const text = toPlainString(value, "text", place);
  if (text === undefined) return undefined;
  if (!/[^\s\p{Cc}]/u.test(text)) {
    throw badValue(place, "its text holds nothing but spaces and control characters");
  }
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > MODALITIES.text.inputBytesMax) {
    throw badValue(
      place,
      `its text has ${sizeBytes} bytes, the limit is ${MODALITIES.text.inputBytesMax}`,
    );
  }
  return text;
}

/** A short string that goes into messages and files: no control characters. */
export function toName(value: unknown, role: Role, place: string): string | undefined {
  const name = toPlainString(value, role, place);
  if (name === undefined) return undefined;
  if (name.length > NAME_LENGTH_MAX) {
    throw badValue(
      place,
      `its ${role} has ${name.length} characters, the limit is ${NAME_LENGTH_MAX}`,
    );
  }
  if (/\p{Cc}/u.test(name)) throw badValue(place, `its ${role} holds control characters`);
  return name;
}

/** Strings, and numbers and booleans as strings; undefined for what is missing or empty. */
function toPlainString(value: unknown, role: Role, place: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") {
    // A lone surrogate has no UTF-8 form: it would be one string here and another on disk.
    if (/\p{Surrogate}/u.test(value)) throw badValue(place, `its ${role} is not valid Unicode`);
    return value;
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw badValue(place, `its ${role} is ${value}`);
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return value.toString();
  }
  if (value instanceof Uint8Array) return decodeBytes(value, role, place);
  throw badValue(place, `its ${role} is neither a string nor a number`);
}

/** Parquet files of some writers do not mark strings as such. */
function decodeBytes(bytes: Uint8Array, role: Role, place: string): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text === "" ? undefined : text;
  } catch {
    throw badValue(place, `its ${role} is not UTF-8`);
  }
}

export function toLabel(
  value: unknown,
  classNames: readonly string[] | undefined,
  place: string,
): string | undefined {
  if (classNames === undefined || (typeof value !== "number" && typeof value !== "bigint")) {
    return toName(value, "label", place);
  }
  const index = Number(value);
  if (index === -1) return undefined; // Hugging Face's mark of an unlabelled row
  const name = classNames[index];
  if (name === undefined) throw badValue(place, `its label ${index} has no name`);
  return name;
}

export function toSplit(value: unknown, place: string): Split | undefined {
  const name = toName(value, "split", place);
  if (name === undefined) return undefined;
  const split = parseSplit(name);
  if (split !== undefined) return split;
  const nearest = nearestName(name, SPLITS);
  throw badValue(
    place,
    `there is no split "${name}"${nearest === undefined ? "" : ` (did you mean "${nearest}"?)`}`,
    `use ${SPLITS.join(", ")}`,
  );
}

/** A path, a data: URL, bytes, or Hugging Face's `{"bytes": …, "path": …}`. */
export function toImage(value: unknown, place: string): DraftImage | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") {
    if (value.startsWith("data:")) return { kind: "bytes", bytes: dataUrlBytes(value, place) };
    return { kind: "path", path: checkedPath(value, place) };
  }
  if (value instanceof Uint8Array) return imageBytes(value, place);
  if (isRecord(value)) {
    const { bytes, path } = value;
    if (bytes instanceof Uint8Array) return imageBytes(bytes, place);
    if (typeof bytes === "string") return imageBytes(base64Bytes(bytes, place), place);
    if (bytes === undefined || bytes === null) {
      if (typeof path === "string" && path !== "") {
        return { kind: "path", path: checkedPath(path, place) };
      }
      if (path === undefined || path === null) return undefined;
    }
  }
  throw badValue(place, "its image is neither a path nor bytes");
}

function imageBytes(bytes: Uint8Array, place: string): DraftImage {
  if (bytes.length === 0) throw badValue(place, "its image has no bytes");
  return { kind: "bytes", bytes };
}

function dataUrlBytes(url: string, place: string): Uint8Array {
  const comma = url.indexOf(",");
  if (comma < 0 || !/^data:[^,]*;base64$/i.test(url.slice(0, comma))) {
    throw badValue(place, "its image is a data: URL without base64 content");
  }
  const bytes = base64Bytes(url.slice(comma + 1), place);
  if (bytes.length === 0) throw badValue(place, "its image has no bytes");
  return bytes;
}

function base64Bytes(text: string, place: string): Uint8Array {
  // Buffer skips what is not base64; a picture cut short in that way would look merely corrupt.
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw badValue(place, "its image is not base64");
  }
  return Buffer.from(text, "base64");
}

function checkedPath(path: string, place: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    throw new SomaError({
      code: "IMAGE_URL_REFUSED",
      kind: "refused",
      what: `${place}: its image is a URL, and nothing is fetched`,
      next: "download the pictures and give their paths",
    });
  }
  if (path.includes("\0")) throw badValue(place, "its image path holds a zero byte");
  return path;
}

export function badValue(
  place: string,
  what: string,
  next = "correct the row and run again",
): SomaError {
  return new SomaError({ code: "BAD_ROW", kind: "usage", what: `${place}: ${what}`, next });
}
