import { cpSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { Clone, removeClones } from "../support/clone.ts";

afterEach(removeClones);

/** A program that notes what it is asked, and serves as `soma serve` does; it fails at the command that FAIL names. */
const PROGRAM = `#!/usr/bin/env node
import { appendFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
const args = process.argv.slice(2);
appendFileSync("asked.log", args.join(" ") + "\\n");
if (args.includes("--out")) mkdirSync(args[args.indexOf("--out") + 1], { recursive: true });
const failing = "FAIL";
if (args[0] === failing) process.exit(7);
if (args[0] === "serve") {
  let asked = 0;
  const server = createServer((request, response) => {
    if (request.url === "/readyz") return response.writeHead(asked++ < 2 ? 503 : 200).end();
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const query = JSON.parse(body);
      const text = query.text ?? "picture of " + Buffer.from(query.image, "base64").length + " bytes";
      response.end(JSON.stringify([{ id: "1", text: "like " + text, label: null, score: 0.5 }]));
    });
  });
  server.listen(Number(args[args.indexOf("--port") + 1]), "127.0.0.1");
  process.on("SIGTERM", () => {
    appendFileSync("asked.log", "drained\\n");
    process.exit(0);
  });
}
`;

function clone(failing = ""): Clone {
  const made = new Clone();
  made.write("cli.ts", PROGRAM.replace("FAIL", failing));
  cpSync(join(process.cwd(), "docs", "pictures"), join(made.root, "docs", "pictures"), {
    recursive: true,
  });
  return made;
}

function asked(made: Clone): readonly string[] {
  return made.has("asked.log") ? made.read("asked.log").trim().split("\n") : [];
}

describe("npm start", () => {
  test("without a terminal runs every step, asks a word and a picture, takes the server down and exits 0", async () => {
    const made = clone();
    const { code, output } = await made.node("scripts/start.mjs", "--seconds", "5");
    expect(code).toBe(0);
    const port = /--port (\d+)/.exec(output)?.[1] ?? "";
    expect(asked(made)).toEqual([
      "data prepare emoji --trim",
      "train emoji-image-text --dataset emoji --seconds 5 --seed 1 --out runs/first",
      "evaluate runs/first --dataset emoji --plots runs/first/plots",
      "gallery runs/first --dataset emoji --out runs/first/gallery",
      `serve runs/first --gallery runs/first/gallery --port ${port}`,
      "drained",
    ]);
    for (const line of asked(made).slice(0, -1)) expect(output).toContain(`$ npx soma ${line}\n`);
    const picture = readFileSync(join(made.root, "docs/pictures/heart.png"));
    expect(output).toContain('nearest to the word "rocket":\n  0.500  like rocket\n');
    expect(output).toContain(`  0.500  like picture of ${picture.length} bytes\n`);
  });

  test("keeps an earlier run and trains into the next folder", async () => {
    const made = clone();
    await made.node("scripts/start.mjs");
    await made.node("scripts/start.mjs");
    expect(asked(made).filter((line) => line.startsWith("train"))).toEqual([
      "train emoji-image-text --dataset emoji --seconds 75 --seed 1 --out runs/first",
      "train emoji-image-text --dataset emoji --seconds 75 --seed 1 --out runs/first-2",
    ]);
  });

  test.each(["data", "train", "evaluate", "gallery", "serve"])(
    "ends with the exit code of soma %s when that fails, and goes no further",
    async (step) => {
      const made = clone(step);
      const { code, output } = await made.node("scripts/start.mjs");
      expect(code).toBe(7);
      expect(asked(made).at(-1)?.split(" ")[0]).toBe(step);
      expect(output).toContain(`npm start: soma ${step} ended with exit code 7`);
    },
  );

  test("refuses an option it does not know, before it begins", async () => {
    const made = clone();
    const { code, output } = await made.node("scripts/start.mjs", "--onec");
    expect(code).toBe(2);
    expect(output).toContain("--onec");
    expect(asked(made)).toEqual([]);
    expect(existsSync(join(made.root, "dist"))).toBe(false);
  });
});
