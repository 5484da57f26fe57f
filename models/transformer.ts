/**
 * TransformerEncoder: one tower per token kind, all ending in the same space. A tower is a stem (units → vectors),
 * transformer layers, a readout (vectors → one embedding)
 * and, if wanted, a residual head. A prefix of the embedding is an embedding too
 * (Matryoshka: Kusupati et al., arXiv 2205.13147).
 */
import { SomaError } from "../base/errors.ts";
import type { Rng } from "../tokenizers/random.ts";
import { tf, type Tensor2D, type Variable } from "./backend.ts";
import type { IdBatch, PatchBatch, TokenBatch } from "./batch.ts";
import type { EncoderConfig, ImageTowerConfig, TextTowerConfig } from "./config.ts";
import { ResidualHead } from "./layers/head.ts";
import { Linear } from "./layers/linear.ts";
import { TransformerLayer, type TransformerLayerOptions } from "./layers/transformer-layer.ts";
import { linearStack, runsAsOne } from "./ops/linear-stack.ts";
import { Scope } from "./module.ts";
import { AnchorReadout } from "./readouts/anchors.ts";
import { MeanReadout, sharesOf } from "./readouts/mean.ts";
import { IdStem } from "./stems/ids.ts";
import { PatchStem, readPatches } from "./stems/patches.ts";

export class TransformerEncoder {
  readonly config: EncoderConfig;
  readonly scope: Scope;
  private readonly image: PatchTower | undefined;
  private readonly text: IdTower | undefined;

  constructor(config: EncoderConfig, rng: Rng) {
    this.config = config;
    this.scope = Scope.root(rng);
    const { image, text, dimension } = config;
    if (image !== undefined)
      this.image = new PatchTower(this.scope.child("image"), image, dimension);
    if (text !== undefined) this.text = new IdTower(this.scope.child("text"), text, dimension);
  }

  /** Embeddings [B, dimension], not normalised, differentiable. Call inside tf.tidy; the caller disposes. */
  forward(batch: TokenBatch): Tensor2D {
    switch (batch.kind) {
      case "patches":
        if (this.image === undefined) throw noTower("pictures");
        return this.image.forward(batch);
      case "ids":
        if (this.text === undefined) throw noTower("text");
        return this.text.forward(batch);
    }
  }

  /**
   * The same with the token vectors before the readout, for losses on tokens; those of hidden units and padding mean
   * nothing where the tower has no layers. Call inside tf.tidy; the caller disposes.
   */
  read(batch: TokenBatch): TokensAndEmbeddings {
    switch (batch.kind) {
      case "patches":
        if (this.image === undefined) throw noTower("pictures");
        return this.image.read(batch);
      case "ids":
        if (this.text === undefined) throw noTower("text");
        return this.text.read(batch);
    }
  }

  /** Every trainable parameter by name. */
  parameters(): ReadonlyMap<string, Variable> {
    return this.scope.parameters();
  }

  dispose(): void {
    this.scope.dispose();
  }
}

export interface TokensAndEmbeddings {
  /** [B·N, width of the tower] */
  readonly tokens: Tensor2D;
  /** [B, dimension] */
  readonly embeddings: Tensor2D;
}

class PatchTower {
  private readonly stem: PatchStem;
  private readonly widen: Linear;
  private readonly layers: readonly TransformerLayer[];
  private readonly readout: AnchorReadout;
  private readonly head: ResidualHead | undefined;

  constructor(scope: Scope, config: ImageTowerConfig, dimension: number) {
    const { channels, width, heads, anchors, activation } = config;
    this.stem = new PatchStem(scope.child("stem"), channels);
    this.widen = new Linear(scope.child("widen"), { inputs: this.stem.width, outputs: width });
    this.layers = layersOf(scope, config.layers, { width, heads, activation });
    this.readout = new AnchorReadout(scope.child("readout"), { width, anchors, dimension });
    this.head = headOf(scope, dimension, config.head);
  }

  forward(batch: PatchBatch): Tensor2D {
    const beginning = [...this.stem.layers, this.widen.inStack()];
    const end = [...this.readout.layers, ...(this.head?.layers ?? [])];
    if (this.layers.length === 0 && this.readout.isAligned(batch))
      return readPatches(batch, [...beginning, ...end]);
    return this.read(batch).embeddings;
  }

  read(batch: PatchBatch): TokensAndEmbeddings {
    const stem = readPatches(batch, [...this.stem.layers, this.widen.inStack()]); // [B·N, width]
    const tokens = runLayers(this.layers, stem, batch);
    const end = [...this.readout.layers, ...(this.head?.layers ?? [])];
    return { tokens, embeddings: linearStack(this.readout.pool(tokens, batch), end) };
  }
}

class IdTower {
  private readonly stem: IdStem;
  private readonly layers: readonly TransformerLayer[];
  private readonly readout: MeanReadout;
  private readonly head: ResidualHead | undefined;

  constructor(scope: Scope, config: TextTowerConfig, dimension: number) {
    const { vocabularySize, width, heads, maxTokens, layers, activation } = config;
    this.stem = new IdStem(scope.child("stem"), {
      vocabularySize,
      width,
      maxTokens,
      positions: layers > 0,
    });
    this.layers = layersOf(scope, layers, { width, heads, activation });
    this.readout = new MeanReadout(scope.child("readout"), { width, dimension });
    this.head = headOf(scope, dimension, config.head);
  }

  forward(batch: IdBatch): Tensor2D {
    const end = [...this.readout.layers, ...(this.head?.layers ?? [])];
    if (this.layers.length === 0 && this.stem.isBag && runsAsOne(end))
      return this.stem.throughBag(batch, sharesOf(batch), end);
    return this.read(batch).embeddings;
  }

  read(batch: IdBatch): TokensAndEmbeddings {
    const tokens = runLayers(this.layers, this.stem.forward(batch), batch); // [B·N, width]
    const end = [...this.readout.layers, ...(this.head?.layers ?? [])];
    return { tokens, embeddings: linearStack(this.readout.pool(tokens, batch), end) };
  }
}

function headOf(scope: Scope, dimension: number, hidden: number): ResidualHead | undefined {
  return hidden === 0 ? undefined : new ResidualHead(scope.child("head"), { dimension, hidden });
}

function layersOf(
  scope: Scope,
  count: number,
  options: TransformerLayerOptions,
): TransformerLayer[] {
  return Array.from(
    { length: count },
    (_, l) => new TransformerLayer(scope.child(`layer${l}`), options),
  );
}

/** @param tokens [B·N, width] → [B·N, width] */
function runLayers(
  layers: readonly TransformerLayer[],
  tokens: Tensor2D,
  batch: TokenBatch,
): Tensor2D {
  if (layers.length === 0) return tokens;
  const visible = visibleOf(batch);
  return layers.reduce((x, layer) => layer.forward(x, batch, visible), tokens);
}

/** [B, N]: no token attends to one that is hidden or padding. Undefined if all may be seen. */
function visibleOf(batch: TokenBatch): Tensor2D | undefined {
  if (batch.visible.every((visible) => visible === 1)) return undefined;
  return tf.tensor2d(batch.visible, [batch.size, batch.units]);
}

/** The refusal of an input that the encoder has no tower for. */
export function noTower(what: string): SomaError {
  return new SomaError({
    code: "MODALITY_NOT_TRAINED",
    kind: "usage",
    what: `this encoder was not trained on ${what}`,
    next: "use a checkpoint whose config.json has that tower",
  });
}
