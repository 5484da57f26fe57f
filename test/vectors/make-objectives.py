"""Writes objectives.json: what PyTorch answers for the losses of training/objectives, with gradients, in float64.

In the environment of make-ops.py:
    VENV/bin/python test/vectors/make-objectives.py

The losses are written down here after their papers, from PyTorch's own operations; inputs have three decimals, so that
float32 reads what float64 was given, up to rounding. One seed for each case, taken from its name.
"""

import json
import pathlib
import zlib

import numpy
import torch
import torch.nn.functional as F

CASES = []


def case(name, compute, shapes, options=None, unit=False):
    rng = numpy.random.default_rng(zlib.crc32(name.encode()))
    inputs = {}
    for key, shape in shapes.items():
        inputs[key] = torch.tensor(numpy.round(rng.normal(size=shape), 3), dtype=torch.float64, requires_grad=True)
    loss = compute(inputs, **(options or {}))
    loss.backward()
    pack = lambda t: {"shape": list(t.shape), "values": [round(v, 9) for v in t.flatten().tolist()]}
    CASES.append({
        "name": name,
        "options": options or {},
        "inputs": {key: pack(t.detach()) for key, t in inputs.items()},
        "loss": loss.item(),
        "gradients": {key: pack(t.grad if t.grad is not None else torch.zeros_like(t)) for key, t in inputs.items()},
    })


def unit(x):
    return F.normalize(x, dim=1)


def triplet(x, margin, mining):
    a, b = unit(x["a"]), unit(x["b"])
    d = torch.cdist(a, b).square()
    losses = []
    for i in range(len(a)):
        others = [j for j in range(len(a)) if j != i]
        pool = [j for j in others if d[i, j] > d[i, i]] if mining == "semi-hard" else others
        j = min(pool, key=lambda j: d[i, j].item()) if pool else max(others, key=lambda j: d[i, j].item())
        losses.append(F.relu(margin + d[i, i] - d[i, j]))
    return torch.stack(losses).mean()


def nt_xent(x, temperature):
    rows = unit(torch.cat([x["a"], x["b"]]))
    logits = rows @ rows.T / temperature
    logits = logits.masked_fill(torch.eye(len(rows), dtype=torch.bool), float("-inf"))
    half = len(rows) // 2
    return F.cross_entropy(logits, torch.arange(2 * half).roll(half))


def moco(x, temperature):
    q, k, queue = unit(x["queries"]), unit(x["keys"]).detach(), unit(x["queue"]).detach()
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def variance(x):
    return F.relu(1 - torch.sqrt(x["x"].var(dim=0) + 1e-4)).mean()


def covariance(x):
    c = torch.cov(x["x"].T)
    return (c - torch.diag(torch.diag(c))).square().sum() / c.shape[0]


def sig_reg(x):
    a = (x["slices"] / x["slices"].norm(dim=0)).detach()
    t = torch.linspace(0, 3, 17, dtype=torch.float64)
    weights = torch.full((17,), 2 * 3 / 16, dtype=torch.float64)
    weights[[0, -1]] = 3 / 16
    phi = torch.exp(-t.square() / 2)
    at = (x["x"] @ a).unsqueeze(-1) * t
    error = (at.cos().mean(0) - phi).square() + at.sin().mean(0).square()
    return ((error @ (weights * phi)) * len(x["x"])).mean()


for mining in ("semi-hard", "hard"):
    case(f"triplet {mining}", triplet, {"a": (7, 3), "b": (7, 3)}, {"margin": 0.3, "mining": mining})
case("triplet of two", triplet, {"a": (2, 2), "b": (2, 2)}, {"margin": 1.5, "mining": "semi-hard"})
case("ntXent", nt_xent, {"a": (5, 4), "b": (5, 4)}, {"temperature": 0.2})
case("moco", moco, {"queries": (4, 5), "keys": (4, 5), "queue": (9, 5)}, {"temperature": 0.1})
case("variance", variance, {"x": (6, 5)})
case("covariance", covariance, {"x": (6, 5)})
case("sigReg", sig_reg, {"x": (9, 4), "slices": (4, 6)})

path = pathlib.Path(__file__).with_name("objectives.json")
path.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "cases": CASES}, separators=(",", ":")) + "\n")
