/** Against the bytes that the onnx package of Python writes for the same models (test/vectors/onnx_models.py). */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { SOMA_VERSION } from "../../../base/version.ts";
import { writeOnnx, type OnnxGraph } from "../../../models/onnx/model-file.ts";

const stored = JSON.parse(readFileSync("test/vectors/onnx-models.json", "utf8")) as Record<
  string,
  string
>;

const GRAPHS: Readonly<Record<string, OnnxGraph>> = {
  affine: {
    name: "affine",
    nodes: [
      { operator: "MatMul", inputs: ["x", "w"], outputs: ["product"], attributes: {} },
      { operator: "Add", inputs: ["product", "b"], outputs: ["sum"], attributes: {} },
      { operator: "Reshape", inputs: ["sum", "shape"], outputs: ["y"], attributes: {} },
    ],
    initializers: [
      { name: "w", shape: [2, 3], data: Float32Array.of(0, 1, -2, 0.5, 1e-3, 3e8) },
      { name: "b", shape: [3], data: Float32Array.of(1, 2, 3) },
      { name: "shape", shape: [2], data: BigInt64Array.of(-1n, 3n) },
    ],
    inputs: [{ name: "x", type: "float", shape: ["batch", 2] }],
    outputs: [{ name: "y", type: "float", shape: ["batch", 3] }],
  },
  attributes: {
    name: "attributes",
    nodes: [
      {
        operator: "Transpose",
        inputs: ["x"],
        outputs: ["turned"],
        attributes: { perm: [1, 0] },
      },
      { operator: "Cast", inputs: ["turned"], outputs: ["numbers"], attributes: { to: 1 } },
      {
        operator: "LayerNormalization",
        inputs: ["numbers", "scale"],
        outputs: ["normal"],
        attributes: { axis: -1, epsilon: { float: 1e-5 } },
      },
      { operator: "Mul", inputs: ["normal", "half"], outputs: ["y"], attributes: {} },
    ],
    initializers: [
      { name: "scale", shape: [4], data: Float32Array.of(1, 1, 1, 1) },
      { name: "half", shape: [], data: Float32Array.of(0.5) },
    ],
    inputs: [{ name: "x", type: "uint8", shape: [4, 300] }],
    outputs: [{ name: "y", type: "float", shape: [300, 4] }],
  },
};

/** Field 3 of the model, a string: the producer's version, which changes with ours. */
const VERSION = Buffer.concat([
  Buffer.of((3 << 3) | 2, SOMA_VERSION.length),
  Buffer.from(SOMA_VERSION),
]).toString("hex");

describe("an ONNX model file", () => {
  test.each(Object.entries(GRAPHS))(
    "has the bytes that the onnx package writes, but for our version: %s",
    (name, graph) => {
      const ours = Buffer.from(writeOnnx(graph)).toString("hex");
      expect(ours).toContain(VERSION);
      expect(ours.replace(VERSION, "")).toBe(stored[name]);
    },
  );

  test("is never written with a constant whose values do not fill its shape", () => {
    const broken = { name: "w", shape: [2, 2], data: Float32Array.of(1, 2, 3) };
    const graph = { ...GRAPHS["affine"], initializers: [broken] } as OnnxGraph;
    expect(() => writeOnnx(graph)).toThrow(/w of shape \[2, 2\] has 3 values/);
  });
});
