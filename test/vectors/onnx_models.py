#!/usr/bin/env python3
"""Bytes of small ONNX models as the onnx package writes them, for test/models/onnx/model-file.test.ts.

    pip install onnx==1.23.0 && python3 test/vectors/onnx_models.py > test/vectors/onnx-models.json

Each model has operator set 17 and IR version 8; the producer's version is that of Soma, so it is left empty here and
cut out of ours before they are compared.
"""
import json

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

TYPES = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, TYPES[kind], shape)


def floats(name, shape, values):
    return numpy_helper.from_array(np.array(values, dtype="<f4").reshape(shape), name)


def model(graph):
    made = helper.make_model(graph, producer_name="soma", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True).hex()


def affine():
    """A product, a sum and a shape of int64, a batch of open size."""
    return helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["sum"]),
            helper.make_node("Reshape", ["sum", "shape"], ["y"]),
        ],
        "affine",
        [value("x", "float", ["batch", 2])],
        [value("y", "float", ["batch", 3])],
        initializer=[
            floats("w", [2, 3], [0, 1, -2, 0.5, 1e-3, 3e8]),
            floats("b", [3], [1, 2, 3]),
            numpy_helper.from_array(np.array([-1, 3], dtype="<i8"), "shape"),
        ],
    )


def attributes():
    """A negative integer, a list of integers and a float; bytes as input, a constant without axes."""
    return helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
            helper.make_node("Cast", ["turned"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("LayerNormalization", ["numbers", "scale"], ["normal"], axis=-1, epsilon=1e-5),
            helper.make_node("Mul", ["normal", "half"], ["y"]),
        ],
        "attributes",
        [value("x", "uint8", [4, 300])],
        [value("y", "float", [300, 4])],
        initializer=[floats("scale", [4], [1, 1, 1, 1]), floats("half", [], [0.5])],
    )


if __name__ == "__main__":
    print(json.dumps({"affine": model(affine()), "attributes": model(attributes())}, indent=2))
