/**
 * What a picture's bytes say about themselves, read before any library sees them: the format by its first
 * bytes, and whether the file ends where its format says. Never trusts a name or a declared type.
 */

export type ImageFormat = "jpeg" | "png" | "webp" | "svg";

/** The format told by the first bytes, or undefined. */
export function sniffFormat(bytes: Uint8Array): ImageFormat | undefined {
  if (startsWith(bytes, [0xff, 0xd8, 0xff])) return "jpeg";
  if (startsWith(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return "png";
  if (startsWith(bytes, ascii("RIFF")) && startsWith(bytes.subarray(8), ascii("WEBP"))) {
    return "webp";
  }
  const head = new TextDecoder().decode(bytes.subarray(0, 1024)).trimStart();
  return /^(<\?xml[^>]*>|<!--[^]*?-->|<!DOCTYPE[^>]*>|\s)*<svg[\s>]/i.test(head)
    ? "svg"
    : undefined;
}

/** Names of formats that are refused, so that the message can say what was given. */
export function refusedFormat(bytes: Uint8Array): string | undefined {
  if (startsWith(bytes, ascii("GIF8"))) return "a gif";
  if (startsWith(bytes, ascii("BM"))) return "a bmp";
  if (startsWith(bytes, ascii("II*\0")) || startsWith(bytes, ascii("MM\0*"))) return "a tiff";
  if (startsWith(bytes.subarray(4), ascii("ftyp"))) return "a heif, avif or video file";
  if (startsWith(bytes, ascii("%PDF"))) return "a pdf";
  return undefined;
}

/**
 * Does the file hold its format's end mark? Decoders stop behind the last pixel, some with a guess at missing
 * ones, so that a file cut near its end would pass or not as chance has it. Bytes behind the mark are allowed.
 */
export function hasEnd(bytes: Uint8Array, format: ImageFormat): boolean {
  switch (format) {
    case "png":
      return pngHasEnd(bytes);
    case "jpeg":
      return jpegHasEnd(bytes);
    case "webp": // its header states the file's size, and the library checks it
    case "svg": // an open tag is an error of XML
      return true;
  }
}

/** Chunks: u32 length, 4 letters, that many bytes, u32 checksum. The last is IEND. */
function pngHasEnd(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    if (startsWith(bytes.subarray(at + 4), ascii("IEND"))) return true;
  }
  return false;
}

/**
 * Segments: 0xff, a marker, u16 length (itself included), data. Behind a start of scan follow coded pixels, in
 * which 0xff is written 0xff 0x00 and restart markers are allowed; they end at the next other marker. A picture
 * inside a segment (a thumbnail) is skipped with it, so its own end mark does not count.
 */
function jpegHasEnd(bytes: Uint8Array): boolean {
  let at = 2;
  for (;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0 || at + 1 >= bytes.length) return false;
    const marker = bytes[at + 1] ?? 0;
    if (marker === JPEG_END) return true;
    if (marker === 0xff)
      at += 1; // padding before a marker
    else if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8))
      at += 2; // a coded 0xff, or a marker without data
    else at += 2 + ((bytes[at + 2] ?? 0) << 8) + (bytes[at + 3] ?? 0);
  }
}

const JPEG_END = 0xd9;

function startsWith(bytes: Uint8Array, head: ArrayLike<number>): boolean {
  return bytes.length >= head.length && Array.from(head).every((byte, i) => bytes[i] === byte);
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
