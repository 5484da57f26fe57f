"""Writes the two files beside it with Python's safetensors: pip install safetensors==0.8.0 numpy, then run it."""

from pathlib import Path

import numpy as np
from safetensors import TensorSpec, serialize
from safetensors.numpy import save

here = Path(__file__).parent
singles = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "a": np.array([1.5], np.float32),
    "é.bias": np.zeros((0, 4), np.float32),
    "scalar": np.array(2.25, np.float32),
    "10": np.array([-0.0, np.inf], np.float32),
    "\U0001f600": np.array([3.0], np.float32),  # beyond U+FFFF: Rust sorts it after "\ufffd", JavaScript before
    "\ufffd": np.array([4.0], np.float32),
}
(here / "float32.safetensors").write_bytes(save(singles, metadata={"format": "soma"}))

halves = np.array([1, -2.5, 6.1e-5, 5.96e-8, 65504, -np.inf], np.float16)
# bfloat16 is the upper half of a float32.
brains = np.array([1, -2.5, 3.140625, 1e38], np.float32).view(np.uint32) >> 16
brains = brains.astype(np.uint16)


def spec(dtype: str, values: np.ndarray) -> TensorSpec:
    return TensorSpec(dtype=dtype, shape=list(values.shape), data_ptr=values.ctypes.data, data_len=values.nbytes)


tensors = {"half": spec("float16", halves.reshape(2, 3)), "brain": spec("bfloat16", brains)}
(here / "halves.safetensors").write_bytes(serialize(tensors))
