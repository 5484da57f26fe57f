/**
 * Named parameters. A layer's constructor takes a `Scope` and makes its variables under the scope's name;
 * the root scope holds every variable of a model, in order of creation, under its full name
 * ("image.stem.conv1.weight"). Checkpoints, optimisers and summaries read that one map.
 */
import { assert } from "../base/errors.ts";
import type { Rng } from "../tokenizers/random.ts";
import { tf, type Variable } from "./backend.ts";

/** How a new parameter is filled. `fanIn` scales: uniform with standard deviation gain / sqrt(fanIn). */
export type Initial =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "scaled"; readonly fanIn: number; readonly gain?: number }
  | { readonly kind: "values"; readonly values: Float32Array };

export class Scope {
  readonly prefix: string;
  private readonly all: Map<string, Variable>;
  private readonly rng: Rng;

  private constructor(prefix: string, all: Map<string, Variable>, rng: Rng) {
    this.prefix = prefix;
    this.all = all;
    this.rng = rng;
  }

  static root(rng: Rng): Scope {
    return new Scope("", new Map(), rng);
  }

  child(name: string): Scope {
    return new Scope(`${this.prefix}${name}.`, this.all, this.rng);
  }

  /** A new trainable variable [shape]; owned by the root scope, disposed by `dispose()`. */
  parameter(name: string, shape: readonly number[], initial: Initial): Variable {
    const full = `${this.prefix}${name}`;
    assert(!this.all.has(full), `parameter ${full} is made twice`);
    const size = shape.reduce((product, n) => product * n, 1);
    // tfjs keeps one global table of names: a unique internal name lets two models live side by side.
    // The variable shares its first tensor's memory; tidy drops the second name for it.
    const variable = tf.tidy(() =>
      tf.variable(tf.tensor(fill(size, initial, this.rng), [...shape], "float32"), true),
    );
    this.all.set(full, variable);
    return variable;
  }

  /** Every parameter of the model this scope belongs to, by full name, in order of creation. */
  parameters(): ReadonlyMap<string, Variable> {
    return this.all;
  }

  dispose(): void {
    for (const variable of this.all.values()) variable.dispose();
    this.all.clear();
  }
}

function fill(size: number, initial: Initial, rng: Rng): Float32Array {
  switch (initial.kind) {
    case "constant":
      return new Float32Array(size).fill(initial.value);
    case "values":
      assert(
        initial.values.length === size,
        `${initial.values.length} initial values for ${size} weights`,
      );
      return initial.values.slice();
    case "scaled": {
      // Uniform on ±a has standard deviation a / sqrt(3).
      const bound = ((initial.gain ?? 1) / Math.sqrt(initial.fanIn)) * Math.sqrt(3);
      const values = new Float32Array(size);
      for (let i = 0; i < size; i++) values[i] = (rng.unit() * 2 - 1) * bound;
      return values;
    }
  }
}
