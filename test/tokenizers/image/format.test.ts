import { describe, expect, test } from "vitest";
import { hasEnd, sniffFormat } from "../../../tokenizers/image/format.ts";
import { bytesOf, noise, plain } from "../../support/pictures.ts";

const SVG = `<?xml version="1.0"?>\n<!-- a dot --><svg xmlns="http://www.w3.org/2000/svg"></svg>`;

describe("a format is told by the first bytes", () => {
  test.each<readonly [string, string | undefined]>([
    [SVG, "svg"],
    [`\ufeff  ${SVG}`, "svg"],
    ["<svg/>", undefined],
    ["<svgx>", undefined],
    ["<html><svg></svg></html>", undefined],
    ["RIFF....WAVE", undefined],
    ["\u0089PNG", undefined],
  ])("%j", (text, format) => {
    expect(sniffFormat(new TextEncoder().encode(text))).toBe(format);
  });
});

describe("a file has its end", () => {
  test.each<readonly [string, "jpeg" | "png", () => Promise<Uint8Array>]>([
    ["jpeg", "jpeg", () => bytesOf(noise(90, 70).jpeg())],
    ["progressive jpeg", "jpeg", () => bytesOf(noise(90, 70).jpeg({ progressive: true }))],
    ["jpeg with a profile", "jpeg", () => bytesOf(noise(90, 70).withIccProfile("p3").jpeg())],
    ["png", "png", () => bytesOf(noise(90, 70).png())],
  ])(
    "if it is whole, also with bytes behind it, and at no earlier length: %s",
    async (_name, format, make) => {
      const whole = await make();
      expect(hasEnd(whole, format)).toBe(true);
      expect(hasEnd(Uint8Array.from([...whole, 1, 2, 3, 0xff]), format)).toBe(true);
      for (let length = 8; length < whole.length; length++) {
        if (hasEnd(whole.subarray(0, length), format)) throw new Error(`found at ${length}`);
      }
    },
  );

  test("of its own, not of a thumbnail inside it", async () => {
    const thumbnail = await bytesOf(plain(16, 16).jpeg());
    const whole = await bytesOf(noise(90, 70).jpeg());
    const length = thumbnail.length + 2;
    // An application segment right behind the start of the picture, as cameras write it.
    const segment = [0xff, 0xe1, length >> 8, length & 255, ...thumbnail];
    const picture = Uint8Array.from([...whole.subarray(0, 2), ...segment, ...whole.subarray(2)]);
    expect(hasEnd(picture, "jpeg")).toBe(true);
    expect(hasEnd(picture.subarray(0, -2), "jpeg")).toBe(false);
  });
});
