/**
 * What a thread needs to draw the batches of a training: plain data and shared memory, so that it reads and decodes
 * nothing again. Messages between the training thread and the threads that draw for it.
 */
import { ImageStore, type KeptPicture } from "../../datasets/image-store.ts";
import type { Failure } from "../../base/errors.ts";
import type { TokenBatch } from "../../models/batch.ts";
import type { EncoderConfig } from "../../models/config.ts";
import { loadTextTokenizer } from "../../tokenizers/text/sentencepiece.ts";
import type { SampleExample, Sampler, SamplerFactory } from "../sampler.ts";
import { shareOf, type Part } from "../parallel/share.ts";
import type { BatchMemory } from "./memory.ts";
import { packNoneOf, packRows } from "./pack.ts";

export interface InputJob {
  /** Objectives whose samplers are registered (objectives/samplers.ts), in the order of their losses. */
  readonly members: readonly {
    readonly name: string;
    readonly settings: Readonly<Record<string, unknown>>;
  }[];
  readonly dataset: { readonly name: string; readonly examples: readonly SampleExample[] };
  /** Undefined if the encoder reads none. */
  readonly pictures: ReadonlyMap<string, KeptPicture> | undefined;
  readonly encoder: EncoderConfig;
  readonly seed: number;
  readonly batchSize: number;
  /** The rows of every batch that are packed; undefined: all of them. */
  readonly part?: Part;
}

/** All rows: one process trains alone. */
const WHOLE: Part = { rank: 0, size: 1 };

/** What was drawn for one step: for each objective its batches, in the order that its loss takes them in. */
export type DrawnStep = readonly (readonly TokenBatch[])[];

/** To a thread that draws. */
export type InputRequest =
  | { readonly kind: "draw"; readonly ticket: number; readonly step: number }
  /** What was drawn for this ticket is no longer read: its memory may be used again. */
  | { readonly kind: "free"; readonly ticket: number };

/** From a thread that draws, one for each "draw". */
export type InputAnswer =
  | { readonly kind: "drawn"; readonly ticket: number; readonly drawn: DrawnStep }
  /** An expected refusal. */
  | { readonly kind: "refused"; readonly ticket: number; readonly failure: Failure }
  /** A bug: rethrown in the training thread. */
  | { readonly kind: "crashed"; readonly ticket: number; readonly stack: string };

/** The samplers of a job, in another thread than the one that made it. @throws SomaError as the samplers do */
export async function openSamplers(
  job: InputJob,
  known: Readonly<Record<string, SamplerFactory>>,
): Promise<readonly Sampler[]> {
  const { dataset, pictures, encoder, seed, batchSize } = job;
  const images = pictures === undefined ? undefined : ImageStore.ofShared(pictures);
  const tokenizer = encoder.text === undefined ? undefined : await loadTextTokenizer();
  return job.members.map(({ name, settings }) => {
    const factory = known[name];
    if (factory === undefined) throw new RangeError(`no sampler is registered as ${name}`);
    return factory({ dataset, images, tokenizer, encoder, seed, batchSize, settings });
  });
}

/** Draw a step and pack what is this process's part of it. @param memory  owns the arrays */
export function drawStep(
  samplers: readonly Sampler[],
  step: number,
  memory: BatchMemory,
  part = WHOLE,
): DrawnStep {
  return samplers.map((sampler) =>
    sampler.draw(step).map((rows) => {
      const { begin, end } = shareOf(rows.length, part);
      return begin === end ? packNoneOf(rows) : packRows(rows.slice(begin, end), memory);
    }),
  );
}
