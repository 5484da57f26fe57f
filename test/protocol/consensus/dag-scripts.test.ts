import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decisionsOf, parseDagScript } from "../../support/dag-drawing.ts";

const FOLDER = "test/scripts/dag";
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".txt"));

/** SOMA_WRITE_SCRIPTS=1 writes what is decided into the files: to be read before it is committed. */
const WRITES = process.env["SOMA_WRITE_SCRIPTS"] === "1";

test.each(FILES)("the drawing %s is decided as it says", (name) => {
  const text = readFileSync(`${FOLDER}/${name}`, "utf8");
  const script = parseDagScript(text);
  const decided = decisionsOf(script);
  if (WRITES)
    writeFileSync(`${FOLDER}/${name}`, text.replace(/^decided\n[^]*/m, `decided\n${decided}`));
  else expect(decided).toBe(script.expected);
});

test("there are drawings", () => {
  expect(FILES.length).toBeGreaterThan(10);
});
