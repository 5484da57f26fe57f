import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SomaError } from "../../../base/errors.ts";
import { decodeText } from "../../../tokenizers/text/decode.ts";

/** Code points of one to four bytes, no halves of surrogate pairs. */
const anyText = (): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.nat(0x7f), fc.nat(0xd7ff), fc.integer({ min: 0xe000, max: 0x10ffff })))
    .map((codes) => String.fromCodePoint(...codes));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function refusal(bytes: Uint8Array): SomaError {
  try {
    decodeText(bytes);
  } catch (error) {
    if (error instanceof SomaError) return error;
  }
  throw new Error("was not refused by a SomaError");
}

test("text with a visible character comes back as it is, byte order mark and line ends included", () => {
  fc.assert(
    fc.property(anyText(), (text) => {
      expect(decodeText(utf8(`x${text}`))).toBe(`x${text}`);
    }),
  );
  expect(decodeText(utf8("\ufeffa\r\n\tb\0"))).toBe("\ufeffa\r\n\tb\0");
});

test("text up to 1 MiB is taken, one byte more is refused", () => {
  expect(decodeText(utf8("a".repeat(2 ** 20)))).toHaveLength(2 ** 20);
  for (const bytes of [2 ** 20 + 1, 10 * 2 ** 20]) {
    const error = refusal(utf8("a".repeat(bytes)));
    expect([error.code, error.kind]).toEqual(["TEXT_TOO_LARGE", "refused"]);
    expect(error.message).toContain(`${bytes}`);
  }
});

test.each([
  ["nothing", ""],
  ["control characters", "\0\u0001\u001b\u007f\u0085"],
  ["line ends", "\r\n\n"],
  ["spaces of all sorts", " \u00a0\u2003\u3000\u2028"],
  ["a byte order mark", "\ufeff"],
])("text of %s alone is refused as empty", (_name, text) => {
  const error = refusal(utf8(text));
  expect([error.code, error.kind]).toEqual(["TEXT_EMPTY", "refused"]);
});

describe("bytes that are not UTF-8 are refused, with line and offset", () => {
  test.each([
    ["a byte that never occurs", [0x61, 0x0a, 0x62, 0xff], 2, 3],
    ["a continuation byte alone", [0x80], 1, 0],
    ["a character cut short by another", [0x61, 0xe2, 0x82, 0x41], 1, 3],
    ["a character cut short by the end", [0x61, 0x0a, 0x0a, 0xe2, 0x82], 3, 3],
    ["an overlong slash", [0xc0, 0xaf], 1, 0],
    ["half a surrogate pair", [0x61, 0xed, 0xa0, 0x80], 1, 2],
    ["a code point past the last", [0xf4, 0x90, 0x80, 0x80], 1, 1],
    ["Latin-1", [0x63, 0x61, 0x66, 0xe9, 0x20], 1, 4],
  ])("%s", (_name, bytes, line, offset) => {
    const error = refusal(Uint8Array.from(bytes));
    expect([error.code, error.kind]).toEqual(["TEXT_NOT_UTF8", "corrupt"]);
    expect(error.message).toContain(`line ${line}, byte ${offset} `);
  });

  test("wherever the first bad byte lies", () => {
    fc.assert(
      fc.property(anyText(), fc.uint8Array(), (text, tail) => {
        const head = utf8(text);
        const error = refusal(Uint8Array.from([...head, 0xff, ...tail]));
        expect(error.message).toContain(`byte ${head.length} (0xff)`);
      }),
    );
  });
});
