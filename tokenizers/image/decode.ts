/**
 * From a stranger's bytes to pixels on the protocol's grid, and back to PNG: the one door of sharp.
 * Jpeg, png and webp only, checked by their first bytes before the library sees them; sizes are checked from
 * the header before a pixel is decoded. Source: protocol part 2 "Image grid"; guides "faults" 4.4 "data".
 *
 * Pixels: the stored orientation (EXIF rotation ignored), the first frame of an animation, colours brought to
 * sRGB through the embedded profile (CMYK too), 16 bits cut to 8, grey spread to RGB, alpha laid over white,
 * then scaled to whole patches with fit "fill" and the Lanczos-3 kernel (enlarging: bicubic). The number of
 * units depends on the stored size alone; pixels may differ in the last bit between releases of libvips,
 * which is why sharp is pinned.
 */
import sharp, { type Sharp, type SharpOptions } from "sharp";
import { assert, SomaError } from "../../base/errors.ts";
import { MODALITIES } from "../modality.ts";
import type { Image } from "../tokenizer.ts";
import { IMAGE_PATCHES_MAX, imageGrid, PATCH_SIDE } from "../units.ts";
import { trimToSquare } from "./trim.ts";
import { hasEnd, refusedFormat, sniffFormat, type ImageFormat } from "./format.ts";

/** Stored pixels at most: 64 megapixels. */
export const IMAGE_PIXELS_MAX = 64_000_000;
/** Decoded bytes per encoded byte at most, for pictures above `BOMB_PIXELS_MIN`. */
export const IMAGE_RATIO_MAX = 200;
/** Smaller pictures may be as flat as they like: an empty page on a 4K screen is no attack, and costs 27 MB at most. */
const BOMB_PIXELS_MIN = 9_000_000;
/** Seconds that one picture may take; an honest 64-megapixel one takes about two. */
const DECODE_SECONDS_MAX = 30;
/** The longer side that a drawing without pixels (svg) is taken to have. */
const SVG_SIDE = 512;
/** A drawing is rendered at this multiple of its final size, then reduced: smoother edges. */
const SVG_OVERSAMPLING = 2;
/** Resolution at which one svg unit is one pixel. */
const SVG_DENSITY = 72;

const KERNEL = "lanczos3";
const WHITE = { r: 255, g: 255, b: 255 };

// Pictures are decoded side by side by worker threads and requests: one thread each, and nothing kept between them.
sharp.concurrency(1);
sharp.cache(false);

export interface DecodeOptions {
  /** Cap on the grid: 196 for the network, less for small models. */
  readonly maxPatches?: number;
  /** Also take svg: only for pictures of a pinned data set, never for a stranger's. */
  readonly trusted?: boolean;
  /** Cut white margins away before scaling: a choice of the encoder's, never the network's rule. */
  readonly trim?: boolean;
}

/** A picture on the patch grid, and the size it was stored in. */
export interface DecodedImage extends Image {
  readonly sourceWidth: number;
  readonly sourceHeight: number;
}

/**
 * Decode and scale to 16·columns × 16·rows pixels.
 * @returns pixels Uint8Array [height × width × 3], RGB interleaved, owned by the caller
 * @throws SomaError IMAGE_TOO_LARGE, UNSUPPORTED_IMAGE, IMAGE_BOMB (refused) or IMAGE_CORRUPT (corrupt)
 */
export async function decodeImage(
  bytes: Uint8Array,
  options: DecodeOptions = {},
): Promise<DecodedImage> {
  const { maxPatches = IMAGE_PATCHES_MAX, trusted = false } = options;
  const { inputBytesMax } = MODALITIES.image;
  if (bytes.length > inputBytesMax) {
    throw refused(
      "IMAGE_TOO_LARGE",
      `the picture has ${bytes.length} bytes, the limit is ${inputBytesMax}`,
      "save it smaller",
    );
  }
  const format = acceptedFormat(bytes, trusted);
  const decode = (patches: number): Promise<DecodedImage> =>
    format === "svg" ? renderSvg(bytes, patches) : decodeRaster(bytes, format, patches);
  if (options.trim !== true) return decode(maxPatches);
  // Decoded at the network's full size, then cut to the ink and scaled to the grid of the whole picture.
  const { sourceWidth, sourceHeight, ...large } = await decode(IMAGE_PATCHES_MAX);
  const { columns, rows } = imageGrid(sourceWidth, sourceHeight, maxPatches);
  const size = { width: columns * PATCH_SIDE, height: rows * PATCH_SIDE };
  return { ...(await resizeImage(trimToSquare(large), size)), sourceWidth, sourceHeight };
}

async function decodeRaster(
  bytes: Uint8Array,
  format: ImageFormat,
  maxPatches: number,
): Promise<DecodedImage> {
  const { width, height } = await headerSize(open(bytes), format);
  refuseBombs(width, height, bytes.length);
  if (!hasEnd(bytes, format)) throw corrupt(`the ${format} picture is cut short (no end mark)`);
  const { columns, rows } = imageGrid(width, height, maxPatches);
  const size = { width: columns * PATCH_SIDE, height: rows * PATCH_SIDE };
  const image = await rgb(open(bytes), size, format);
  return { ...image, sourceWidth: width, sourceHeight: height };
}

/** A drawing has proportions but no pixels: it counts as 512 on its longer side, and is rendered sharp for its grid. */
async function renderSvg(bytes: Uint8Array, maxPatches: number): Promise<DecodedImage> {
  const own = await headerSize(open(bytes), "svg");
  const scale = SVG_SIDE / Math.max(own.width, own.height);
  const sourceWidth = Math.max(1, Math.round(own.width * scale));
  const sourceHeight = Math.max(1, Math.round(own.height * scale));
  const { columns, rows } = imageGrid(sourceWidth, sourceHeight, maxPatches);
  const size = { width: columns * PATCH_SIDE, height: rows * PATCH_SIDE };
  const zoom =
    (SVG_OVERSAMPLING * Math.max(size.width, size.height)) / Math.max(own.width, own.height);
  const image = await rgb(open(bytes, { density: svgDensity(zoom) }), size, "svg");
  return { ...image, sourceWidth, sourceHeight };
}

/** Versions of the library behind this door, for `soma doctor`. */
export function imageLibrary(): string {
  return `sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`;
}

/** PNG bytes of a picture: lossless, 8-bit RGB. */
export async function encodePng(image: Image): Promise<Uint8Array> {
  return new Uint8Array(await fromPixels(image).png({ compressionLevel: 9 }).toBuffer());
}

/**
 * PNG bytes of an svg that we drew ourselves (plots, contact sheets). @param width pixels; the height follows.
 * @throws SomaError IMAGE_CORRUPT if it is not a drawing
 */
export async function svgToPng(svg: string, width: number): Promise<Uint8Array> {
  const bytes = new TextEncoder().encode(svg);
  const own = await headerSize(open(bytes), "svg");
  const drawing = open(bytes, { density: svgDensity(width / own.width) });
  return guard("svg", async () => new Uint8Array(await drawing.resize({ width }).png().toBuffer()));
}

/** A picture scaled to exactly `width` × `height` by the same kernel as `decodeImage`. */
export async function resizeImage(
  image: Image,
  size: { readonly width: number; readonly height: number },
): Promise<Image> {
  return rgb(fromPixels(image), size, "pixels");
}

function acceptedFormat(bytes: Uint8Array, trusted: boolean): ImageFormat {
  if (bytes.length === 0) {
    throw corrupt("the picture is empty (0 bytes)");
  }
  const format = sniffFormat(bytes);
  if (format !== undefined && (format !== "svg" || trusted)) return format;
  throw refused(
    "UNSUPPORTED_IMAGE",
    `the picture is ${format === "svg" ? "svg, which can hold scripts and links" : (refusedFormat(bytes) ?? "of no known format")}`,
    "save it as jpeg, png or webp",
  );
}

/** The stored size, read from the header alone. */
async function headerSize(
  input: Sharp,
  format: ImageFormat,
): Promise<{ readonly width: number; readonly height: number }> {
  const { width, height, format: found } = await guard(format, () => input.metadata());
  if (found !== format) throw corrupt(`the picture begins like ${format} but holds ${found}`);
  return { width, height };
}

function refuseBombs(width: number, height: number, encodedBytes: number): void {
  const pixels = width * height;
  if (pixels > IMAGE_PIXELS_MAX) {
    throw refused(
      "IMAGE_TOO_LARGE",
      `the picture has ${width} × ${height} pixels, the limit is ${IMAGE_PIXELS_MAX / 1e6} megapixels`,
      "scale it down first",
    );
  }
  if (pixels > BOMB_PIXELS_MIN && 3 * pixels > IMAGE_RATIO_MAX * encodedBytes) {
    throw refused(
      "IMAGE_BOMB",
      `the picture has ${encodedBytes} bytes for ${width} × ${height} pixels, as a decompression bomb would (limit ${IMAGE_RATIO_MAX} to 1)`,
      "scale it down first",
    );
  }
}

function open(bytes: Uint8Array, options: SharpOptions = {}): Sharp {
  return sharp(bytes, { failOn: "error", limitInputPixels: IMAGE_PIXELS_MAX, ...options });
}

function fromPixels(image: Image): Sharp {
  const { width, height, pixels } = image;
  assert(pixels.length === width * height * 3, "pixels fill the picture");
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

/** Decode, lay over white, scale, and give RGB bytes. */
async function rgb(
  input: Sharp,
  size: { readonly width: number; readonly height: number },
  format: ImageFormat | "pixels",
): Promise<Image> {
  const { data, info } = await guard(format, () =>
    input
      .timeout({ seconds: DECODE_SECONDS_MAX })
      // Flattened before scaling, so that the colour of invisible pixels never bleeds into visible ones.
      .flatten({ background: WHITE })
      .resize({
        ...size,
        fit: "fill",
        kernel: KERNEL,
        // Jpeg is halved inside its own transform, which is 2 to 8 times faster; webp's would mix colours of clear pixels.
        fastShrinkOnLoad: format === "jpeg",
      })
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true }),
  );
  assert(info.channels === 3, `a decoded picture has 3 channels, not ${info.channels}`);
  return { ...size, pixels: new Uint8Array(data) };
}

/** The library's message, in our words: whatever it refuses inside an accepted format is a damaged file. */
async function guard<T>(format: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SomaError) throw error;
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    if (reason.includes("pixel limit")) {
      throw refused(
        "IMAGE_TOO_LARGE",
        `the picture has more than ${IMAGE_PIXELS_MAX / 1e6} megapixels`,
        "scale it down first",
      );
    }
    if (reason.includes("timeout")) {
      throw refused(
        "IMAGE_TOO_SLOW",
        `the picture took more than ${DECODE_SECONDS_MAX} s to decode`,
        "save it again as a plain jpeg or png",
      );
    }
    throw corrupt(`the ${format} picture is damaged or cut short (${reason})`, error);
  }
}

function svgDensity(zoom: number): number {
  return Math.min(100_000, Math.max(1, SVG_DENSITY * zoom));
}

function refused(code: string, what: string, next: string): SomaError {
  return new SomaError({ code, kind: "refused", what, next });
}

function corrupt(what: string, cause?: unknown): SomaError {
  return new SomaError(
    { code: "IMAGE_CORRUPT", kind: "corrupt", what, next: "get the file again from its source" },
    { cause },
  );
}
