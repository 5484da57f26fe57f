/**
 * A server over a tiny random encoder, with a gallery of six toys in three groups: what the tests of serving
 * talk to.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBackend } from "../../models/backend.ts";
import { saveCheckpoint } from "../../models/checkpoint.ts";
import { readCheckpoint } from "../../models/checkpoint-folder.ts";
import type { EncoderConfig } from "../../models/config.ts";
import { writeGallery } from "../../models/gallery.ts";
import { EncoderSession } from "../../models/session.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { parseServingConfig } from "../../node/serving/config.ts";
import { startServing, type Serving } from "../../node/serving/serve.ts";
import { encodePng } from "../../tokenizers/image/decode.ts";
import { seededRng } from "../../tokenizers/random.ts";
import { TINY_CARD, TINY_CONFIG, TINY_IMAGE_CONFIG } from "./tiny-encoder.ts";

export interface TinyServer {
  readonly serving: Serving;
  /** Folder of all below; removed by `close`. */
  readonly home: string;
  readonly checkpoint: string;
  /** Of an encoder without a text tower. */
  readonly imageCheckpoint: string;
  readonly gallery: string;
  /** Over the served checkpoint: what answers must equal. */
  readonly session: EncoderSession;
  /** A PNG of 64 × 64 pixels. */
  readonly picture: Buffer;
  /** One more server with other settings; the caller closes it. */
  start(settings: ServingSettings, options?: StartOptions): Promise<Serving>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

type ServingSettings = Parameters<typeof parseServingConfig>[0];

interface StartOptions {
  readonly gallery?: string;
  readonly checkpoint?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export async function startTinyServer(): Promise<TinyServer> {
  await startBackend();
  const home = await mkdtemp(join(tmpdir(), "soma-serving-"));
  const checkpoint = join(home, "tiny");
  const imageCheckpoint = join(home, "tiny-image");
  await saveRandomCheckpoint(checkpoint, TINY_CONFIG);
  await saveRandomCheckpoint(imageCheckpoint, TINY_IMAGE_CONFIG);
  const session = await EncoderSession.open(checkpoint);
  const gallery = join(home, "gallery");
  await writeToyGallery(gallery, session);
  const start = (settings: ServingSettings, options: StartOptions = {}): Promise<Serving> =>
    startServing({ checkpoint, config: parseServingConfig({ port: 0, ...settings }), ...options });
  const serving = await start({}, { gallery });
  return {
    serving,
    home,
    checkpoint,
    imageCheckpoint,
    gallery,
    session,
    picture: await pictureOf(64),
    start,
    post: (path, body, headers) => postJson(`${serving.url}${path}`, body, headers),
    async close() {
      await serving.close();
      session.dispose();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Send JSON, or a body as it stands if it is a string. */
export async function postJson(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const { status, headers: answered } = response;
  return { status, headers: answered, body: await response.json() };
}

export async function saveRandomCheckpoint(folder: string, config: EncoderConfig): Promise<void> {
  const encoder = new TransformerEncoder(config, seededRng(7, "weights"));
  await saveCheckpoint(folder, { encoder, card: TINY_CARD });
  encoder.dispose();
}

/** A PNG of side × side pixels. */
async function pictureOf(side: number): Promise<Buffer> {
  const pixels = Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 7) % 256);
  return Buffer.from(await encodePng({ width: side, height: side, pixels }));
}

async function writeToyGallery(folder: string, session: EncoderSession): Promise<void> {
  const texts = ["cat", "kitten", "dog", "puppy", "rain", "storm"];
  const embeddings = await session.embedTexts(texts);
  const bytes = await pictureOf(16);
  await writeGallery(folder, {
    name: "toys",
    credits: "Drawn for a test.",
    checkpointDigest: (await readCheckpoint(session.checkpoint?.directory ?? "")).digest,
    entries: embeddings.map((embedding, i) => ({
      id: `toy-${i}`,
      group: `group-${i >> 1}`,
      text: texts[i] ?? "",
      label: i < 4 ? "animals" : "weather",
      embedding,
      picture: { mediaType: "image/png", bytes },
    })),
  });
}
