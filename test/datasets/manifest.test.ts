import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  Binary,
  Dictionary,
  Int32,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
  type Vector,
} from "apache-arrow";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { beforeAll, describe, expect, test } from "vitest";
import type { Dataset } from "../../datasets/dataset.ts";
import { loadManifest } from "../../datasets/manifest.ts";
import { loadDataset } from "../../datasets/registry.ts";
import { splitOf } from "../../datasets/split.ts";
import { plainPng, refusal, temporaryFolder } from "./support.ts";

let folder: string;
let fileCount = 0;
beforeAll(async () => {
  folder = await temporaryFolder();
  await mkdir(join(folder, "pictures"));
  for (const shade of [0, 100, 200]) {
    await writeFile(join(folder, "pictures", `${shade}.png`), await plainPng(shade));
  }
});

/** Writes a manifest beside the pictures and loads it. */
async function load(extension: string, content: string | Uint8Array): Promise<Dataset> {
  return (await loadWithWarnings(extension, content)).dataset;
}

async function loadWithWarnings(
  extension: string,
  content: string | Uint8Array,
): Promise<{ dataset: Dataset; warnings: string[] }> {
  const path = join(folder, `m${fileCount++}${extension}`);
  await writeFile(path, content);
  const warnings: string[] = [];
  const dataset = await loadManifest(path, { warn: (sentence) => warnings.push(sentence) });
  return { dataset, warnings };
}

const jsonl = (...rows: readonly object[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join("");

interface Row {
  readonly id: string;
  readonly group: string;
  readonly split?: string;
  readonly text?: string;
  readonly image?: string;
  readonly label?: string;
  readonly variant?: string;
}

const COLUMNS = ["id", "group", "split", "text", "image", "label", "variant"] as const;
type Column = (typeof COLUMNS)[number];

/** The same rows in each format, by its writer's own hand. */
const WRITERS: Readonly<Record<string, (rows: readonly Row[]) => string | Uint8Array>> = {
  ".jsonl": (rows) => jsonl(...rows),
  ".csv": (rows) => delimited(rows, ",", "\r\n"),
  ".tsv": (rows) => delimited(rows, "\t", "\n"),
  ".parquet": (rows) =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: COLUMNS.map((name) => ({
          name,
          data: rows.map((row) => row[name] ?? null),
          type: "STRING",
          nullable: true,
        })),
      }),
    ),
  ".arrow": (rows) => tableToIPC(arrowTable(rows), "file"),
};

function delimited(rows: readonly Row[], delimiter: string, end: string): string {
  const quoted = (field: string): string => `"${field.replaceAll('"', '""')}"`;
  const lines = rows.map((row) => COLUMNS.map((name) => quoted(row[name] ?? "")).join(delimiter));
  return `\ufeff${[COLUMNS.join(delimiter), ...lines].join(end)}${end}`;
}

function arrowTable(rows: readonly Row[]): Table {
  const column = (name: Column): Vector =>
    vectorFromArray(
      rows.map((row) => row[name] ?? null),
      // Dictionary-encoded text is what pandas' categories become.
      name === "label" ? new Dictionary(new Utf8(), new Int32()) : new Utf8(),
    );
  return new Table(Object.fromEntries(COLUMNS.map((name) => [name, column(name)])));
}

const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
  .filter((text) => !/\p{Cc}/u.test(text));
const row = fc
  .record(
    {
      group: name,
      split: fc.constantFrom("train", "validation", "test"),
      text: fc.oneof(name, fc.constant('line one,\nline "two"\t\r\nthree')),
      image: fc.constantFrom("pictures/0.png", "pictures/100.png", "./pictures/200.png"),
      label: name,
      variant: name,
    },
    { requiredKeys: ["group"] },
  )
  .filter(({ text, image }) => text !== undefined || image !== undefined);
const rows = fc
  .array(row, { minLength: 1, maxLength: 8 })
  .map((list): Row[] => list.map((one, index) => ({ id: `row ${index}`, ...one })));

test("the same rows give the same examples in every format", async () => {
  await fc.assert(
    fc.asyncProperty(rows, async (list) => {
      const expected = list.map(({ image, split, ...rest }) => ({
        ...rest,
        split: split ?? splitOf("user", rest.group),
        ...(image === undefined ? {} : { shade: /\d+/.exec(image)?.[0] }),
      }));
      const digests = new Set<string>();
      for (const [extension, write] of Object.entries(WRITERS)) {
        const dataset = await load(extension, write(list));
        const got = dataset.examples.map(({ image, ...rest }) => ({
          ...rest,
          ...(image?.kind === "file" ? { shade: /(\d+)\.png$/.exec(image.path)?.[1] } : {}),
        }));
        expect(got, extension).toEqual(expected);
        digests.add(dataset.digest);
      }
      expect(digests.size).toBe(1);
    }),
    { numRuns: 25 },
  );
});

describe("pictures may be given as bytes", () => {
  const expectBytes = async (dataset: Dataset): Promise<void> => {
    const png = await plainPng(7);
    const image = dataset.examples[0]?.image;
    expect(image?.kind).toBe("bytes");
    if (image?.kind === "bytes") expect(Buffer.from(image.bytes).equals(png)).toBe(true);
  };

  test("as a data: URL or a bytes field in JSON lines, and a data: URL in CSV", async () => {
    const base64 = Buffer.from(await plainPng(7)).toString("base64");
    const url = `data:image/png;base64,${base64}`;
    await expectBytes(await load(".jsonl", jsonl({ id: 1, group: "g", image: url })));
    await expectBytes(
      await load(".jsonl", jsonl({ id: 1, group: "g", image: { bytes: base64, path: null } })),
    );
    await expectBytes(await load(".csv", `id,group,image\n1,g,"${url}"\n`));
  });

  test("as a binary column in Parquet and Arrow", async () => {
    const png = await plainPng(7);
    const parquet = parquetWriteBuffer({
      columnData: [
        { name: "id", data: [1], type: "INT32" },
        { name: "group", data: ["g"], type: "STRING" },
        { name: "image", data: [png], type: "BYTE_ARRAY" },
      ],
    });
    await expectBytes(await load(".parquet", new Uint8Array(parquet)));
    const arrow = new Table({
      id: vectorFromArray([1], new Int32()),
      group: vectorFromArray(["g"], new Utf8()),
      image: vectorFromArray([png], new Binary()),
    });
    await expectBytes(await load(".arrow", tableToIPC(arrow, "stream")));
  });

  test("and what is no base64 is refused", async () => {
    for (const image of ["data:image/png,abc", "data:image/png;base64,@@@@", { bytes: "abc" }]) {
      const error = await refusal(load(".jsonl", jsonl({ id: "a", group: "g", image })));
      expect(error).toMatchObject({ code: "BAD_ROW", exitCode: 2 });
    }
  });
});

test("numbers become strings", async () => {
  const dataset = await load(".jsonl", jsonl({ id: 7, group: 8, text: 9.5, label: true }));
  expect(dataset.examples[0]).toMatchObject({ id: "7", group: "8", text: "9.5", label: "true" });
});

test("a row may have both a text and a picture", async () => {
  const dataset = await load(
    ".jsonl",
    jsonl({ id: "a", group: "g", text: "black", image: "pictures/0.png" }),
  );
  expect(dataset.examples[0]).toMatchObject({ text: "black", image: { kind: "file" } });
});

test("an unknown column is ignored with a warning that names the nearest one", async () => {
  const content = jsonl({ id: "a", group: "g", text: "t", lable: "x", weather: 3 });
  const { dataset, warnings } = await loadWithWarnings(".jsonl", content);
  expect(dataset.examples).toHaveLength(1);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(`"lable" (did you mean "label"?), "weather"`);
});

test("a group in two splits is loaded with a warning that names it", async () => {
  const { warnings } = await loadWithWarnings(
    ".jsonl",
    jsonl(
      { id: "a", group: "cat", split: "train", text: "t" },
      { id: "b", group: "cat", split: "test", text: "t" },
    ),
  );
  expect(warnings).toEqual([expect.stringMatching(/1 group has rows in more than one split.*cat/)]);
});

describe("a manifest is refused", () => {
  const refused = async (
    extension: string,
    content: string | Uint8Array,
  ): Promise<{ code: string; exitCode: number; message: string }> =>
    refusal(load(extension, content));

  test("if it is missing", async () => {
    const error = await refusal(loadManifest(join(folder, "none.jsonl"), {}));
    expect(error).toMatchObject({ code: "MANIFEST_MISSING", exitCode: 3 });
  });

  test("if its format is unknown", async () => {
    expect(await refused(".xlsx", "x")).toMatchObject({ code: "MANIFEST_FORMAT", exitCode: 2 });
  });

  test("if it has no rows", async () => {
    for (const [extension, content] of [
      [".jsonl", ""],
      [".csv", "id,group,text\n"],
      [".parquet", WRITERS[".parquet"]?.([]) ?? ""],
      [".arrow", WRITERS[".arrow"]?.([]) ?? ""],
    ] as const) {
      expect(await refused(extension, content), extension).toMatchObject({
        code: "DATASET_EMPTY",
        exitCode: 2,
      });
    }
  });

  test("if pictures are missing: all are counted, the first five named in order", async () => {
    const rows = Array.from({ length: 7 }, (_, i) => ({ id: i, group: i, image: `no/${i}.png` }));
    const error = await refused(
      ".jsonl",
      jsonl({ id: "ok", group: 1, image: "pictures/0.png" }, ...rows),
    );
    expect(error).toMatchObject({ code: "FILES_MISSING", exitCode: 3 });
    expect(error.message).toMatch(/^7 pictures are missing: no\/0\.png \(.*line 2\); no\/1\.png/);
    expect(error.message).toMatch(/no\/4\.png \(.*\); and 2 more$/);
  });

  test("if ids repeat", async () => {
    const one = { id: "a", group: "g", text: "t" };
    const error = await refused(".jsonl", jsonl(one, { ...one, id: "b" }, one, one));
    expect(error).toMatchObject({ code: "DUPLICATE_ID", exitCode: 2 });
    expect(error.message).toMatch(/2 ids more than once: "a" \(.*line 1; .*line 3\)/);
    // 1 and "1" are one id once they are strings.
    const mixed = jsonl({ ...one, id: 1 }, { ...one, id: "1" });
    expect(await refused(".jsonl", mixed)).toMatchObject({ code: "DUPLICATE_ID" });
  });

  test("if a path leaves its folder", async () => {
    const outside = join(folder, "..", "outside.png");
    await symlink("/etc/hostname", join(folder, "pictures", "link.png"));
    await symlink("/etc", join(folder, "up"));
    for (const image of [
      "../outside.png",
      "pictures/../../outside.png",
      outside,
      "pictures/link.png",
      "up/hostname",
      "..",
    ]) {
      const error = await refused(".jsonl", jsonl({ id: "a", group: "g", image }));
      expect([error.code, error.exitCode], image).toEqual(["PATH_OUTSIDE", 4]);
    }
  });

  test("unless a link stays inside", async () => {
    await symlink("0.png", join(folder, "pictures", "inside.png"));
    const content = jsonl({ id: "a", group: "g", image: "pictures/inside.png" });
    expect((await load(".jsonl", content)).examples).toHaveLength(1);
  });

  test("if a picture is a URL", async () => {
    const content = jsonl({ id: "a", group: "g", image: "http://example.org/a.png" });
    expect(await refused(".jsonl", content)).toMatchObject({
      code: "IMAGE_URL_REFUSED",
      exitCode: 4,
    });
  });

  test("if a needed column is missing, and the one that was meant is named", async () => {
    const error = await refusal(load(".csv", "id,grup,text\na,g,t\n"));
    expect(error).toMatchObject({ code: "MANIFEST_COLUMNS", exitCode: 2 });
    expect(error.next).toContain(`"grup"`);
    const empty = await refused(".csv", "id,group,label\na,g,t\n");
    expect(empty.message).toContain(`no column "text" or "image"`);
  });

  test.each([
    ["no text and no picture", { id: "a", group: "g", text: "" }],
    ["no id", { group: "g", text: "t" }],
    ["no group", { id: "a", text: "t" }],
    ["an unknown split", { id: "a", group: "g", text: "t", split: "tset" }],
    ["a text of spaces and control characters", { id: "a", group: "g", text: " \u0000\u0007\n" }],
    ["a text that is a list", { id: "a", group: "g", text: ["t"] }],
    ["half a surrogate pair", { id: "a", group: "g", text: "\ud83d" }],
    ["an id with control characters", { id: "a\u001b[31m", group: "g", text: "t" }],
    ["a very long id", { id: "a".repeat(2000), group: "g", text: "t" }],
    ["a text over one MiB", { id: "a", group: "g", text: "é".repeat(600_000) }],
    ["an image that is a number", { id: "a", group: "g", image: 5 }],
  ])("if a row has %s, with its line", async (_what, bad) => {
    // A good row first, so that every column is there.
    const good = { id: "z", group: "g", text: "t", image: "pictures/0.png", split: "train" };
    const error = await refused(".jsonl", `\n${jsonl(good, bad)}`);
    expect(error).toMatchObject({ code: "BAD_ROW", exitCode: 2 });
    expect(error.message).toContain("line 3");
  });

  test("if a line is no JSON, no object or no UTF-8, with its number", async () => {
    const good = jsonl({ id: "a", group: "g", text: "t" });
    for (const bad of ["{", "[1]", "null", "3", `"x"`]) {
      const error = await refused(".jsonl", good + bad);
      expect(error, bad).toMatchObject({ code: "MANIFEST_MALFORMED", exitCode: 5 });
      expect(error.message).toContain("line 2");
    }
    const bytes = Buffer.concat([Buffer.from(good), Uint8Array.of(0x22, 0xff, 0x22)]);
    expect((await refused(".jsonl", bytes)).message).toMatch(/line 2: it is not UTF-8/);
  });

  test("if a line is longer than any picture", async () => {
    const error = await refused(".jsonl", `{"id":"${"a".repeat((16 << 20) + 1)}`);
    expect(error.message).toMatch(/line 1: the line is longer/);
  });

  test("if its compression is not read here, and what to do is said", async () => {
    // LZ4 is one of those that neither hyparquet nor Node has.
    const parquet = parquetWriteBuffer({
      codec: "LZ4_RAW",
      compressors: { LZ4_RAW: (input) => input },
      columnData: ["id", "group", "text"].map((name) => ({ name, data: ["x"], type: "STRING" })),
    });
    const error = await refusal(load(".parquet", new Uint8Array(parquet)));
    expect(error).toMatchObject({ code: "MANIFEST_COMPRESSION", exitCode: 2 });
    expect(error.next).toContain("snappy");
  });

  test("if Parquet or Arrow is cut short anywhere, or is something else", async () => {
    const list = Array.from({ length: 50 }, (_, i) => ({ id: `${i}`, group: "g", text: `t${i}` }));
    const stream = tableToIPC(arrowTable(list), "stream");
    for (const [extension, whole] of [
      [".parquet", WRITERS[".parquet"]?.(list)],
      [".arrow", WRITERS[".arrow"]?.(list)],
      [".arrow", stream],
    ] as const) {
      const bytes = whole as Uint8Array;
      expect((await load(extension, bytes)).examples).toHaveLength(50);
      for (const part of [0, 0.1, 0.5, 0.9, 0.999]) {
        const cut = bytes.subarray(0, Math.floor(part * bytes.length));
        const error = await refused(extension, cut);
        expect([error.code, error.exitCode], `${extension} ${part}`).toEqual([
          "MANIFEST_MALFORMED",
          5,
        ]);
      }
      expect(await refused(extension, "id,group,text\na,g,t\n")).toMatchObject({ exitCode: 5 });
    }
  });
});

test("a folder that holds a manifest is that manifest", async () => {
  const own = await temporaryFolder();
  await writeFile(join(own, "manifest.jsonl"), jsonl({ id: "a", group: "g", text: "t" }));
  expect((await loadDataset(own)).examples).toHaveLength(1);
});

test("Hugging Face's names of classes in a file's metadata are used", async () => {
  const info = { info: { features: { label: { _type: "ClassLabel", names: ["cat", "dog"] } } } };
  const parquet = parquetWriteBuffer({
    columnData: [
      { name: "id", data: [1, 2, 3], type: "INT32" },
      { name: "group", data: ["a", "b", "c"], type: "STRING" },
      { name: "text", data: ["x", "y", "z"], type: "STRING" },
      { name: "label", data: [1n, 0n, -1n], type: "INT64" },
    ],
    kvMetadata: [{ key: "huggingface", value: JSON.stringify(info) }],
  });
  const dataset = await load(".parquet", new Uint8Array(parquet));
  expect(dataset.examples.map(({ label }) => label)).toEqual(["dog", "cat", undefined]);
});
