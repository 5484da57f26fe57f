/**
 * The network whose training step is timed: a plain vision transformer over patches that lie ready. Linear stem,
 * learned positions, pre-norm layers, layer norm, mean over tokens, 64 classes. peers/train_step.py is the same in
 * PyTorch. Source: Dosovitskiy et al., arXiv 2010.11929, with the mean in place of the class token.
 */
import { tf, type Rank, type Tensor2D, type Variable } from "../../models/backend.ts";
import { LayerNorm } from "../../models/layers/layer-norm.ts";
import { Linear } from "../../models/layers/linear.ts";
import { TransformerLayer } from "../../models/layers/transformer-layer.ts";
import type { Scope } from "../../models/module.ts";
import { meanPool } from "../../models/ops/mean-pool.ts";

/** Numbers of a patch: 16×16 pixels, RGB. */
export const PATCH_NUMBERS = 768;
export const CLASSES = 64;
/** Standard deviation of the positions at first, as of the peer's. */
const POSITION_SCALE = 0.02;

export interface VitShape {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly tokens: number;
}

export class Vit {
  private readonly shape: VitShape;
  private readonly stem: Linear;
  private readonly positions: Variable;
  private readonly layers: readonly TransformerLayer[];
  private readonly norm: LayerNorm;
  private readonly head: Linear;

  constructor(scope: Scope, shape: VitShape) {
    const { width, heads, tokens } = shape;
    this.shape = shape;
    this.stem = new Linear(scope.child("stem"), { inputs: PATCH_NUMBERS, outputs: width });
    this.positions = scope.parameter("positions", [tokens, width], {
      kind: "scaled",
      fanIn: 1,
      gain: POSITION_SCALE,
    });
    this.layers = Array.from(
      { length: shape.layers },
      (_, l) =>
        new TransformerLayer(scope.child(`layer${l}`), {
          width,
          heads,
          activation: "gelu",
          gain: 1,
        }),
    );
    this.norm = new LayerNorm(scope.child("norm"), width);
    this.head = new Linear(scope.child("head"), { inputs: width, outputs: CLASSES });
  }

  /** @param patches [size · tokens, PATCH_NUMBERS]  @returns logits [size, CLASSES]. Inside a tidy. */
  forward(patches: Tensor2D, size: number): Tensor2D {
    const { tokens, width } = this.shape;
    const stemmed = this.stem.forward(patches, { isData: true });
    const placed = tf.add(tf.reshape(stemmed, [size, tokens, width]), this.positions);
    let x = tf.reshape<Rank.R2>(placed, [size * tokens, width]);
    for (const layer of this.layers) x = layer.forward(x, { size, units: tokens });
    const pooled = meanPool(this.norm.forward(x), tf.ones([size, tokens]));
    return this.head.forward(pooled);
  }
}
