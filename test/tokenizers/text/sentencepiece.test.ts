import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InvariantError } from "../../../base/errors.ts";
import {
  checkTextModel,
  SPECIAL_IDS,
  TEXT_MODEL_SHA256,
  textModelPath,
  VOCABULARY_SIZE,
} from "../../../tokenizers/text/model-file.ts";
import { loadTextTokenizer, type TextTokenizer } from "../../../tokenizers/text/sentencepiece.ts";

interface Line {
  readonly line: string;
  readonly ids: readonly number[];
}

const LINES =
  process.env["SOMA_SPM_LINES"] ?? new URL("../../vectors/spm-lines.json", import.meta.url);
const listeners = (): readonly number[] =>
  ["uncaughtException", "unhandledRejection"].map((event) => process.listenerCount(event));

/** Any code points, halves of surrogate pairs too. */
const anyText = (): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.integer({ min: 0, max: 0x3ff }), fc.integer({ min: 0, max: 0x10ffff })))
    .map((codes) => String.fromCodePoint(...codes));

let tokenizer: TextTokenizer;
let listenersBefore: readonly number[];
beforeAll(async () => {
  listenersBefore = listeners();
  tokenizer = await loadTextTokenizer();
});

const folder = mkdtempSync(join(tmpdir(), "soma-text-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("ids", () => {
  test("are those of Google's SentencePiece on every line of the vectors", () => {
    const lines = JSON.parse(readFileSync(LINES, "utf8")) as readonly Line[];
    expect(lines.length).toBeGreaterThan(400);
    for (const { line, ids } of lines) {
      expect(Array.from(tokenizer.encode(line)), JSON.stringify(line)).toEqual(ids);
    }
  });

  test("are in the vocabulary, for any string, and never ids that only we may place", () => {
    const special = new Set<number>(Object.values(SPECIAL_IDS));
    fc.assert(
      fc.property(anyText(), (text) => {
        const ids = Array.from(tokenizer.encode(text));
        expect(ids.every((id) => id < VOCABULARY_SIZE && !special.has(id))).toBe(true);
      }),
    );
  });

  test("say all of the text: decoded, they are its NFKC form with spaces joined", () => {
    // Assigned long ago, so that the library's Unicode tables and Node's agree on them.
    const letter = fc.constantFrom(...Array.from("abzA9 é½ﬁÅßжЖ漢字かガｶ한글ก़ा!\u0301#€😀"));
    fc.assert(
      fc.property(fc.string({ unit: letter }), (text) => {
        const expected = text.normalize("NFKC").replace(/ +/g, " ").replace(/^ | $/g, "");
        // The library maps known sequences and does not compose what the mapping brings together: ﬁ + ◌́ stays f, i, ◌́.
        const decoded = tokenizer.decodeIds(tokenizer.encode(text)).normalize("NFKC");
        expect(decoded).toBe(expected);
      }),
    );
  });

  test("of half a surrogate pair are those of U+FFFD, and what follows it is untouched", () => {
    for (const lone of ["\ud800", "\udc00", "\udbff"]) {
      for (const [before, after] of [
        ["", ""],
        ["a", "b"],
        ["", "漢字"],
        ["x ", "\ud83d\ude00"],
      ] as const) {
        expect(tokenizer.encode(before + lone + after)).toEqual(
          tokenizer.encode(`${before}\ufffd${after}`),
        );
      }
    }
  });

  test("of a text that spells a special piece are ordinary ones", () => {
    for (const text of ["[MASK]", "[CLS]", "[SEP]", "<s>", "</s>", "<unk>", "<pad>", "<0x41>"]) {
      const ids = tokenizer.encode(text);
      expect(ids.length).toBeGreaterThan(2);
      expect(tokenizer.decodeIds(ids)).toBe(text);
    }
  });

  test("of the network are the first 512", () => {
    const text = "word ".repeat(700);
    expect(tokenizer.encode(text)).toHaveLength(700);
    const { kind, modality, ids } = tokenizer.tokenize(text);
    expect([kind, modality]).toEqual(["ids", "text"]);
    expect(ids).toEqual(tokenizer.encode(text).slice(0, 512));
  });

  test("are found for a line as long as a text may be", () => {
    const ids = tokenizer.encode("a".repeat(2 ** 20));
    const characters = ids.reduce((sum, id) => sum + tokenizer.piece(id).length, 0);
    expect(characters).toBe(1 + 2 ** 20); // the space that every line is given in front
    expect(tokenizer.encode(" ".repeat(2 ** 20))).toHaveLength(0);
    expect(tokenizer.encode("\0".repeat(2 ** 16))).toHaveLength(1 + 2 ** 16);
  });
});

describe("the vocabulary", () => {
  test("has 8,192 pieces: special ones first, then 256 bytes", () => {
    expect(tokenizer.vocabularySize).toBe(8192);
    const named = Object.entries(tokenizer.specialIds).map(([name, id]) => [
      name,
      tokenizer.piece(id),
    ]);
    expect(named).toEqual([
      ["padding", "<pad>"],
      ["unknown", "<unk>"],
      ["begin", "<s>"],
      ["end", "</s>"],
      ["mask", "[MASK]"],
      ["classify", "[CLS]"],
      ["separate", "[SEP]"],
    ]);
    expect([7, 0x48, 262].map((id) => tokenizer.piece(id))).toEqual(["<0x00>", "<0x41>", "<0xFF>"]);
    expect(new Set(Array.from({ length: 8192 }, (_, id) => tokenizer.piece(id))).size).toBe(8192);
  });

  test("has special pieces that vanish when decoded, but for the unknown one", () => {
    const { padding, begin, end, mask, classify, separate, unknown } = SPECIAL_IDS;
    const text = Array.from(tokenizer.encode("a red heart"));
    const marked = [begin, classify, ...text, mask, separate, end, padding];
    expect(tokenizer.decodeIds(marked)).toBe("a red heart");
    expect(tokenizer.decodeIds([...text, unknown])).toBe("a red heart \u2047 ");
  });

  test("has every printable ASCII character", () => {
    for (let code = 0x21; code < 0x7f; code++) {
      const character = String.fromCharCode(code);
      const pieces = Array.from(tokenizer.encode(`a${character}`), (id) => tokenizer.piece(id));
      expect(pieces.join("")).toBe(`▁a${character}`);
    }
  });

  test.each([-1, 8192, 0.5, Number.NaN])("has no id %s", (id) => {
    expect(() => tokenizer.decodeIds([id])).toThrow(InvariantError);
    expect(() => tokenizer.piece(id)).toThrow(InvariantError);
  });
});

describe("the model file", () => {
  test("is pinned: its hash is the tokenizer's", () => {
    expect(tokenizer.sha256).toBe(TEXT_MODEL_SHA256);
    expect(checkTextModel(textModelPath())).toHaveLength(VOCABULARY_SIZE);
  });

  test("may be a copy, as in a checkpoint, and gives the same ids", async () => {
    const copy = join(folder, "copy.model");
    copyFileSync(textModelPath(), copy);
    const other = await loadTextTokenizer(copy);
    expect(other.encode("a red heart")).toEqual(tokenizer.encode("a red heart"));
  });

  test.each<readonly [string, (bytes: Uint8Array) => Uint8Array]>([
    ["changed by one bit", (bytes) => bytes.map((byte, i) => (i === 9000 ? byte ^ 1 : byte))],
    ["cut short by a byte", (bytes) => bytes.slice(0, -1)],
    ["with a byte more", (bytes) => Uint8Array.from([...bytes, 0])],
    ["of text", () => new TextEncoder().encode("the library takes this for a model")],
    ["of nothing", () => new Uint8Array()],
  ])("%s is refused before the library sees it", async (name, change) => {
    const path = join(folder, `${name}.model`);
    writeFileSync(path, change(readFileSync(textModelPath())));
    await expect(loadTextTokenizer(path)).rejects.toMatchObject({
      code: "TOKENIZER_CORRUPT",
      kind: "corrupt",
      message: expect.stringContaining(path) as string,
    });
  });

  test("that is missing is not found", async () => {
    await expect(loadTextTokenizer(join(folder, "none.model"))).rejects.toMatchObject({
      code: "TOKENIZER_NOT_FOUND",
      kind: "notFound",
    });
  });
});

test("the library leaves no listeners behind that would crash the program its own way", () => {
  expect(listeners()).toEqual(listenersBefore);
});

test("many encodings do not grow the process", () => {
  const encodeMany = (count: number): number => {
    for (let i = 0; i < count; i++) tokenizer.encode(`text number ${i} of many, 漢字 😀`);
    return process.memoryUsage().rss;
  };
  const warm = encodeMany(10_000);
  expect(encodeMany(40_000) - warm).toBeLessThan(24 * 2 ** 20); // a leak of 1 KB a call would be 40 MB
});
