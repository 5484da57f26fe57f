/** Settings of the losses on similarity (similarity.ts), apart from them: samplers read them without tensors. */
import { z } from "../../base/schema.ts";

export const similaritySettings = {
  loss: z.enum(["infonce", "sigmoid"]).default("infonce"),
  /** At the start; the scale 1/temperature is learned. */
  temperature: z.number().positive().default(0.07),
} as const;
