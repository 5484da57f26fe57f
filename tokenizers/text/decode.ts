/** From a stranger's bytes to text. Source: protocol part 2 (1 MiB); guides "faults" 4.4 "data". */
import { isUtf8 } from "node:buffer";
import { SomaError } from "../../base/errors.ts";
import { MODALITIES } from "../modality.ts";

/**
 * Strict UTF-8. A byte order mark is kept: it is part of what was hashed. Line ends are kept too.
 * @throws SomaError TEXT_TOO_LARGE, TEXT_EMPTY (refused) or TEXT_NOT_UTF8 (corrupt), naming the first bad byte;
 *   TEXT_EMPTY also for text of control characters and white space alone
 */
export function decodeText(bytes: Uint8Array): string {
  const { inputBytesMax } = MODALITIES.text;
  if (bytes.length > inputBytesMax) {
    throw new SomaError({
      code: "TEXT_TOO_LARGE",
      kind: "refused",
      what: `the text has ${bytes.length} bytes, the limit is ${inputBytesMax}`,
      next: "split it",
    });
  }
  if (!isUtf8(bytes)) {
    const offset = firstBadByte(bytes);
    throw new SomaError({
      code: "TEXT_NOT_UTF8",
      kind: "corrupt",
      what: `the text is not UTF-8: line ${lineOf(bytes, offset)}, byte ${offset} (0x${hexByte(bytes[offset])})`,
      next: "convert it to UTF-8",
    });
  }
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  if (!/[^\p{Cc}\p{Zs}\p{Zl}\p{Zp}\ufeff]/u.test(text)) {
    throw new SomaError({
      code: "TEXT_EMPTY",
      kind: "refused",
      what:
        bytes.length === 0
          ? "the text is empty (0 bytes)"
          : `the text holds nothing but control characters and white space (${bytes.length} bytes)`,
      next: "give text with at least one visible character",
    });
  }
  return text;
}

/** Offset of the first byte that cannot continue UTF-8. @param bytes not valid UTF-8 */
function firstBadByte(bytes: Uint8Array): number {
  // A prefix that ends inside a character is still good, so "good" is monotone in the length.
  const good = (length: number): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let low = 0; // a good length
  let high = bytes.length + 1; // a bad one; the length itself may be good if the last character is cut short
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (middle <= bytes.length && good(middle)) low = middle;
    else high = middle;
  }
  if (low < bytes.length) return low;
  // The last character is cut short: name its first byte, behind which only continuation bytes 10xxxxxx follow.
  let offset = bytes.length - 1;
  while (((bytes[offset] ?? 0) & 0xc0) === 0x80) offset--;
  return offset;
}

/** 1-based line that holds the byte at `offset`. */
function lineOf(bytes: Uint8Array, offset: number): number {
  let line = 1;
  for (let i = 0; i < offset; i++) if (bytes[i] === 0x0a) line++;
  return line;
}

function hexByte(byte = 0): string {
  return byte.toString(16).padStart(2, "0");
}
