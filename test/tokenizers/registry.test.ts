import { expect, test } from "vitest";
import { decodeText } from "../../tokenizers/text/decode.ts";
import {
  loadTokenizer,
  TOKENIZED_MODALITIES,
  tokenizedModality,
} from "../../tokenizers/registry.ts";
import { unitCount } from "../../tokenizers/tokenizer.ts";
import { bytesOf, plain } from "../support/pictures.ts";

test("each tokenizer says the modality it is registered under", async () => {
  for (const modality of TOKENIZED_MODALITIES) {
    expect((await loadTokenizer(modality)).modality).toBe(modality);
  }
});

test("the text tokenizer takes bytes to ids", async () => {
  const tokenizer = await loadTokenizer("text");
  const text = await tokenizer.decode(new TextEncoder().encode("a red heart"));
  expect(text).toBe(decodeText(new TextEncoder().encode("a red heart")));
  expect(tokenizer.tokenize(text)).toMatchObject({ kind: "ids", modality: "text" });
});

test("the image tokenizer takes bytes to patches", async () => {
  const tokenizer = await loadTokenizer("image");
  const tokens = tokenizer.tokenize(await tokenizer.decode(await bytesOf(plain(64, 32).png())));
  expect(tokens).toMatchObject({ kind: "patches", modality: "image", patchBytes: 768 });
  expect(unitCount(tokens)).toBe(8);
});

test.each(["video", "audio"] as const)("%s has no tokenizer yet, and says so", (modality) => {
  expect(() => tokenizedModality(modality)).toThrow(
    expect.objectContaining({ code: "NO_TOKENIZER", kind: "usage" }),
  );
});
