/** MoCo, what is drawn: two views of each group, the queries and the keys. */
import { parseConfig, z } from "../../../base/schema.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { viewSettings, viewsSampler } from "../views-sampler.ts";

const settings = z.strictObject({
  ...viewSettings,
  temperature: z.number().positive().default(0.1),
  /** Keys of earlier steps that are negatives. */
  queue: z.int().min(1).max(65536).default(1024),
  /** How much of the teacher's weights is kept at each update. */
  momentum: z.number().min(0).lt(1).default(0.99),
});

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function mocoSettings(values: unknown): z.output<typeof settings> {
  return parseConfig(settings, values, "objectives.moco");
}

export function mocoSampler(context: SamplerContext): Sampler {
  return viewsSampler("moco", context, mocoSettings(context.settings));
}
