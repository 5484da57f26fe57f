/** Encoded pictures made on the spot, so that no binary file is committed. Sizes in pixels. */
import { createRequire } from "node:module";
import type { default as Sharp, Sharp as Pipeline } from "sharp";

// Tests make what the door must take or refuse, in formats the door itself cannot write.
const sharp = createRequire(import.meta.url)("sharp") as typeof Sharp;

export interface Colour {
  readonly r: number;
  readonly g: number;
  readonly b: number;
  /** 0 clear … 1 opaque */
  readonly alpha?: number;
}

export const ORANGE: Colour = { r: 200, g: 100, b: 50 };

/** A picture of one colour; give it a format by `.png()`, `.jpeg()` … and `bytesOf`. */
export function plain(width: number, height: number, colour: Colour = ORANGE): Pipeline {
  const channels = colour.alpha === undefined ? 3 : 4;
  return sharp({
    create: { width, height, channels, background: colour },
    limitInputPixels: false,
  });
}

/** A picture that does not compress: grey noise, the same in every run of one process or not; never compared. */
export function noise(width: number, height: number): Pipeline {
  return sharp({
    create: {
      width,
      height,
      channels: 3,
      background: "black",
      noise: { type: "gaussian", mean: 128, sigma: 60 },
    },
  });
}

/** Raw samples, interleaved: `channels` a pixel. */
export function raw(
  samples: Uint8Array | Uint16Array,
  size: { readonly width: number; readonly height: number; readonly channels: 1 | 2 | 3 | 4 },
): Pipeline {
  return sharp(samples, { raw: size });
}

/** Frames of one colour each, joined into an animation. */
export async function animation(colours: readonly Colour[], side: number): Promise<Pipeline> {
  const frames = await Promise.all(
    colours.map((colour) => plain(side, side, colour).png().toBuffer()),
  );
  return sharp(frames, { join: { animated: true } });
}

export async function bytesOf(picture: Pipeline): Promise<Uint8Array> {
  return new Uint8Array(await picture.toBuffer());
}
