/**
 * Decoded pictures in memory that threads share: made by datasets/images.ts, and light enough that a thread which only
 * reads pictures loads no decoder.
 */
import { present } from "../base/errors.ts";
import type { Image } from "../tokenizers/tokenizer.ts";
import type { GreyLevels } from "./dataset.ts";

/** A picture that was left out, and why. */
export interface SkippedPicture {
  readonly id: string;
  /** The file, or how else the picture came. */
  readonly where: string;
  readonly reason: string;
}

export interface StoredImage extends Image {
  /** Size of the picture before it was scaled. */
  readonly sourceWidth: number;
  readonly sourceHeight: number;
}

/** A picture as it is kept, and as it goes to another thread: pixels or what they are made from, in shared memory. */
export type KeptPicture = Omit<StoredImage, "pixels"> &
  ({ readonly pixels: Uint8Array } | { readonly grey: GreyLevels });

/** Decoded pictures by example id. Owned by the caller; the pixels are shared and must not be changed. */
export class ImageStore {
  readonly skipped: readonly SkippedPicture[];
  /** Bytes of pixels, each distinct picture counted once. */
  readonly sizeBytes: number;
  /** Distinct pictures that were decoded now rather than read from the cache. */
  readonly decodedCount: number;
  private readonly pictures: ReadonlyMap<string, KeptPicture>;

  constructor(
    pictures: ReadonlyMap<string, KeptPicture>,
    made: {
      readonly skipped: readonly SkippedPicture[];
      readonly sizeBytes: number;
      readonly decodedCount: number;
    },
  ) {
    this.pictures = pictures;
    this.skipped = made.skipped;
    this.sizeBytes = made.sizeBytes;
    this.decodedCount = made.decodedCount;
  }

  get count(): number {
    return this.pictures.size;
  }

  has(id: string): boolean {
    return this.pictures.has(id);
  }

  /** The picture of an example. @throws InvariantError if the example was not loaded: ask `has` where pictures may be skipped */
  get(id: string): StoredImage {
    const kept = present(this.pictures.get(id), `no picture of ${id} was loaded`);
    if ("pixels" in kept) return kept;
    const { grey, ...size } = kept;
    return { ...size, pixels: greyPixels(grey) };
  }

  /** The pictures of those examples that have one, to be sent to a thread: their memory is shared, not copied. */
  share(ids: Iterable<string>): ReadonlyMap<string, KeptPicture> {
    const shared = new Map<string, KeptPicture>();
    for (const id of ids) {
      const kept = this.pictures.get(id);
      if (kept !== undefined) shared.set(id, kept);
    }
    return shared;
  }

  /** What `share` gave, in the thread that it was sent to. */
  static ofShared(pictures: ReadonlyMap<string, KeptPicture>): ImageStore {
    return new ImageStore(pictures, { skipped: [], sizeBytes: 0, decodedCount: 0 });
  }
}

/** RGB pixels [height × width × 3] of grey levels. */
export function greyPixels({ levels, columns, rows, zoom, margin }: GreyLevels): Uint8Array {
  const width = columns * zoom + 2 * margin;
  const pixels = new Uint8Array(width * (rows * zoom + 2 * margin) * 3);
  const rowBytes = width * 3;
  for (let row = 0; row < rows; row++) {
    const first = (margin + row * zoom) * rowBytes;
    let at = first + margin * 3;
    for (let column = 0; column < columns; column++) {
      pixels.fill(levels[row * columns + column] ?? 0, at, at + 3 * zoom);
      at += 3 * zoom;
    }
    for (let again = 1; again < zoom; again++)
      pixels.copyWithin(first + again * rowBytes, first, first + rowBytes);
  }
  return pixels;
}

/** The first segment of a `PixelMemory` has so many bytes, each further one twice as many, up to the greatest. */
const SEGMENT_BYTES_MIN = 1 << 20;
const SEGMENT_BYTES_MAX = 1 << 26;

/** Pixels laid one after another into memory that threads share. Grows by segments; nothing is given back singly. */
export class PixelMemory {
  private segment = new Uint8Array(new SharedArrayBuffer(0));
  private used = 0;
  private nextBytes = SEGMENT_BYTES_MIN;

  /** A copy of `pixels`. */
  add(pixels: Uint8Array): Uint8Array {
    if (this.used + pixels.length > this.segment.length) {
      this.segment = new Uint8Array(new SharedArrayBuffer(Math.max(this.nextBytes, pixels.length)));
      this.used = 0;
      this.nextBytes = Math.min(SEGMENT_BYTES_MAX, 2 * this.nextBytes);
    }
    const copy = this.segment.subarray(this.used, this.used + pixels.length);
    copy.set(pixels);
    this.used += pixels.length;
    return copy;
  }
}
