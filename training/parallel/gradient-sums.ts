/** Gradients of all parameters side by side in one array, as ranks add them up. */
import { assert } from "../../base/errors.ts";
import type { Tensor, Variable } from "../../models/backend.ts";
import type { NamedArrays } from "../optimizer.ts";

interface Place {
  readonly name: string;
  /** The variable's internal name, by which tfjs gives its gradient. */
  readonly key: string;
  readonly begin: number;
  readonly end: number;
}

export class GradientSums {
  /** Float32Array [weights + parameters]: the sums, then for each parameter whether anyone had a gradient of it. */
  readonly values: Float32Array;
  private readonly places: readonly Place[];
  private readonly weightCount: number;

  constructor(parameters: ReadonlyMap<string, Variable>) {
    let end = 0;
    this.places = Array.from(parameters, ([name, variable]) => {
      const begin = end;
      end += variable.size;
      return { name, key: variable.name, begin, end };
    });
    this.weightCount = end;
    this.values = new Float32Array(end + this.places.length);
  }

  /** Add `share` times the gradients. @param gradients by internal name; they stay the caller's */
  add(gradients: Readonly<Record<string, Tensor>>, share: number): void {
    this.places.forEach(({ key, begin, end }, i) => {
      const gradient = gradients[key];
      if (gradient === undefined) return;
      const sum = this.values.subarray(begin, end);
      const values = gradient.dataSync<"float32">();
      assert(values.length === sum.length, "a gradient has its parameter's size");
      // The usual case, one batch a step, is twenty times quicker as a copy.
      if (share === 1 && this.values[this.weightCount + i] === 0) sum.set(values);
      // `?? 0` is never reached: the arrays are of one length.
      else for (let j = 0; j < sum.length; j++) sum[j] = (sum[j] ?? 0) + share * (values[j] ?? 0);
      this.values[this.weightCount + i] = 1;
    });
  }

  /** By parameter, as views; those that nobody had a gradient of are missing. */
  arrays(): NamedArrays {
    const present = this.places.filter((_, i) => (this.values[this.weightCount + i] ?? 0) > 0);
    return new Map(present.map(({ name, begin, end }) => [name, this.values.subarray(begin, end)]));
  }
}
