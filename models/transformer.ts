/**
 * TransformerEncoder: one tower per token kind, all ending in the same space.
 * Draft by the lead: the inside of the towers is being worked out; the face stays.
 */
import { assert, SomaError } from "../base/errors.ts";
import type { Rng } from "../tokenizers/random.ts";
import { tf, type Tensor2D, type Tensor3D, type Variable } from "./backend.ts";
import type { IdBatch, PatchBatch, TokenBatch } from "./batch.ts";
import type { EncoderConfig } from "./config.ts";
import { Scope } from "./module.ts";

export class TransformerEncoder {
  readonly config: EncoderConfig;
  readonly scope: Scope;
  private readonly patchWeight: Variable | undefined;
  private readonly tokenTable: Variable | undefined;

  constructor(config: EncoderConfig, rng: Rng) {
    this.config = config;
    this.scope = Scope.root(rng);
    if (config.image !== undefined) {
      this.patchWeight = this.scope
        .child("image")
        .parameter("weight", [768, config.dimension], { kind: "scaled", fanIn: 768 });
    }
    if (config.text !== undefined) {
      this.tokenTable = this.scope
        .child("text")
        .parameter("embedding", [config.text.vocabularySize, config.dimension], {
          kind: "scaled",
          fanIn: 4,
        });
    }
  }

  /** Embeddings [B, dimension], not normalised, differentiable. Call inside tf.tidy; the caller disposes. */
  forward(batch: TokenBatch): Tensor2D {
    switch (batch.kind) {
      case "patches":
        return this.forwardPatches(batch);
      case "ids":
        return this.forwardIds(batch);
    }
  }

  /** Every trainable parameter by name. */
  parameters(): ReadonlyMap<string, Variable> {
    return this.scope.parameters();
  }

  dispose(): void {
    this.scope.dispose();
  }

  private forwardPatches(batch: PatchBatch): Tensor2D {
    if (this.patchWeight === undefined) throw noTower("pictures");
    const { size: B, units: N, patchBytes: P } = batch;
    const x = tf
      .tensor2d(Float32Array.from(batch.patches), [B * N, P])
      .div(127.5)
      .sub(1) as Tensor2D;
    const tokens = tf
      .matMul(x, this.patchWeight as unknown as Tensor2D)
      .reshape([B, N, this.config.dimension]) as Tensor3D;
    return tokens.mul(tf.tensor3d(batch.visible, [B, N, 1])).mean(1);
  }

  private forwardIds(batch: IdBatch): Tensor2D {
    if (this.tokenTable === undefined) throw noTower("text");
    const { size: B, units: N } = batch;
    assert(batch.ids.length === B * N, "ids fill the batch");
    const rows = tf.gather(this.tokenTable, tf.tensor1d(batch.ids, "int32"));
    return rows
      .reshape<Tensor3D["rankType"]>([B, N, this.config.dimension])
      .mul(tf.tensor3d(batch.visible, [B, N, 1]))
      .mean(1) as Tensor2D;
  }
}

function noTower(what: string): SomaError {
  return new SomaError({
    code: "MODALITY_NOT_TRAINED",
    kind: "usage",
    what: `this encoder was not trained on ${what}`,
    next: "use a checkpoint whose config.json has that tower",
  });
}
