/**
 * White margins cut away: drawings by different hands then fill their frames alike. A choice of an encoder's config
 * (`image.trim`), never part of the network's tokenizer.
 */
import type { Image } from "../tokenizer.ts";

/** A channel this far below white is ink. */
const INK_MIN = 10;

/** The smallest square around the ink, white where it leaves the picture. A blank picture comes back as it is. */
export function trimToSquare(image: Image): Image {
  const { width, height, pixels } = image;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 3;
      const darkest = Math.min(pixels[at] ?? 255, pixels[at + 1] ?? 255, pixels[at + 2] ?? 255);
      if (darkest > 255 - INK_MIN) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < left) return image;
  const inkWidth = right - left + 1;
  const inkHeight = bottom - top + 1;
  const side = Math.max(inkWidth, inkHeight);
  const offsetX = Math.floor((side - inkWidth) / 2);
  const offsetY = Math.floor((side - inkHeight) / 2);
  const square = new Uint8Array(side * side * 3).fill(255);
  for (let y = 0; y < inkHeight; y++) {
    const from = ((top + y) * width + left) * 3;
    square.set(pixels.subarray(from, from + inkWidth * 3), ((offsetY + y) * side + offsetX) * 3);
  }
  return { width: side, height: side, pixels: square };
}
