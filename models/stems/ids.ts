/** From vocabulary ids to token vectors: a learned row for each id, plus one for each position. */
import { tf, type Tensor2D, type Variable } from "../backend.ts";
import type { IdBatch } from "../batch.ts";
import type { Scope } from "../module.ts";
import { gatherRows } from "../ops/gather.ts";
import { bagStack, type StackLayer } from "../ops/linear-stack.ts";

export interface IdStemOptions {
  readonly vocabularySize: number;
  readonly width: number;
  readonly maxTokens: number;
  /** Learned positions; without them the order of tokens is not seen. */
  readonly positions: boolean;
}

export class IdStem {
  readonly width: number;
  private readonly table: Variable;
  private readonly positions: Variable | undefined;

  constructor(scope: Scope, options: IdStemOptions) {
    const { vocabularySize, width, maxTokens } = options;
    this.width = width;
    this.table = scope.parameter("table", [vocabularySize, width], {
      kind: "scaled",
      fanIn: width,
      gain: 1,
    });
    this.positions = options.positions
      ? scope.parameter("positions", [maxTokens, width], {
          kind: "scaled",
          fanIn: width,
          gain: 0.1,
        })
      : undefined;
  }

  /** Does it read the table alone, so that the order of tokens is not seen? */
  get isBag(): boolean {
    return this.positions === undefined;
  }

  /** What `layers` make of the weighted sum of each sequence's rows: only for a bag, and only where they run as one. */
  throughBag(batch: IdBatch, shares: Tensor2D, layers: readonly StackLayer[]): Tensor2D {
    const ids = tf.tensor2d(batch.ids, [batch.size, batch.units], "int32");
    return bagStack(this.table as unknown as Tensor2D, ids, shares, layers);
  }

  /** @param batch at most maxTokens long  @returns [B·N, width] */
  forward(batch: IdBatch): Tensor2D {
    const { size: B, units: N } = batch;
    const rows = gatherRows(
      this.table as unknown as Tensor2D,
      tf.tensor1d(batch.ids, "int32"),
    ) as Tensor2D;
    if (this.positions === undefined) return rows;
    const positions = tf.slice(this.positions as unknown as Tensor2D, [0, 0], [N, this.width]);
    return tf.reshape(tf.add(tf.reshape(rows, [B, N, this.width]), positions), [B * N, this.width]);
  }
}
