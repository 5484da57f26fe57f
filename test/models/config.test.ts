import { describe, expect, it } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { parseEncoderConfig } from "../../models/config.ts";

const IMAGE = {
  channels: [8, 16],
  width: 16,
  layers: 1,
  heads: 2,
  anchors: 2,
  head: 0,
  maxPatches: 16,
};
const TEXT = { vocabularySize: 8192, width: 16, layers: 1, heads: 2, maxTokens: 64 };
const ENCODER = { architecture: "transformer", dimension: 32, matryoshka: [8, 32], image: IMAGE };

describe("parseEncoderConfig", () => {
  it("takes what an encoder can be built from", () => {
    expect(parseEncoderConfig(ENCODER)).toMatchObject(ENCODER);
  });

  it("asks for as many channels as the patch stem has convolutions", () => {
    for (const channels of [[], [8], [8, 8, 8]])
      expectBadConfig({ ...ENCODER, image: { ...IMAGE, channels } }, "image.channels");
  });

  it("asks for a width that splits among the heads, where there are layers that use them", () => {
    expectBadConfig({ ...ENCODER, image: { ...IMAGE, heads: 3 } }, "image.heads");
    expectBadConfig({ ...ENCODER, text: { ...TEXT, width: 17 } }, "text.heads");
    const bare = { ...ENCODER, image: { ...IMAGE, layers: 0, heads: 3 } };
    expect(parseEncoderConfig(bare).image?.heads).toBe(3);
  });

  it("asks for cuts that ascend and end in the dimension", () => {
    for (const matryoshka of [[8, 16], [8, 64], [16, 8, 32], [8, 8, 32], [8, 32, 64], []])
      expectBadConfig({ ...ENCODER, matryoshka }, "matryoshka");
  });
});

/** Refused, naming the key. */
function expectBadConfig(value: unknown, key: string): void {
  let refusal: unknown;
  try {
    parseEncoderConfig(value);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(SomaError);
  expect(refusal).toMatchObject({ code: "BAD_CONFIG", exitCode: 2 });
  expect(String(refusal)).toContain(`encoder config: ${key}: `);
}
