/** SimCLR, what is drawn: views of each group, of one row unless it is told otherwise. */
import { parseConfig, z } from "../../../base/schema.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { viewSettings, viewsSampler } from "../views-sampler.ts";

const settings = z.strictObject({
  ...viewSettings,
  from: z.enum(["variants", "augment"]).default("augment"),
  temperature: z.number().positive().default(0.2),
  /** Width of the projector that the loss looks through; 0 = none, and each Matryoshka cut does the task alone. */
  projector: z.int().nonnegative().default(0),
});

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function simclrSettings(values: unknown): z.output<typeof settings> {
  return parseConfig(settings, values, "objectives.simclr");
}

export function simclrSampler(context: SamplerContext): Sampler {
  return viewsSampler("simclr", context, simclrSettings(context.settings));
}
