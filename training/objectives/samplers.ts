/** Name → what draws an objective's batches, one line each: the light half of registry.ts, which a worker thread loads. */
import type { SamplerFactory } from "../sampler.ts";
import { contrastiveSampler } from "./contrastive/sampler.ts";
import { differentialSampler } from "./differential/sampler.ts";
import { pairingSampler } from "./pairing/sampler.ts";

export const SAMPLERS = {
  contrastive: contrastiveSampler,
  pairing: pairingSampler,
  differential: differentialSampler,
} as const satisfies Readonly<Record<string, SamplerFactory>>;
