/** From a checkpoint to a server: opens it, warms it up, mounts the routes, and takes it down without losing a request. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { present, SomaError } from "../../base/errors.ts";
import type { BackendName } from "../../models/backend.ts";
import { CONFIG_FILE } from "../../models/checkpoint-folder.ts";
import { readGallery, type Gallery } from "../../models/gallery.ts";
import { EncoderSession } from "../../models/session.ts";
import type { MaskedTokens } from "../../tokenizers/tokenizer.ts";
import { Admission } from "./admission.ts";
import type { ServingConfig } from "./config.ts";
import { EmbeddingService } from "./embedding-service.ts";
import { createHttpServer } from "./http.ts";
import { ServingMetrics } from "./metrics.ts";
import { neighborRoutes } from "./neighbor-routes.ts";
import { openaiRoutes, type ServedModel } from "./openai-routes.ts";
import { renderPage } from "./page.ts";
import { statusRoutes } from "./status-routes.ts";
import { teiRoutes } from "./tei-routes.ts";

export interface ServingOptions {
  /** A checkpoint or run folder. */
  readonly checkpoint: string;
  readonly config: ServingConfig;
  /** A folder that `writeGallery` made, with embeddings of this very checkpoint. */
  readonly gallery?: string;
  readonly backend?: BackendName;
}

export interface Serving {
  /** e.g. "http://127.0.0.1:8080" */
  readonly url: string;
  readonly model: ServedModel;
  /** Entries of the gallery; 0 without one. */
  readonly galleryEntryCount: number;
  /** Refuse new requests, answer those in flight (for at most drainTimeoutMs), then close. Further calls wait for the first. */
  close(): Promise<void>;
}

/**
 * Start serving. The process stays up until `close`.
 * @throws SomaError for a checkpoint or gallery that is missing or damaged, PORT_IN_USE, PORT_DENIED, BAD_HOST,
 *   FOREIGN_GALLERY (refused)
 */
export async function startServing(options: ServingOptions): Promise<Serving> {
  const { config } = options;
  const session = await EncoderSession.open(options.checkpoint, {
    maxBatchTokens: config.maxBatchTokens,
    ...(options.backend === undefined ? {} : { backend: options.backend }),
  });
  try {
    return await serveSession(session, options);
  } catch (error) {
    session.dispose();
    throw error;
  }
}

async function serveSession(session: EncoderSession, options: ServingOptions): Promise<Serving> {
  const { config } = options;
  const model = await describeModel(session);
  const gallery =
    options.gallery === undefined ? undefined : await openGallery(options.gallery, model);
  await warmUp(session);

  const admission = new Admission({
    requestsMax: config.maxConcurrentRequests,
    bodyBytesMax: config.bodyBytesInFlightMax,
  });
  const metrics = new ServingMetrics({
    queuedInputs: () => service.queued,
    requestsInFlight: () => admission.inFlight,
  });
  const service = new EmbeddingService(session, config, {
    batch: (batch) => {
      metrics.observeBatch(batch);
    },
    tokens: (modality, count) => {
      metrics.observeTokens(modality, count);
    },
  });
  let closing: Promise<void> | undefined;
  const isDraining = (): boolean => closing !== undefined;
  const page = renderPage({
    model: model.name,
    modalities: session.modalities,
    dimension: session.dimension,
    gallery,
  });
  const server = await createHttpServer({
    routes: [
      ...openaiRoutes(service, model, config),
      ...teiRoutes(service, model, config),
      ...(gallery === undefined ? [] : neighborRoutes(service, gallery)),
      ...statusRoutes({ metrics, isDraining, page }),
    ],
    config,
    admission,
    metrics,
    isDraining,
  });
  const url = await server.listen();
  return {
    url,
    model,
    galleryEntryCount: gallery?.entries.length ?? 0,
    close() {
      closing ??= (async () => {
        // In flight first: a request that still decodes has yet to reach the batcher.
        await Promise.race([
          admission.idle(),
          sleep(config.drainTimeoutMs, undefined, { ref: false }),
        ]);
        await server.close();
        await service.close();
        session.dispose();
      })();
      return closing;
    },
  };
}

async function describeModel(session: EncoderSession): Promise<ServedModel> {
  const { name, digest, directory } = present(session.checkpoint, "a session that was opened");
  const { mtimeMs } = await stat(join(directory, CONFIG_FILE));
  return { name, digest, createdS: Math.floor(mtimeMs / 1000) };
}

async function openGallery(directory: string, model: ServedModel): Promise<Gallery> {
  const gallery = await readGallery(directory);
  if (gallery.checkpointDigest !== model.digest) {
    throw new SomaError({
      code: "FOREIGN_GALLERY",
      kind: "refused",
      what: `the gallery ${directory} was made by another checkpoint, so its embeddings mean nothing to this one`,
      next: "make it again with `soma gallery` for this checkpoint",
    });
  }
  return gallery;
}

/** One embedding of each kind, so that no client pays for what the backend does on its first call. */
async function warmUp(session: EncoderSession): Promise<void> {
  const inputs: MaskedTokens[] = [];
  if (session.config.text !== undefined) {
    inputs.push({ tokens: { kind: "ids", modality: "text", ids: new Int32Array(8).fill(1) } });
  }
  if (session.config.image !== undefined) {
    inputs.push({
      tokens: {
        kind: "patches",
        modality: "image",
        patches: new Uint8Array(768),
        patchBytes: 768,
        grid: { columns: 1, rows: 1, times: 1 },
      },
    });
  }
  await session.embed(inputs);
}
