import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Dataset, Example } from "../../datasets/dataset.ts";
import { makeSynthetic } from "../../datasets/synthetic.ts";
import { startBackend } from "../../models/backend.ts";
import { saveCheckpoint } from "../../models/checkpoint.ts";
import { EncoderSession } from "../../models/session.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { decodeImage } from "../../tokenizers/image/decode.ts";
import { patchify } from "../../tokenizers/image/patches.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { buildGallery } from "../../training/gallery.ts";
import { TINY_CARD, TINY_CONFIG } from "../support/tiny-encoder.ts";

const GROUP_COUNT = 6;
const FIRST_ONLY = { allPictures: false, skipCorrupt: false };

let home: string;
let session: EncoderSession;
let dataset: Dataset;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "soma-gallery-"));
  await startBackend();
  const encoder = new TransformerEncoder(TINY_CONFIG, seededRng(7, "weights"));
  await saveCheckpoint(join(home, "checkpoint"), { encoder, card: TINY_CARD });
  encoder.dispose();
  session = await EncoderSession.open(join(home, "checkpoint"));
  dataset = await makeSynthetic({ groupCount: GROUP_COUNT });
});

afterAll(async () => {
  session.dispose();
  await rm(home, { recursive: true, force: true });
});

describe("a gallery", () => {
  test("has one picture a concept, with its name, its class and the embedding of that picture", async () => {
    const { entries, checkpointDigest } = await buildGallery(
      session,
      dataset,
      dataset.examples,
      FIRST_ONLY,
    );
    expect(checkpointDigest).toBe(session.checkpoint?.digest);
    expect(new Set(entries.map(({ group }) => group)).size).toBe(GROUP_COUNT);
    expect(entries).toHaveLength(GROUP_COUNT);
    for (const entry of entries) {
      const [color = "", shape = ""] = entry.group.split("-");
      expect(entry.text).toContain(`${color} ${shape}`);
      expect(entry.label).toBe(shape);
      // The thumbnail is lossless at this size: embedding it again gives the same.
      const thumbnail = await decodeImage(entry.picture?.bytes ?? new Uint8Array());
      const [again] = await session.embedTokens([{ tokens: patchify(thumbnail) }], {
        normalize: true,
      });
      entry.embedding.forEach((value, i) => {
        expect(Math.abs(value - (again?.[i] ?? NaN))).toBeLessThan(1e-4);
      });
    }
  });

  test("has every picture when asked, and still the name of its concept", async () => {
    const { entries } = await buildGallery(session, dataset, dataset.examples, {
      ...FIRST_ONLY,
      allPictures: true,
    });
    const pictures = dataset.examples.filter(({ image }) => image !== undefined);
    expect(entries.map(({ id }) => id)).toEqual(pictures.map(({ id }) => id));
    expect(entries.every(({ text }) => text !== undefined)).toBe(true);
  });

  test("takes the English name where there are several", async () => {
    const named = dataset.examples.map((example): Example => {
      if (example.variant === "short") return { ...example, variant: "en", text: "in English" };
      return example;
    });
    const { entries } = await buildGallery(
      session,
      { ...dataset, examples: named },
      named,
      FIRST_ONLY,
    );
    expect(new Set(entries.map(({ text }) => text))).toEqual(new Set(["in English"]));
  });

  test("without pictures is refused", async () => {
    const texts = dataset.examples.filter(({ image }) => image === undefined);
    await expect(buildGallery(session, dataset, texts, FIRST_ONLY)).rejects.toMatchObject({
      code: "NO_PICTURES",
    });
  });
});
