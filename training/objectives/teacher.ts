/**
 * A copy of the encoder that follows it slowly: its weights are a moving average of the encoder's. What it says of an
 * input is a steadier target than the encoder's own word, and no gradient goes into it.
 * Source: MoCo, He et al., arXiv 1911.05722.
 */
import { assert, present } from "../../base/errors.ts";
import { isFused } from "../../models/backend.ts";
import { updateAverages } from "../../models/ops/optimizer.ts";
import { TransformerEncoder } from "../../models/transformer.ts";
import { seededRng } from "../../tokenizers/random.ts";
import type { ObjectiveState } from "../objective.ts";
import { assignValues, onHost, type NamedArrays, type NamedValues } from "../optimizer.ts";

export class Teacher implements ObjectiveState {
  readonly encoder: TransformerEncoder;
  private readonly momentum: number;

  /** @param trunk  whose weights it starts with  @param momentum  share of its own weights that an update keeps */
  constructor(trunk: TransformerEncoder, momentum: number) {
    // What is drawn here is overwritten.
    this.encoder = new TransformerEncoder(trunk.config, seededRng(0, "teacher"));
    this.momentum = momentum;
    const start = trunk.parameters();
    this.restore(
      new Map(Array.from(start, ([name, variable]) => [name, variable.dataSync<"float32">()])),
    );
  }

  afterUpdate(weights: NamedValues): void {
    const pairs = Array.from(this.encoder.parameters(), ([name, variable]) => ({
      variable,
      weight: present(weights.get(name), `weights of ${name}`),
    }));
    const share = 1 - this.momentum;
    const live = pairs.flatMap(({ weight }) => (weight instanceof Float32Array ? [] : [weight]));
    if (isFused() && live.length === pairs.length) {
      updateAverages(
        pairs.map(({ variable }) => variable),
        live,
        share,
      );
      return;
    }
    for (const { variable, weight } of pairs) {
      const from = onHost(weight);
      assignValues(
        variable,
        variable.dataSync<"float32">().map((own, i) => own + share * ((from[i] ?? 0) - own)),
      );
    }
  }

  arrays(): NamedArrays {
    const parameters = this.encoder.parameters();
    return new Map(
      Array.from(parameters, ([name, variable]) => [name, variable.dataSync<"float32">()]),
    );
  }

  restore(arrays: NamedArrays): void {
    for (const [name, variable] of this.encoder.parameters()) {
      const values = arrays.get(name);
      assert(values?.length === variable.size, `the saved teacher's ${name} has another size`);
      // A copy of its own, which the next update may change in place.
      assignValues(variable, values);
    }
  }

  dispose(): void {
    this.encoder.dispose();
  }
}
