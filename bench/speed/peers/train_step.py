#!/usr/bin/env python3
"""The peer of `soma bench train-step`: the same network, batch and optimiser in PyTorch (eager), as one JSON document.

[batch, tokens, 768] patches, a linear stem, learned positions, pre-norm layers with biases (attention, then a network
of 4x the width with exact GELU), layer norm, mean over tokens, 64 classes, cross-entropy, Adam. float32; with
--precision bf16 products of matrices may round their inputs to bfloat16, which is what ours does under that flag.
"""
import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

PATCH_NUMBERS, CLASSES = 768, 64


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, width, layers, heads, tokens):
        super().__init__()
        self.stem = nn.Linear(PATCH_NUMBERS, width)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.stem(x) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))


def timed(work, warmup, steps):
    """Median milliseconds of the calls that count."""
    times = []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[warmup:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in dict(width=192, layers=6, heads=3, tokens=64, batch=32, steps=20, warmup=3, seed=0).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.precision == "bf16":
        torch.set_float32_matmul_precision("medium")
    torch.manual_seed(a.seed)
    model = Vit(a.width, a.layers, a.heads, a.tokens)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999))
    patches = torch.randn(a.batch, a.tokens, PATCH_NUMBERS)
    labels = torch.randint(0, CLASSES, (a.batch,))

    def step():
        loss = F.cross_entropy(model(patches), labels)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss.item()

    def forward():
        with torch.no_grad():
            return model(patches).sum().item()

    step_ms = timed(step, a.warmup, a.steps)
    forward_ms = timed(forward, a.warmup, a.steps)
    # KiB on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps(dict(engine=f"torch {torch.__version__}", threads=torch.get_num_threads(),
                          stepMs=step_ms, forwardMs=forward_ms, peakRssMiB=peak, precision=a.precision)))


if __name__ == "__main__":
    main()
