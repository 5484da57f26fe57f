import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { SomaError } from "../../base/errors.ts";
import { registerTokenizerCommands } from "../../tokenizers/commands.ts";
import { decodeImage } from "../../tokenizers/image/decode.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { loadTextTokenizer } from "../../tokenizers/text/sentencepiece.ts";
import type { Vectors } from "../support/mask-vectors.ts";
import { bytesOf, noise, plain } from "../support/pictures.ts";

const folder = mkdtempSync(join(tmpdir(), "soma-tokenize-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Run `soma ARGUMENTS` and give what it wrote to stdout. */
async function soma(...words: readonly string[]): Promise<string> {
  let written = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    written += String(chunk);
    return true;
  });
  const program = new Command().exitOverride();
  registerTokenizerCommands(program);
  await program.parseAsync(words, { from: "user" });
  vi.restoreAllMocks();
  return written;
}

/** The refusal of `soma ARGUMENTS`; fails if there is none. */
async function refusal(...words: readonly string[]): Promise<SomaError> {
  try {
    await soma(...words);
  } catch (error) {
    if (error instanceof SomaError) return error;
    throw error;
  }
  throw new Error(`soma ${words.join(" ")} was not refused`);
}

function file(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("soma tokenize --modality text", () => {
  const idsOf = async (text: string): Promise<readonly (readonly number[])[]> => {
    const path = file("lines.txt", text);
    const json = JSON.parse(await soma("tokenize", "--modality", "text", path, "--json")) as {
      readonly lines: readonly { readonly ids: readonly number[] }[];
    };
    expect(Object.keys(json)).toEqual(["lines"]);
    return json.lines.map((line) => {
      expect(Object.keys(line)).toEqual(["ids"]);
      return line.ids;
    });
  };

  test("gives Google's ids of each line of a file", async () => {
    const vectors = JSON.parse(
      readFileSync(new URL("../vectors/spm-lines.json", import.meta.url), "utf8"),
    ) as readonly { readonly line: string; readonly ids: readonly number[] }[];
    const text = vectors.map(({ line }) => `${line}\n`).join("");
    expect(await idsOf(text)).toEqual(vectors.map(({ ids }) => ids));
  });

  test("ends a line at a line feed alone, and needs none behind the last", async () => {
    const tokenizer = await loadTextTokenizer();
    const ids = (line: string): readonly number[] => Array.from(tokenizer.encode(line));
    expect(await idsOf("a\nb")).toEqual([ids("a"), ids("b")]);
    expect(await idsOf("a\nb\n")).toEqual([ids("a"), ids("b")]);
    expect(await idsOf("a\n\n\n")).toEqual([ids("a"), [], []]);
    expect(await idsOf("a\r\nb\u2028c\vd\n")).toEqual([ids("a\r"), ids("b\u2028c\vd")]);
    expect(ids("a\r")).not.toEqual(ids("a"));
    expect(await idsOf("\n \na")).toEqual([[], [], ids("a")]);
  });

  test("gives control characters as bytes where a file holds text too", async () => {
    const tokenizer = await loadTextTokenizer();
    const [control = []] = await idsOf("\u0001\0\ntext");
    expect(control.map((id) => tokenizer.piece(id))).toEqual(["▁", "<0x01>", "<0x00>"]);
  });

  test("shows people the pieces, and says what the network cuts", async () => {
    const path = file("people.txt", `a red heart\n${"word ".repeat(600)}\n`);
    const lines = (await soma("tokenize", "--modality", "text", path)).split("\n");
    expect(lines[0]).toBe("1  (3)  ▁a ▁red ▁heart");
    expect(lines[1]).toMatch(/^2 {2}\(600, 512 kept\) {2}▁word ▁word .*…$/);
  });

  test.each<readonly [string, Uint8Array, string, string]>([
    ["empty", new Uint8Array(), "TEXT_EMPTY 4", "0 bytes"],
    ["control-only", Uint8Array.of(0, 1, 2, 10), "TEXT_EMPTY 4", "4 bytes"],
    ["not UTF-8", Uint8Array.of(97, 10, 98, 0xff, 10), "TEXT_NOT_UTF8 5", "line 2, byte 3 (0xff)"],
    ["10 MiB", new Uint8Array(10 * 2 ** 20).fill(97), "FILE_TOO_LARGE 4", "1 MiB"],
  ])("refuses a file that is %s, by name", async (name, content, outcome, where) => {
    const path = file(`${name}.txt`, content);
    const error = await refusal("tokenize", "--modality", "text", path);
    expect(`${error.code} ${error.exitCode}`).toBe(outcome);
    expect(error.message).toContain(path);
    expect(error.message).toContain(where);
    expect(error.next).toBeDefined();
  });
});

describe("soma tokenize --modality image", () => {
  const tokenize = (path: string, ...more: readonly string[]): Promise<string> =>
    soma("tokenize", "--modality", "image", path, ...more);

  test("gives units, size and the hash of the patches in order", async () => {
    const bytes = await bytesOf(noise(300, 200).png());
    const { patches } = patchify(await decodeImage(bytes));
    // 19 × 13 patches are over the cap of 196: isqrt(196·300/200) = 17 by isqrt(196·200/300) = 11.
    expect(JSON.parse(await tokenize(file("noise.png", bytes), "--json"))).toEqual({
      units: 187,
      width: 272,
      height: 176,
      sha256: createHash("sha256").update(patches).digest("hex"),
    });
  });

  test("of a picture with known pixels has a hash that can be made by hand", async () => {
    const path = file("plain.png", await bytesOf(plain(128, 16, { r: 1, g: 2, b: 3 }).png()));
    const pixels = Buffer.alloc(128 * 16 * 3, Buffer.of(1, 2, 3));
    expect(JSON.parse(await tokenize(path, "--json"))).toMatchObject({
      units: 8,
      sha256: createHash("sha256").update(pixels).digest("hex"),
    });
    expect(await tokenize(path)).toMatch(/stored +128 × 16 pixels\n.*\nunits +8 = 8 × 1 patches\n/);
  });

  test.each<readonly [string, () => Promise<Uint8Array>, string]>([
    ["1 × 1", () => bytesOf(plain(1, 1).png()), "TOO_FEW_UNITS 4"],
    ["of 7 units", () => bytesOf(plain(112, 16).png()), "TOO_FEW_UNITS 4"],
    ["gif", () => bytesOf(plain(64, 64).gif()), "UNSUPPORTED_IMAGE 4"],
    ["empty", () => Promise.resolve(new Uint8Array()), "IMAGE_CORRUPT 5"],
    ["over 8 MiB", () => Promise.resolve(new Uint8Array(8 * 2 ** 20 + 1)), "FILE_TOO_LARGE 4"],
  ])("refuses a picture that is %s, by name", async (name, make, outcome) => {
    const path = file(`${name}.bin`, await make());
    const error = await refusal("tokenize", "--modality", "image", path);
    expect(`${error.code} ${error.exitCode}`).toBe(outcome);
    expect(error.message).toContain(path);
  });
});

describe("soma tokenize", () => {
  test.each([
    ["a file that is not there", ["image", join(folder, "none.png")], "FILE_NOT_FOUND 3"],
    ["a folder", ["text", folder], "FILE_UNREADABLE 1"],
    ["a modality without a tokenizer", ["audio", folder], "NO_TOKENIZER 2"],
  ])("refuses %s", async (_name, [modality = "", path = ""], outcome) => {
    const error = await refusal("tokenize", "--modality", modality, path);
    expect(`${error.code} ${error.exitCode}`).toBe(outcome);
  });

  test("names the modality that was meant", async () => {
    const error = await refusal("tokenize", "--modality", "imgae", folder);
    expect(error.line()).toBe(
      'error[BAD_ARGUMENT]: unknown modality "imgae"; did you mean "image"?',
    );
  });
});

describe("soma mask", () => {
  const zeros = "00".repeat(32);
  const request = (changes: Readonly<Record<string, string>> = {}): readonly string[] => {
    const flags = {
      modality: "image",
      units: "196",
      digest: zeros,
      "data-hash": zeros,
      ...changes,
    };
    return ["mask", ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])];
  };

  test("gives the masks of the vectors", async () => {
    const url = new URL("../vectors/golden-tokens-and-masks.json", import.meta.url);
    const cases = (JSON.parse(readFileSync(url, "utf8")) as Vectors).masks;
    const allowed = cases.filter(({ units }) => units >= 8);
    expect(allowed.length).toBeGreaterThan(10);
    for (const { modality, units, digest, dataHash, item, M, masks } of allowed) {
      const flags = { modality, units: `${units}`, digest, "data-hash": dataHash, item: `${item}` };
      const written = await soma(...request({ ...flags, masks: `${M}` }), "--json");
      expect(JSON.parse(written)).toEqual({ masks });
    }
  });

  test("draws four masks of a single datum unless asked otherwise, and takes hex of either case", async () => {
    const digest = "ab".repeat(32);
    const written = await soma(...request({ digest }), "--json");
    const explicit = request({ digest: digest.toUpperCase(), item: "0", masks: "4" });
    expect(await soma(...explicit, "--json")).toBe(written);
  });

  test("shows people where the drawn units lie", async () => {
    const [title, ...rows] = (await soma(...request({ units: "12", masks: "1" })))
      .trimEnd()
      .split("\n");
    expect(title).toBe("mask 0: 10 of 12 units drawn");
    expect(rows).toHaveLength(3);
    expect(
      rows
        .join(" ")
        .split(" ")
        .filter((symbol) => symbol === "#"),
    ).toHaveLength(10);
    expect(
      rows
        .join(" ")
        .split(" ")
        .filter((symbol) => symbol === "·"),
    ).toHaveLength(2);
  });

  test.each<readonly [string, Readonly<Record<string, string>>, string]>([
    ["7 units", { units: "7" }, "TOO_FEW_UNITS 4"],
    ["more units than a modality has", { units: "197" }, "TOO_MANY_UNITS 4"],
    ["units that are no number", { units: "1e2" }, "BAD_ARGUMENT 2"],
    ["negative units", { units: "-8" }, "BAD_ARGUMENT 2"],
    ["an item past u32", { item: "4294967296" }, "BAD_ARGUMENT 2"],
    ["no masks", { masks: "0" }, "BAD_MASK_COUNT 2"],
    ["17 masks", { masks: "17" }, "BAD_MASK_COUNT 2"],
    ["a short digest", { digest: "00" }, "BAD_ARGUMENT 2"],
    ["a data hash that is not hex", { "data-hash": "g".repeat(64) }, "BAD_ARGUMENT 2"],
    ["an unknown modality", { modality: "smell" }, "BAD_ARGUMENT 2"],
  ])("refuses %s", async (_name, changes, outcome) => {
    const error = await refusal(...request(changes));
    expect(`${error.code} ${error.exitCode}`).toBe(outcome);
  });
});
