import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { evaluateSession, evaluateStored } from "../../../bench/quality/evaluation.ts";
import { cutsTable, floorsTable } from "../../../bench/quality/report.ts";
import { readStoredEmbeddings } from "../../../bench/quality/stored.ts";
import { summarise } from "../../../bench/quality/seeds-command.ts";
import type { Dataset } from "../../../datasets/dataset.ts";
import { loadImages } from "../../../datasets/images.ts";
import { startBackend } from "../../../models/backend.ts";
import { parseEncoderConfig } from "../../../models/config.ts";
import { EncoderSession } from "../../../models/session.ts";
import { TransformerEncoder } from "../../../models/transformer.ts";
import { patchify } from "../../../tokenizers/image/patches.ts";
import { seededRng } from "../../../tokenizers/random.ts";
import { madeUpDataset } from "../../support/made-up-dataset.ts";

const CONFIG = parseEncoderConfig({
  architecture: "transformer",
  dimension: 16,
  matryoshka: [8, 16],
  image: {
    channels: [4, 8],
    width: 8,
    layers: 1,
    heads: 2,
    anchors: 2,
    head: 0,
    trim: false,
    maxPatches: 4,
  },
  text: { vocabularySize: 8192, width: 8, layers: 0, heads: 1, head: 0, maxTokens: 16 },
});

let folder = "";
let dataset: Dataset;
let session: EncoderSession;
let encoder: TransformerEncoder | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "soma-evaluation-"));
  vi.stubEnv("SOMA_CACHE", join(folder, "cache"));
  await startBackend();
  encoder = new TransformerEncoder(CONFIG, seededRng(7, "weights"));
  session = await EncoderSession.over(encoder);
  dataset = await madeUpDataset({ groupCount: 40, textVariants: ["en"] });
});

afterAll(() => {
  encoder?.dispose();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe("an evaluation", () => {
  test("has every measure at every cut, floors that apply, and a table that shows them", async () => {
    const { evaluation } = await evaluateSession(session, { dataset, split: "test", floors: true });
    expect(evaluation.results.map(({ name }) => name)).toEqual([
      "encoder",
      "chance",
      "random-init",
      "pixels-16x16",
      "pca-128-half-whitened",
      "tf-idf",
    ]);
    expect(evaluation.encoder).toEqual({ name: "encoder", dimension: 16, cuts: [8, 16] });
    expect(evaluation.metrics).toEqual(evaluation.results[0]?.cuts[1]);
    for (const cut of evaluation.results[0]?.cuts ?? []) {
      expect(Object.keys(cut.retrieval).sort()).toEqual([
        "image-to-image",
        "image-to-text",
        "text-to-image",
      ]);
      for (const part of [cut.knn, cut.linear, cut.zeroShot, cut.spectrum, cut.differential]) {
        expect(Object.keys(part).sort()).toEqual(["image", "text"]);
      }
    }
    const table = floorsTable(evaluation);
    for (const word of ["R@10", "k-NN", "linear probe", "zero-shot", "TF-IDF", "chance"]) {
      expect(table).toContain(word);
    }
    expect(cutsTable(evaluation)).toContain("dimensions");
    expect(JSON.parse(JSON.stringify(evaluation))).toEqual(evaluation);
  });

  test("is the same twice, and mentions no floor if none are asked for", async () => {
    const evaluate = async () => {
      const { evaluation } = await evaluateSession(session, {
        dataset,
        split: "test",
        floors: false,
      });
      return { ...evaluation, seconds: 0 };
    };
    const first = await evaluate();
    expect(first.results.length).toBe(1);
    expect(await evaluate()).toEqual(first);
  });
});

test("a picture that cannot be decoded is refused, or left out when asked, with a note", async () => {
  const [first] = dataset.examples.filter(({ split, image }) => split === "test" && image);
  const broken: Dataset = {
    ...dataset,
    examples: dataset.examples.map((example) =>
      example === first
        ? { ...example, image: { kind: "bytes", bytes: new TextEncoder().encode("no picture") } }
        : example,
    ),
  };
  const options = { dataset: broken, split: "test", floors: false } as const;
  await expect(evaluateSession(session, options)).rejects.toThrow(first?.id);
  const { evaluation } = await evaluateSession(session, { ...options, skipCorrupt: true });
  expect(evaluation.dataset.rows.image?.test).toBe(8 * 3 - 1);
  expect(evaluation.notes.join(" ")).toContain("1 rows that cannot be decoded");
});

describe("stored embeddings", () => {
  async function store(splits: readonly string[], change = (line: string) => line) {
    const path = join(folder, `${splits.join("-")}.jsonl`);
    const examples = dataset.examples.filter(({ split }) => splits.includes(split));
    const images = await loadImages(dataset, examples, { maxPatches: 4, workers: 0 });
    const lines: string[] = [];
    for (const example of examples) {
      const modality = example.image === undefined ? "text" : "image";
      const tokens =
        example.image === undefined
          ? session.tokenizeText(example.text ?? "")
          : patchify(images.get(example.id));
      const [embedding] = await session.embed([{ tokens }]);
      const row = { id: example.id, modality, embedding: Array.from(embedding ?? []) };
      lines.push(change(JSON.stringify(row)));
    }
    writeFileSync(path, `${lines.join("\n")}\n`);
    return path;
  }

  test("give the numbers of the encoder that made them", async () => {
    const stored = await readStoredEmbeddings([await store(["train"]), await store(["test"])]);
    const options = { dataset, split: "test", floors: false } as const;
    const theirs = await evaluateStored(stored, { name: "theirs", cuts: [8] }, options);
    const ours = await evaluateSession(session, options);
    theirs.evaluation.results[0]?.cuts.forEach((cut, i) => {
      const own = ours.evaluation.results[0]?.cuts[i];
      expect(cut.dimension).toBe(own?.dimension);
      // One input a batch or many may differ in the last bits, and so swap two near ties at most.
      for (const [name, score] of Object.entries(cut.retrieval)) {
        expect(Math.abs(score.r1 - (own?.retrieval[name]?.r1 ?? -1))).toBeLessThan(0.05);
      }
      for (const modality of ["image", "text"] as const) {
        expect(cut.knn[modality]).toBeCloseTo(own?.knn[modality] ?? -1, 1);
        expect(cut.spectrum[modality]?.effectiveRank).toBeCloseTo(
          own?.spectrum[modality]?.effectiveRank ?? -1,
          3,
        );
      }
      expect(cut.differential).toEqual({});
      expect(cut.zeroShot).toEqual({});
    });
  });

  test("without training rows lose k-NN and probe, and say so", async () => {
    const stored = await readStoredEmbeddings([await store(["test"])]);
    const { evaluation } = await evaluateStored(
      stored,
      { name: "theirs", cuts: [] },
      { dataset, split: "test", floors: false },
    );
    expect(evaluation.metrics.knn).toEqual({});
    expect(evaluation.metrics.linear).toEqual({});
    expect(evaluation.metrics.retrieval["image-to-image"]?.queries).toBe(8);
    expect(evaluation.notes.join(" ")).toContain("k-NN");
  });

  test("that lack a judged row, or cut too long, are refused", async () => {
    const stored = await readStoredEmbeddings([await store(["train"])]);
    const options = { dataset, split: "test", floors: false } as const;
    await expect(evaluateStored(stored, { name: "x", cuts: [] }, options)).rejects.toThrow(
      /judged image rows have no embedding/,
    );
    const whole = await readStoredEmbeddings([await store(["test"])]);
    await expect(evaluateStored(whole, { name: "x", cuts: [17] }, options)).rejects.toThrow(/17/);
  });

  test.each([
    ["no number", (line: string) => line.replace(/\[[^,]*,/, '["x",'), /finite numbers/],
    ["another length", (line: string) => line.replace(/\[[^,]*,/, "["), /15 values/],
    ["no modality", (line: string) => line.replace('"modality"', '"kind"'), /column "modality"/],
    ["an id twice", (line: string) => `${line}\n${line}`, /comes twice/],
    ["half a line", (line: string) => line.slice(0, 30), /line \d/],
  ])("with %s are refused, naming the file", async (_name, change, message) => {
    let count = 0;
    const bad = await store(["test"], (line) =>
      ++count === 5 || _name === "no modality" ? change(line) : line,
    );
    await expect(readStoredEmbeddings([bad])).rejects.toThrow(message);
    await expect(readStoredEmbeddings([bad])).rejects.toThrow(/test\.jsonl/);
  });

  test("that are not there or in no known format are refused", async () => {
    await expect(readStoredEmbeddings([join(folder, "none.jsonl")])).rejects.toThrow(/no file/);
    await expect(readStoredEmbeddings(["a.npy"])).rejects.toThrow(/\.npy/);
  });
});

test("seeds are summed up by mean and sample deviation, measures that one lacks are left out", async () => {
  const { evaluation } = await evaluateSession(session, { dataset, split: "test", floors: false });
  const { metrics } = evaluation;
  const changed = (knn: number) => ({
    ...evaluation,
    metrics: { ...metrics, knn: { image: knn } },
  });
  const summary = summarise([changed(0.5), changed(0.6), changed(0.7)]);
  const knn = summary.find(({ title }) => title === "image k-NN");
  expect(knn?.mean).toBeCloseTo(0.6, 12);
  expect(knn?.deviation).toBeCloseTo(0.1, 12);
  expect(summary.some(({ title }) => title === "text k-NN")).toBe(false);
});
