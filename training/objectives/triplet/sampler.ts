/** Triplet, what is drawn: two views of each group. */
import { parseConfig, z } from "../../../base/schema.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { viewSettings, viewsSampler } from "../views-sampler.ts";

const settings = z.strictObject({
  ...viewSettings,
  /** Of embeddings of length 1: how much farther than its partner, in squared distance, a negative should be. */
  margin: z.number().positive().default(0.2),
  /** Semi-hard: the nearest negative that is farther than the partner. Hard: the nearest of all. */
  mining: z.enum(["semi-hard", "hard"]).default("semi-hard"),
});

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function tripletSettings(values: unknown): z.output<typeof settings> {
  return parseConfig(settings, values, "objectives.triplet");
}

export function tripletSampler(context: SamplerContext): Sampler {
  return viewsSampler("triplet", context, tripletSettings(context.settings));
}
