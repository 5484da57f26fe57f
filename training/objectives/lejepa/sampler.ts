/** LeJEPA, what is drawn: views of each group. */
import { parseConfig, z } from "../../../base/schema.ts";
import type { Sampler, SamplerContext } from "../../sampler.ts";
import { viewSettings, viewsSampler } from "../views-sampler.ts";

const settings = z.strictObject({
  ...viewSettings,
  /** Share of the regulariser, SIGReg; the rest is the agreement of views. */
  lambda: z.number().min(0).max(1).default(0.05),
  /** Random directions along which the embeddings should look Gaussian, new ones each step. */
  directions: z.int().min(1).max(1024).default(128),
  /** Numbers that the projector gives: the loss looks at these. */
  projected: z.int().min(2).max(256).default(32),
  /** Width of the projector's hidden layer. */
  projector: z.int().positive().default(512),
});

/** @throws SomaError BAD_CONFIG, UNKNOWN_KEY (usage) */
export function lejepaSettings(values: unknown): z.output<typeof settings> {
  return parseConfig(settings, values, "objectives.lejepa");
}

export function lejepaSampler(context: SamplerContext): Sampler {
  return viewsSampler("lejepa", context, lejepaSettings(context.settings));
}
