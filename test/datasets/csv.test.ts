import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { parseCsv, readCsv } from "../../datasets/csv.ts";
import { refusal, temporaryFolder } from "./support.ts";

let folder: string;
beforeAll(async () => {
  folder = await temporaryFolder();
});

test("a CSV field may hold anything once it is quoted", () => {
  const table = fc.array(fc.array(fc.string({ unit: "binary" }), { minLength: 2, maxLength: 2 }), {
    minLength: 1,
  });
  fc.assert(
    fc.property(table, fc.constantFrom("\n", "\r\n"), (cells, end) => {
      const text = cells
        .map((fields) => fields.map((field) => `"${field.replaceAll('"', '""')}"`).join(","))
        .join(end);
      const parsed = [...parseCsv(text, ",", "x.csv")];
      expect(parsed.map(({ fields }) => fields)).toEqual(cells);
      // The line of a record is one more than the line feeds before it.
      let feeds = 1;
      for (const [index, { line }] of parsed.entries()) {
        expect(line).toBe(feeds);
        feeds += 1 + ((cells[index] ?? []).join("").match(/\n/g)?.length ?? 0);
      }
    }),
  );
});

describe("a CSV is refused", () => {
  const refused = async (content: string | Uint8Array): Promise<Error> => {
    const path = join(folder, "x.csv");
    await writeFile(path, content);
    return refusal(readCsv(path, ","));
  };

  test.each([
    ["a quote is not closed", 'id,group,text\na,g,"t\nb,g,t\n', "line 2"],
    ["text follows a closing quote", 'id,group,text\na,g,"t\nu"v\n', "line 3"],
    ["a quote stands inside a plain field", 'id,group,text\na,g,t"u\n', "line 2"],
    ["a row has too few fields", 'id,group,text\n"a\nb",g,t\n\nb,g\n', "line 5"],
    ["a row has too many fields", "id,group,text\na,g,t,u\n", "line 2"],
    ["a column is there twice", "id,group,text,id\n", "line 1"],
    ["it is empty", "", "line 1"],
  ])("where %s", async (_what, content, place) => {
    const error = await refused(content);
    expect(error).toMatchObject({ code: "MANIFEST_MALFORMED", exitCode: 5 });
    expect(error.message).toContain(place);
  });

  test("where it is UTF-16, as spreadsheets may save it", async () => {
    const bytes = Buffer.from("\ufeffid,group,text\na,g,ü\n", "utf16le");
    expect(await refused(bytes)).toMatchObject({ code: "MANIFEST_MALFORMED" });
  });
});
