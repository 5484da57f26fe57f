/** Writes an ONNX graph operator by operator. Every method returns the name of what it makes. */
import type { OnnxAttribute, OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from "./model-file.ts";

/** The name of a value inside the graph. */
export type ValueName = string;

export class GraphWriter {
  private readonly nodes: OnnxNode[] = [];
  private readonly initializers: OnnxTensor[] = [];
  private readonly inputs: OnnxValue[] = [];
  private readonly shapes = new Map<string, ValueName>();

  input(value: OnnxValue): ValueName {
    this.inputs.push(value);
    return value.name;
  }

  constant(name: string, shape: readonly number[], data: Float32Array): ValueName {
    this.initializers.push({ name, shape, data });
    return name;
  }

  scalar(name: string, value: number): ValueName {
    return this.constant(this.fresh(name), [], Float32Array.of(value));
  }

  /** One operator with one output. */
  apply(
    operator: string,
    inputs: readonly ValueName[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): ValueName {
    return this.applyMany(operator, inputs, 1, attributes)[0] ?? "";
  }

  applyMany(
    operator: string,
    inputs: readonly ValueName[],
    outputCount: number,
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): readonly ValueName[] {
    const base = this.fresh(operator);
    const outputs = Array.from({ length: outputCount }, (_, i) =>
      outputCount === 1 ? base : `${base}_${i}`,
    );
    this.nodes.push({ operator, inputs, outputs, attributes });
    return outputs;
  }

  /** @param shape  −1 for the size that follows from the rest */
  reshape(x: ValueName, shape: readonly number[]): ValueName {
    const key = `shape_${shape.join("_")}`;
    let name = this.shapes.get(key);
    if (name === undefined) {
      name = key;
      const data = BigInt64Array.from(shape, BigInt);
      this.initializers.push({ name, shape: [shape.length], data });
      this.shapes.set(key, name);
    }
    return this.apply("Reshape", [x, name]);
  }

  finish(name: string, output: OnnxValue, made: ValueName): OnnxGraph {
    this.nodes.push({
      operator: "Identity",
      inputs: [made],
      outputs: [output.name],
      attributes: {},
    });
    const { nodes, initializers, inputs } = this;
    return { name, nodes, initializers, inputs, outputs: [output] };
  }

  private fresh(name: string): ValueName {
    return `${name}_${this.nodes.length}_${this.initializers.length}`;
  }
}
