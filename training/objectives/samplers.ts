/** Name → what draws an objective's batches, one line each: the light half of registry.ts, which a worker thread loads. */
import type { SamplerFactory } from "../sampler.ts";
import { contrastiveSampler } from "./contrastive/sampler.ts";
import { differentialSampler } from "./differential/sampler.ts";
import { lejepaSampler } from "./lejepa/sampler.ts";
import { mocoSampler } from "./moco/sampler.ts";
import { pairingSampler } from "./pairing/sampler.ts";
import { simclrSampler } from "./simclr/sampler.ts";
import { tripletSampler } from "./triplet/sampler.ts";
import { vicregSampler } from "./vicreg/sampler.ts";

export const SAMPLERS = {
  contrastive: contrastiveSampler,
  pairing: pairingSampler,
  differential: differentialSampler,
  triplet: tripletSampler,
  simclr: simclrSampler,
  moco: mocoSampler,
  vicreg: vicregSampler,
  lejepa: lejepaSampler,
} as const satisfies Readonly<Record<string, SamplerFactory>>;
