/** VICReg, what is drawn: two views of each group. */
import { parseConfig, z } from "../../../base/schema.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { viewSettings, viewsSampler } from "../views-sampler.ts";

const settings = z.strictObject({
  ...viewSettings,
  /** Weights of the three terms. */
  invariance: z.number().nonnegative().default(25),
  variance: z.number().nonnegative().default(25),
  covariance: z.number().nonnegative().default(1),
  /** Width of the projector that the loss looks through; 0 = none. */
  projector: z.int().nonnegative().default(512),
});

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function vicregSettings(values: unknown): z.output<typeof settings> {
  return parseConfig(settings, values, "objectives.vicreg");
}

export function vicregSampler(context: SamplerContext): Sampler {
  return viewsSampler("vicreg", context, vicregSettings(context.settings));
}
