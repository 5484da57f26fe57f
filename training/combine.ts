/** Several objectives as one: their losses added by weight, their parts kept apart in the log. */
import { present } from "../base/errors.ts";
import { tf, type Scalar } from "../models/backend.ts";
import type { TransformerEncoder } from "../models/transformer.ts";
import type { Loss, Objective } from "./objective.ts";

export interface WeightedObjective {
  readonly objective: Objective;
  /** Above 0. */
  readonly weight: number;
}

/** One objective alone with weight 1 is returned as it is: its parts need no prefix. */
export function combineObjectives(members: readonly WeightedObjective[]): Objective {
  const first = present(members[0], "at least one objective is combined");
  if (members.length === 1 && first.weight === 1) return first.objective;
  return {
    name: members.map(({ objective }) => objective.name).join("+"),
    prepare(step) {
      const prepared = members.map(({ objective, weight }) => ({
        name: objective.name,
        weight,
        step: objective.prepare(step),
      }));
      return {
        exampleCount: prepared.reduce((sum, { step }) => sum + step.exampleCount, 0),
        loss: (encoder: TransformerEncoder): Loss => {
          const parts: Record<string, Scalar> = {};
          const terms: Scalar[] = [];
          for (const { name, weight, step } of prepared) {
            const loss = step.loss(encoder);
            parts[name] = loss.total;
            for (const [part, value] of Object.entries(loss.parts))
              parts[`${name}.${part}`] = value;
            terms.push(weight === 1 ? loss.total : tf.mul(loss.total, weight));
          }
          return { total: terms.reduce((sum, term) => tf.add(sum, term)), parts };
        },
      };
    },
  };
}
