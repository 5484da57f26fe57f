import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import {
  decodeImage,
  encodePng,
  resizeImage,
  svgToPng,
  type DecodedImage,
} from "../../../tokenizers/image/decode.ts";
import { sniffFormat } from "../../../tokenizers/image/format.ts";
import type { Image } from "../../../tokenizers/tokenizer.ts";
import { imageGrid } from "../../../tokenizers/units.ts";
import {
  animation,
  bytesOf,
  noise,
  ORANGE,
  plain,
  raw,
  type Colour,
} from "../../support/pictures.ts";

const RED: Colour = { r: 255, g: 0, b: 0 };
const BLUE: Colour = { r: 0, g: 0, b: 255 };
const SVG = `<?xml version="1.0"?>\n<!-- a dot --><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 18">
<circle cx="18" cy="9" r="9" fill="#f00"/></svg>`;

/** What a decode ends in: "ok", or code and exit code of the refusal. */
async function outcome(bytes: Uint8Array): Promise<string> {
  try {
    await decodeImage(bytes);
    return "ok";
  } catch (error) {
    return error instanceof SomaError ? `${error.code} ${error.exitCode}` : String(error);
  }
}

/** The colour in the middle, and how far any channel anywhere is from it. */
function colourOf(image: Image): { readonly colour: readonly number[]; readonly spread: number } {
  const at = 3 * (Math.floor(image.height / 2) * image.width + Math.floor(image.width / 2));
  const colour = Array.from(image.pixels.subarray(at, at + 3));
  const spread = image.pixels.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - (colour[i % 3] ?? 0))),
    0,
  );
  return { colour, spread };
}

/** Fails unless the picture is of one colour, within `tolerance` of 255 levels. */
function expectPlain(image: Image, wanted: readonly number[], tolerance: number): void {
  const { colour, spread } = colourOf(image);
  expect(spread).toBeLessThanOrEqual(tolerance);
  colour.forEach((value, i) => {
    expect(Math.abs(value - (wanted[i] ?? 0)), colour.join()).toBeLessThanOrEqual(tolerance);
  });
}

describe("a decoded picture", () => {
  test("has the size of its grid, whatever the stored size and the cap", async () => {
    const side = fc.integer({ min: 1, max: 500 });
    await fc.assert(
      fc.asyncProperty(side, side, fc.integer({ min: 1, max: 196 }), async (w, h, maxPatches) => {
        const bytes = await bytesOf(plain(w, h).png({ compressionLevel: 0 }));
        const image = await decodeImage(bytes, { maxPatches });
        const { columns, rows } = imageGrid(w, h, maxPatches);
        expect(image).toMatchObject({ width: 16 * columns, height: 16 * rows });
        expect(image).toMatchObject({ sourceWidth: w, sourceHeight: h });
        expect(image.pixels).toHaveLength(16 * 16 * columns * rows * 3);
      }),
      { numRuns: 25 },
    );
  });

  test("of whole patches in a lossless format keeps its pixels exactly", async () => {
    const pixels = Uint8Array.from({ length: 48 * 32 * 3 }, (_, i) => (i * 37) % 251);
    const size = { width: 48, height: 32, channels: 3 } as const;
    for (const picture of [raw(pixels, size).png(), raw(pixels, size).webp({ lossless: true })]) {
      const decoded = await decodeImage(await bytesOf(picture));
      expect(Buffer.compare(decoded.pixels, pixels)).toBe(0);
    }
  });

  test("is its own memory: the bytes it came from may be used again", async () => {
    const bytes = await bytesOf(plain(32, 32).png());
    const first = await decodeImage(bytes);
    const copy = first.pixels.slice();
    first.pixels.fill(0);
    expect((await decodeImage(bytes)).pixels).toEqual(copy);
    expect(first.pixels.byteOffset).toBe(0);
    expect(first.pixels.buffer.byteLength).toBe(first.pixels.length);
  });

  test.each<readonly [string, () => Promise<Uint8Array>, readonly number[], number]>([
    ["jpeg", () => bytesOf(plain(100, 50).jpeg({ quality: 95 })), [200, 100, 50], 2],
    ["webp", () => bytesOf(plain(100, 50).webp({ quality: 95 })), [200, 100, 50], 4],
    ["png", () => bytesOf(plain(100, 50).png()), [200, 100, 50], 0],
    ["png with a palette", () => bytesOf(plain(100, 50).png({ palette: true })), [200, 100, 50], 1],
    ["interlaced png", () => bytesOf(plain(100, 50).png({ progressive: true })), [200, 100, 50], 0],
    [
      "progressive jpeg",
      () => bytesOf(plain(100, 50).jpeg({ progressive: true })),
      [200, 100, 50],
      2,
    ],
    ["16-bit png", () => bytesOf(plain(100, 50).toColourspace("rgb16").png()), [200, 100, 50], 1],
    [
      "grey png",
      () =>
        bytesOf(raw(grey(1), { width: 40, height: 40, channels: 1 }).toColourspace("b-w").png()),
      [90, 90, 90],
      0,
    ],
    [
      "grey jpeg",
      () => bytesOf(plain(100, 50, { r: 90, g: 90, b: 90 }).greyscale().jpeg()),
      [90, 90, 90],
      2,
    ],
    [
      "16-bit grey png",
      () => bytesOf(plain(50, 50, { r: 90, g: 90, b: 90 }).toColourspace("grey16").png()),
      [90, 90, 90],
      1,
    ],
    // Ink cannot mix every colour; sRGB → CMYK → sRGB moves this orange by up to 30 levels.
    ["CMYK jpeg", () => bytesOf(plain(100, 50).toColourspace("cmyk").jpeg()), [200, 100, 50], 32],
    [
      "jpeg with a wide-gamut profile",
      () => bytesOf(plain(100, 50).withIccProfile("p3").jpeg()),
      [200, 100, 50],
      4,
    ],
    ["1 × 1 png", () => bytesOf(plain(1, 1).png()), [200, 100, 50], 0],
  ])("comes in sRGB bytes from %s", async (_name, make, wanted, tolerance) => {
    expectPlain(await decodeImage(await make()), wanted, tolerance);
  });

  test.each([
    ["half clear png", { ...ORANGE, alpha: 0.5 }, [227, 177, 152]],
    ["clear png", { ...ORANGE, alpha: 0 }, [255, 255, 255]],
    ["opaque png", { ...ORANGE, alpha: 1 }, [200, 100, 50]],
  ])("is laid over white: %s", async (_name, colour, wanted) => {
    expectPlain(await decodeImage(await bytesOf(plain(100, 50, colour).png())), wanted, 1);
    const webp = await bytesOf(plain(100, 50, colour).webp({ lossless: true, exact: true }));
    expectPlain(await decodeImage(webp), wanted, 1);
  });

  test("is laid over white before it is scaled: the colour of clear pixels never shows", async () => {
    // Opaque white beside clear black; scaled by 3 to 8, so that every kernel reaches across the edge.
    const side = 600;
    const pixels = new Uint8Array(side * side * 4);
    for (let i = 0; i < side * side; i++)
      if (i % side < side / 2) pixels.fill(255, 4 * i, 4 * i + 4);
    const picture = (): ReturnType<typeof raw> =>
      raw(pixels, { width: side, height: side, channels: 4 });
    for (const bytes of [
      await bytesOf(picture().png()),
      await bytesOf(picture().webp({ lossless: true, exact: true })),
    ]) {
      for (const maxPatches of [196, 16]) {
        expectPlain(await decodeImage(bytes, { maxPatches }), [255, 255, 255], 0);
      }
    }
  });

  test("keeps the stored orientation: EXIF rotation is ignored", async () => {
    const turned = plain(160, 48).withMetadata({ orientation: 6 }).jpeg();
    expect(await decodeImage(await bytesOf(turned))).toMatchObject({
      width: 160,
      height: 48,
      sourceWidth: 160,
      sourceHeight: 48,
    });
  });

  test("is the first frame of an animation, of its own size", async () => {
    const moving = (await animation([RED, BLUE, ORANGE], 64)).webp({ lossless: true });
    const image = await decodeImage(await bytesOf(moving));
    expect(image).toMatchObject({ sourceWidth: 64, sourceHeight: 64, width: 64, height: 64 });
    expectPlain(image, [255, 0, 0], 1);
  });

  test("is the same in every run and beside others", async () => {
    const bytes = await bytesOf(noise(333, 217).jpeg());
    const alone = await decodeImage(bytes);
    const together = await Promise.all(Array.from({ length: 6 }, () => decodeImage(bytes)));
    for (const other of together) expect(Buffer.compare(other.pixels, alone.pixels)).toBe(0);
  });
});

describe("refused are", () => {
  test.each<readonly [string, () => Promise<Uint8Array>]>([
    ["gif", () => bytesOf(plain(64, 64).gif())],
    ["an animated gif", async () => bytesOf((await animation([RED, BLUE], 64)).gif())],
    ["tiff", () => bytesOf(plain(64, 64).tiff())],
    ["avif", () => bytesOf(plain(64, 64).avif())],
    ["svg of a stranger", () => Promise.resolve(new TextEncoder().encode(SVG))],
    ["pdf", () => Promise.resolve(new TextEncoder().encode("%PDF-1.7\n"))],
    ["text", () => Promise.resolve(new TextEncoder().encode("no picture at all"))],
    ["zeros", () => Promise.resolve(new Uint8Array(1000))],
  ])("other formats: %s", async (_name, make) => {
    expect(await outcome(await make())).toBe("UNSUPPORTED_IMAGE 4");
  });

  test("more than 8 MiB, before anything is read from them", async () => {
    expect(await outcome(new Uint8Array(8 * 2 ** 20 + 1))).toBe("IMAGE_TOO_LARGE 4");
  });

  test("more than 64 megapixels, told by the header", async () => {
    expect(await outcome(withPngSize(await bytesOf(plain(16, 16).png()), 8001, 8000))).toBe(
      "IMAGE_TOO_LARGE 4",
    );
    expect(await outcome(withPngSize(await bytesOf(plain(16, 16).png()), 9_000_000, 8))).toBe(
      "IMAGE_TOO_LARGE 4",
    );
  });

  test("decompression bombs within the pixel limit, told by the header: no pixel is decoded", async () => {
    // 8000 × 8000 pixels are claimed and none are there: reading them would have ended in IMAGE_CORRUPT.
    const claimed = withPngSize(await bytesOf(plain(16, 16).png()), 8000, 8000);
    expect(await outcome(claimed)).toBe("IMAGE_BOMB 4");
  });

  test("but not plain pictures of up to 9 megapixels, however well they compress", async () => {
    const flat = await bytesOf(plain(3840, 2160).png({ palette: true }));
    expect((3 * 3840 * 2160) / flat.length).toBeGreaterThan(200);
    expect(await outcome(flat)).toBe("ok");
    expect(await outcome(withPngSize(flat, 3001, 3000))).toBe("IMAGE_BOMB 4");
  });

  test("empty files", async () => {
    expect(await outcome(new Uint8Array())).toBe("IMAGE_CORRUPT 5");
  });

  test.each<readonly [string, () => Promise<Uint8Array>]>([
    ["png", () => bytesOf(noise(120, 90).png())],
    ["jpeg", () => bytesOf(noise(120, 90).jpeg())],
    ["progressive jpeg", () => bytesOf(noise(120, 90).jpeg({ progressive: true }))],
    ["webp", () => bytesOf(noise(120, 90).webp())],
    ["lossless webp", () => bytesOf(noise(120, 90).webp({ lossless: true }))],
  ])("%s cut short anywhere", async (_name, make) => {
    const whole = await make();
    expect(await outcome(whole)).toBe("ok");
    const lengths = [13, 40, ...[0.25, 0.5, 0.9].map((share) => Math.floor(whole.length * share))];
    for (const length of [...lengths, whole.length - 9, whole.length - 5, whole.length - 2]) {
      expect(await outcome(whole.subarray(0, length)), `${length} of ${whole.length}`).toBe(
        "IMAGE_CORRUPT 5",
      );
    }
  });

  test("png with a flipped bit: its checksums tell", async () => {
    const whole = await bytesOf(noise(120, 90).png());
    // In the size, in the middle of the pixels, and near their end.
    for (const at of [20, Math.floor(whole.length / 2), whole.length - 40]) {
      const damaged = whole.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 4;
      expect(await outcome(damaged)).toMatch(/^IMAGE_(CORRUPT 5|TOO_LARGE 4)$/);
    }
  });
});

test("random bytes behind a good beginning end in a typed error or a picture, never otherwise", async () => {
  const heads = [
    [0xff, 0xd8, 0xff],
    [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
  ];
  const webp = [...new TextEncoder().encode("RIFF\u0010\0\0\0WEBPVP8 ")];
  const bytes = fc
    .tuple(fc.constantFrom(...heads, webp), fc.uint8Array({ maxLength: 400 }))
    .map(([head, tail]) => Uint8Array.from([...head, ...tail]));
  await fc.assert(
    fc.asyncProperty(bytes, async (input) => {
      expect(await outcome(input)).toMatch(/^(ok|IMAGE_[A-Z_]+ [45])$/);
    }),
    { numRuns: 150 },
  );
});

test("one changed byte anywhere ends in a typed error or a picture of the same grid", async () => {
  const wholes = [
    await bytesOf(noise(48, 32).jpeg()),
    await bytesOf(noise(48, 32).webp()),
    await bytesOf(plain(48, 32).png()),
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...wholes),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      async (whole, at, change) => {
        const damaged = whole.slice();
        const index = at % damaged.length;
        damaged[index] = (damaged[index] ?? 0) ^ change;
        expect(await outcome(damaged)).toMatch(/^(ok|IMAGE_[A-Z_]+ [45]|UNSUPPORTED_IMAGE 4)$/);
      },
    ),
    { numRuns: 150 },
  );
});

describe("a drawing of a trusted set", () => {
  const trusted = async (maxPatches: number): Promise<DecodedImage> =>
    decodeImage(new TextEncoder().encode(SVG), { trusted: true, maxPatches });

  test("counts as 512 pixels on its longer side, and fills its grid in its own proportions", async () => {
    // 512 × 256 is 32 × 16 patches; under 196: isqrt(196·2) = 19 by isqrt(196/2) = 9, under 32: 8 by 4.
    expect(await trusted(196)).toMatchObject({
      sourceWidth: 512,
      sourceHeight: 256,
      width: 304,
      height: 144,
    });
    expect(await trusted(32)).toMatchObject({ width: 128, height: 64 });
  });

  test("is drawn sharp and over white", async () => {
    const { width, height, pixels } = await trusted(32);
    const pixel = (x: number, y: number): readonly number[] =>
      Array.from(pixels.subarray(3 * (y * width + x), 3 * (y * width + x) + 3));
    expect(pixel(width / 2, height / 2)).toEqual([255, 0, 0]);
    expect(pixel(2, 2)).toEqual([255, 255, 255]);
    // The disc's edge, 64 pixels wide, lies at x = 32: two pixels away all is decided.
    expect(pixel(29, height / 2)).toEqual([255, 255, 255]);
    expect(pixel(35, height / 2)).toEqual([255, 0, 0]);
  });

  test("that is broken is refused", async () => {
    const broken = new TextEncoder().encode(SVG.slice(0, 120));
    await expect(decodeImage(broken, { trusted: true })).rejects.toMatchObject({
      code: "IMAGE_CORRUPT",
    });
  });
});

describe("pictures of ours", () => {
  test("come back from png exactly", async () => {
    const pixels = Uint8Array.from({ length: 32 * 16 * 3 }, (_, i) => (i * 91) % 256);
    const png = await encodePng({ width: 32, height: 16, pixels });
    expect(sniffFormat(png)).toBe("png");
    expect((await decodeImage(png)).pixels).toEqual(pixels);
  });

  test("are resized to exactly the size asked", async () => {
    const image = await decodeImage(await bytesOf(plain(64, 64).png()));
    const small = await resizeImage(image, { width: 20, height: 7 });
    expect(small).toMatchObject({ width: 20, height: 7 });
    expectPlain(small, [200, 100, 50], 0);
    expect(image.width).toBe(64);
  });

  test("drawn as svg become png of the width asked", async () => {
    const image = await decodeImage(await svgToPng(SVG, 320));
    expect(image).toMatchObject({ sourceWidth: 320, sourceHeight: 160 });
    await expect(svgToPng("no drawing", 100)).rejects.toMatchObject({ code: "IMAGE_CORRUPT" });
  });
});

/** Samples of one grey, 90 of 255. */
function grey(channels: number): Uint8Array {
  return new Uint8Array(40 * 40 * channels).fill(90);
}

/** A png whose header claims another size, with a right checksum. */
function withPngSize(png: Uint8Array, width: number, height: number): Uint8Array {
  const changed = png.slice();
  const view = new DataView(changed.buffer);
  view.setUint32(16, width);
  view.setUint32(20, height);
  view.setUint32(29, crc32(changed.subarray(12, 29)));
  return changed;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
