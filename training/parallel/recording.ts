/**
 * A forward pass now, its gradient later: between the two a rank meets the others, which no synchronous function of
 * tfjs lets it do. Embedding twice instead, once to know the embeddings and once for their gradient (GradCache, Gao
 * et al., arXiv 2101.06983), would cost a third more of every step.
 *
 * This takes the tape, where tfjs notes what it computes while gradients are wanted, out of the engine and puts it back
 * (`state.activeTape` and `state.gradientDepth` in tfjs-core's engine.js, 4.22). A test holds it to `tf.variableGrads`.
 */
import { assert } from "../../base/errors.ts";
import {
  tf,
  type Scalar,
  type Tensor,
  type Tensor2D,
  type Variable,
} from "../../models/backend.ts";

const state = () => tf.engine().state;
type Tape = ReturnType<typeof state>["activeTape"];

export class Recording {
  /** Owned by the recording. */
  readonly outputs: readonly Tensor2D[];
  private tape: Tape | undefined;

  private constructor(outputs: readonly Tensor2D[], tape: Tape) {
    this.outputs = outputs;
    this.tape = tape;
  }

  /** Run `forward` and keep what its gradient needs until `gradients` or `dispose`. */
  static of(forward: () => Tensor2D[]): Recording {
    const engine = state();
    assert(engine.gradientDepth === 0, "one tape is written at a time");
    engine.gradientDepth = 1;
    engine.activeTape = [];
    try {
      const outputs = tf.tidy(forward);
      return new Recording(outputs, engine.activeTape);
    } catch (error) {
      disposeTape(engine.activeTape);
      throw error;
    } finally {
      engine.gradientDepth = 0;
      // As the engine leaves it; its type does not say so.
      engine.activeTape = null as unknown as Tape;
    }
  }

  /**
   * The gradient of whatever the outputs were used for. Once; it disposes the recording.
   * @param upstream  the gradient with respect to each output, of its shape
   * @returns by the variables' internal names, as `tf.variableGrads`; owned by the caller
   */
  gradients(
    upstream: readonly Tensor2D[],
    variables: readonly Variable[],
  ): Readonly<Record<string, Tensor>> {
    const tape = this.take();
    try {
      const { value, grads } = tf.variableGrads(() => {
        // Everything recorded is put before the products below, whose gradients are the upstream ones.
        state().activeTape.push(...tape);
        const products = this.outputs.map((output, i) => {
          const dy = upstream[i];
          assert(dy !== undefined, "each output has an upstream gradient");
          return tf.sum<Scalar>(tf.mul(output, dy));
        });
        return tf.addN(products);
      }, [...variables]);
      value.dispose();
      return grads;
    } finally {
      tf.dispose([...this.outputs]);
    }
  }

  /** Give up a recording whose gradient is not wanted. */
  dispose(): void {
    disposeTape(this.take());
    tf.dispose([...this.outputs]);
  }

  private take(): Tape {
    const { tape } = this;
    assert(tape !== undefined, "a recording is used once");
    this.tape = undefined;
    return tape;
  }
}

function disposeTape(tape: Tape): void {
  for (const { saved } of tape) tf.dispose(saved ?? []);
}
