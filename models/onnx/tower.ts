/**
 * A trained tower as an ONNX graph, for whole inputs: tokens in, embeddings out, the batch size open, the grid or the
 * length fixed. So far for `soma bench embed`, which runs the same weights elsewhere: no masks, no padding.
 */
import { assert, present } from "../../base/errors.ts";
import type { Grid } from "../../tokenizers/tokenizer.ts";
import type { Checkpoint } from "../checkpoint-folder.ts";
import type { ImageTowerConfig, TextTowerConfig } from "../config.ts";
import { anchorWeights } from "../readouts/anchors.ts";
import type { HostTensor } from "../safetensors.ts";
import { GraphWriter, type ValueName } from "./graph.ts";
import type { OnnxGraph } from "./model-file.ts";

/** Names of the graph's ends. */
export const INPUT_NAME = "tokens";
export const OUTPUT_NAME = "embeddings";

const NORM_EPSILON = 1e-5;

type Weights = Pick<Checkpoint, "config" | "tensors">;

/** [batch, N, 768] bytes of patches → [batch, dimension]. @param grid  of every picture, N units */
export function imageGraph({ config, tensors }: Weights, grid: Grid): OnnxGraph {
  const tower = present(config.image, "an encoder of pictures");
  const units = grid.columns * grid.rows * grid.times;
  const writer = new TowerWriter("image", tensors);
  const patches = writer.graph.input({
    name: INPUT_NAME,
    type: "uint8",
    shape: ["batch", units, 768],
  });
  const stem = writer.patchStem(patches, tower);
  const tokens = writer.layers(writer.linear(stem, "widen"), tower, units);
  const pooled = writer.anchorReadout(tokens, tower, grid);
  return writer.finish(tower.head > 0 ? writer.head(pooled) : pooled, config.dimension);
}

/** [batch, N] int32 ids → [batch, dimension]. @param units  N, of every text, at most the tower's maxTokens */
export function textGraph({ config, tensors }: Weights, units: number): OnnxGraph {
  const tower = present(config.text, "an encoder of texts");
  assert(units <= tower.maxTokens, `${units} tokens for a tower that reads ${tower.maxTokens}`);
  const writer = new TowerWriter("text", tensors);
  const ids = writer.graph.input({ name: INPUT_NAME, type: "int32", shape: ["batch", units] });
  const tokens = writer.layers(writer.idStem(ids, tower, units), tower, units);
  const pooled = writer.meanReadout(tokens, tower, units);
  return writer.finish(tower.head > 0 ? writer.head(pooled) : pooled, config.dimension);
}

class TowerWriter {
  readonly graph = new GraphWriter();
  private readonly tower: string;
  private readonly tensors: ReadonlyMap<string, HostTensor>;

  constructor(tower: "image" | "text", tensors: ReadonlyMap<string, HostTensor>) {
    this.tower = tower;
    this.tensors = tensors;
  }

  finish(made: ValueName, dimension: number): OnnxGraph {
    const output = { name: OUTPUT_NAME, type: "float", shape: ["batch", dimension] } as const;
    return this.graph.finish(this.tower, output, made);
  }

  /**
   * stems/ink.ts and stems/patches.ts. Bytes are put in the order of cells while they are still bytes; that ink is
   * 1 − byte / 255 goes into the first layer's weights.
   * @returns [R, 4 · channels[1]]
   */
  patchStem(patches: ValueName, { channels }: ImageTowerConfig): ValueName {
    const { graph } = this;
    const [C1 = 0, C2 = 0] = channels;
    // Rows of pixels: 2 quads of 2 cells of 4, both ways; the last axis is 4 pixels of 3 bytes.
    const apart = graph.reshape(patches, [-1, 2, 2, 4, 2, 2, 12]);
    const cells = graph.apply("Transpose", [apart], { perm: [0, 1, 4, 2, 5, 3, 6] });
    const numbers = graph.apply("Cast", [graph.reshape(cells, [-1, 48])], { to: 1 });
    const { weight, bias } = onBytes(
      this.tensor("stem.pixels.weight"),
      this.tensor("stem.pixels.bias"),
    );
    const product = graph.apply("MatMul", [
      numbers,
      graph.constant("stem.pixels.weight", weight.shape, weight.data),
    ]);
    const first = graph.apply("Relu", [
      graph.apply("Add", [product, graph.constant("stem.pixels.bias", bias.shape, bias.data)]),
    ]);
    const second = this.linear(graph.reshape(first, [-1, 4 * C1]), "stem.cells");
    return graph.reshape(graph.apply("Relu", [second]), [-1, 4 * C2]);
  }

  /** stems/ids.ts  @returns [R, width] */
  idStem(ids: ValueName, { width, layers }: TextTowerConfig, units: number): ValueName {
    const { graph } = this;
    const rows = graph.apply("Gather", [this.parameter("stem.table"), ids]); // [batch, N, width]
    if (layers === 0) return graph.reshape(rows, [-1, width]);
    const positions = this.tensor("stem.positions").data.slice(0, units * width);
    const placed = graph.apply("Add", [
      rows,
      graph.constant("stem.positions", [units, width], positions),
    ]);
    return graph.reshape(placed, [-1, width]);
  }

  /** layers/transformer-layer.ts, one after another  @param x [R, width] → [R, width] */
  layers(
    x: ValueName,
    { layers, width, heads, activation }: ImageTowerConfig | TextTowerConfig,
    units: number,
  ): ValueName {
    const { graph } = this;
    for (let l = 0; l < layers; l++) {
      const name = `layer${l}`;
      const attended = this.attention(this.norm(x, `${name}.norm1`), `${name}.attention`, {
        width,
        heads,
        units,
      });
      const y = graph.apply("Add", [x, attended]);
      const hidden = this.linear(this.norm(y, `${name}.norm2`), `${name}.up`);
      const active = activation === "gelu" ? this.gelu(hidden) : graph.apply("Relu", [hidden]);
      x = graph.apply("Add", [y, this.linear(active, `${name}.down`)]);
    }
    return x;
  }

  /** readouts/anchors.ts  @param tokens [R, width] → [batch, dimension] */
  anchorReadout(tokens: ValueName, { anchors, width }: ImageTowerConfig, grid: Grid): ValueName {
    const { graph } = this;
    const { columns, rows, times } = grid;
    const A = anchors ** 2;
    const units = columns * rows * times;
    if (columns === anchors && rows === anchors && times === 1)
      return this.linear(graph.reshape(tokens, [-1, A * width]), "readout");
    const weights = transposed(anchorWeights(grid, anchors), units, A);
    const places = graph.apply("MatMul", [
      graph.constant("readout.anchors", [A, units], weights),
      graph.reshape(tokens, [-1, units, width]),
    ]); // [batch, A, width]
    return this.linear(graph.reshape(places, [-1, A * width]), "readout");
  }

  /** readouts/mean.ts  @param tokens [R, width] → [batch, dimension] */
  meanReadout(tokens: ValueName, { width }: TextTowerConfig, units: number): ValueName {
    const { graph } = this;
    const texts = graph.reshape(tokens, [-1, units, width]);
    return this.linear(graph.apply("ReduceMean", [texts], { axes: [1], keepdims: 0 }), "readout");
  }

  /** layers/head.ts  @param x [batch, dimension] → [batch, dimension] */
  head(x: ValueName): ValueName {
    const hidden = this.graph.apply("Relu", [this.linear(x, "head.up")]);
    return this.graph.apply("Add", [x, this.linear(hidden, "head.down")]);
  }

  /** layers/linear.ts: x·W + b if there is a b */
  linear(x: ValueName, name: string): ValueName {
    const product = this.graph.apply("MatMul", [x, this.parameter(`${name}.weight`)]);
    return this.tensors.has(this.fullName(`${name}.bias`))
      ? this.graph.apply("Add", [product, this.parameter(`${name}.bias`)])
      : product;
  }

  private attention(
    x: ValueName,
    name: string,
    {
      width,
      heads,
      units,
    }: { readonly width: number; readonly heads: number; readonly units: number },
  ): ValueName {
    const { graph } = this;
    const d = width / heads;
    const parts = graph.applyMany("Split", [this.linear(x, `${name}.in`)], 3, { axis: 1 });
    const [q, k, v] = parts.map((part) => graph.reshape(part, [-1, units, heads, d]));
    const [Q, K, V] = [
      graph.apply("Transpose", [q ?? ""], { perm: [0, 2, 1, 3] }),
      graph.apply("Transpose", [k ?? ""], { perm: [0, 2, 3, 1] }),
      graph.apply("Transpose", [v ?? ""], { perm: [0, 2, 1, 3] }),
    ];
    const scores = graph.apply("Mul", [
      graph.apply("MatMul", [Q, K]),
      graph.scalar("scale", 1 / Math.sqrt(d)),
    ]);
    const weights = graph.apply("Softmax", [scores], { axis: -1 });
    const mixed = graph.apply("Transpose", [graph.apply("MatMul", [weights, V])], {
      perm: [0, 2, 1, 3],
    });
    return this.linear(graph.reshape(mixed, [-1, width]), `${name}.out`);
  }

  private norm(x: ValueName, name: string): ValueName {
    const inputs = [x, this.parameter(`${name}.scale`), this.parameter(`${name}.shift`)];
    return this.graph.apply("LayerNormalization", inputs, {
      axis: -1,
      epsilon: { float: NORM_EPSILON },
    });
  }

  /** x · ½ · (1 + erf(x / √2)), in the form that runtimes know as GELU; an operator of its own came with set 20. */
  private gelu(x: ValueName): ValueName {
    const { graph } = this;
    const erf = graph.apply("Erf", [graph.apply("Div", [x, graph.scalar("sqrt2", Math.SQRT2)])]);
    const twice = graph.apply("Mul", [x, graph.apply("Add", [erf, graph.scalar("one", 1)])]);
    return graph.apply("Mul", [twice, graph.scalar("half", 0.5)]);
  }

  private parameter(name: string): ValueName {
    const { shape, data } = this.tensor(name);
    return this.graph.constant(name, shape, data);
  }

  private tensor(name: string): HostTensor {
    const full = this.fullName(name);
    return present(this.tensors.get(full), `${full} is a parameter of the checkpoint`);
  }

  private fullName(name: string): string {
    return `${this.tower}.${name}`;
  }
}

/** W·(1 − byte / 255) + b as W'·byte + b'. @param weight [I, O]  @param bias [O] */
function onBytes(weight: HostTensor, bias: HostTensor): { weight: HostTensor; bias: HostTensor } {
  const O = bias.data.length;
  const sums = Float64Array.from(bias.data);
  for (const [i, value] of weight.data.entries()) sums[i % O] = (sums[i % O] ?? 0) + value;
  return {
    weight: { shape: weight.shape, data: weight.data.map((value) => -value / 255) },
    bias: { shape: bias.shape, data: Float32Array.from(sums) },
  };
}

/** @param values [rows, columns] → [columns, rows] */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, at) => {
    const [column, row] = [Math.floor(at / rows), at % rows];
    return values[row * columns + column] ?? 0;
  });
}
