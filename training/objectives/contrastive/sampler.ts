/** Contrastive, what is drawn: views of each group. */
import { parseConfig, z } from "../../../base/schema.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { similaritySettings } from "../similarity-settings.ts";
import { viewSettings, viewsSampler } from "../views-sampler.ts";

const settings = z.strictObject({ ...similaritySettings, ...viewSettings });

export type ContrastiveSettings = z.output<typeof settings>;

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function contrastiveSettings(values: unknown): ContrastiveSettings {
  return parseConfig(settings, values, "objectives.contrastive");
}

export function contrastiveSampler(context: SamplerContext): Sampler {
  return viewsSampler("contrastive", context, contrastiveSettings(context.settings));
}
