/**
 * ONNX model files, as far as we write them: the one door of @bufbuild/protobuf. Fields are written in ascending
 * order and repeated ones unpacked, as protoc does for proto2, so equal graphs are equal bytes.
 * Source: onnx.proto of ONNX 1.12 (IR version 8, operator set 17), github.com/onnx/onnx.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { assert } from "../../base/errors.ts";
import { SOMA_VERSION } from "../../base/version.ts";

const IR_VERSION = 8;
const OPERATOR_SET = 17;

/** Numbers of TensorProto.DataType. */
const ELEMENT_TYPES = { float: 1, uint8: 2, int32: 6, int64: 7 } as const;
export type ElementType = keyof typeof ELEMENT_TYPES;

/** Numbers of AttributeProto.AttributeType. */
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_INTS = 7;

/** The bytes of a protobuf message end at 2 GiB; larger weights would have to stand in files beside it. */
const MODEL_BYTES_MAX = 2 ** 31 - 1;

export interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** An integer is written as INT, a list as INTS, `{ float }` as FLOAT. */
export type OnnxAttribute = number | readonly number[] | { readonly float: number };

export interface OnnxNode {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly type: ElementType;
  /** A name stands for a size that is known when the model runs. */
  readonly shape: readonly (number | string)[];
}

export interface OnnxGraph {
  readonly name: string;
  /** In an order in which each input is made before it is used. */
  readonly nodes: readonly OnnxNode[];
  /** Constants. */
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/** The bytes of a ModelProto. */
export function writeOnnx(graph: OnnxGraph): Uint8Array {
  const writer = new BinaryWriter();
  int(writer, 1, IR_VERSION);
  text(writer, 2, "soma");
  text(writer, 3, SOMA_VERSION);
  message(writer, 7, () => {
    writeGraph(writer, graph);
  });
  message(writer, 8, () => {
    text(writer, 1, ""); // the default domain
    int(writer, 2, OPERATOR_SET);
  });
  const bytes = writer.finish();
  assert(bytes.length <= MODEL_BYTES_MAX, `an ONNX model of ${bytes.length} bytes`);
  return bytes;
}

function writeGraph(writer: BinaryWriter, graph: OnnxGraph): void {
  for (const node of graph.nodes) {
    message(writer, 1, () => {
      writeNode(writer, node);
    });
  }
  text(writer, 2, graph.name);
  for (const tensor of graph.initializers) {
    message(writer, 5, () => {
      writeTensor(writer, tensor);
    });
  }
  for (const value of graph.inputs) writeValue(writer, 11, value);
  for (const value of graph.outputs) writeValue(writer, 12, value);
}

function writeNode(
  writer: BinaryWriter,
  { inputs, outputs, operator, attributes }: OnnxNode,
): void {
  for (const name of inputs) text(writer, 1, name);
  for (const name of outputs) text(writer, 2, name);
  text(writer, 4, operator);
  for (const [name, value] of Object.entries(attributes)) {
    message(writer, 5, () => {
      writeAttribute(writer, name, value);
    });
  }
}

function writeAttribute(writer: BinaryWriter, name: string, value: OnnxAttribute): void {
  text(writer, 1, name);
  if (typeof value === "number") {
    int(writer, 3, value);
    int(writer, 20, ATTRIBUTE_INT);
  } else if ("float" in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    int(writer, 20, ATTRIBUTE_FLOAT);
  } else {
    for (const item of value) int(writer, 8, item);
    int(writer, 20, ATTRIBUTE_INTS);
  }
}

function writeTensor(writer: BinaryWriter, { name, shape, data }: OnnxTensor): void {
  const size = shape.reduce((product, n) => product * n, 1);
  assert(size === data.length, `${name} of shape [${shape.join(", ")}] has ${data.length} values`);
  for (const dimension of shape) int(writer, 1, dimension);
  int(writer, 2, data instanceof Float32Array ? ELEMENT_TYPES.float : ELEMENT_TYPES.int64);
  text(writer, 8, name);
  writer.tag(9, WireType.LengthDelimited).bytes(littleEndian(data));
}

function writeValue(writer: BinaryWriter, field: number, { name, type, shape }: OnnxValue): void {
  message(writer, field, () => {
    text(writer, 1, name);
    // TypeProto, then its tensor_type.
    message(writer, 2, () => {
      message(writer, 1, () => {
        int(writer, 1, ELEMENT_TYPES[type]);
        message(writer, 2, () => {
          for (const dimension of shape) {
            message(writer, 1, () => {
              if (typeof dimension === "number") int(writer, 1, dimension);
              else text(writer, 2, dimension);
            });
          }
        });
      });
    });
  });
}

function message(writer: BinaryWriter, field: number, content: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  content();
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function int(writer: BinaryWriter, field: number, value: number): void {
  writer.tag(field, WireType.Varint).int64(value);
}

/** The numbers' bytes, least significant first, whatever this machine's own order. */
function littleEndian(data: Float32Array | BigInt64Array): Uint8Array {
  const bytes = new Uint8Array(data.byteLength);
  const view = new DataView(bytes.buffer);
  if (data instanceof Float32Array) {
    for (const [i, value] of data.entries()) view.setFloat32(4 * i, value, true);
  } else for (const [i, value] of data.entries()) view.setBigInt64(8 * i, value, true);
  return bytes;
}
