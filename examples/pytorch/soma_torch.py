#!/usr/bin/env python3
"""A soma checkpoint in PyTorch: load it, embed with it, train it, write it back. Needs torch and safetensors.

    encoder = load("runs/first/checkpoints/best")      # torch.nn.Module, parameters named as in the file
    rows = read_tokens("train.jsonl")                  # of `soma tokens`
    embeddings = encoder(pack(rows[:32]))              # [32, dimension], not normalised, differentiable
    save("continued", encoder, like="runs/first/checkpoints/best", note="100 steps of …")

    python3 soma_torch.py embed CHECKPOINT TOKENS      # JSON lines as of `soma embed`

The model is models/transformer.ts, layer by layer; docs/beyond-one-machine.md says how the two are held together.
"""

import base64
import collections
import hashlib
import json
import os
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

PATCH_SIDE = 16
PATCH_BYTES = PATCH_SIDE * PATCH_SIDE * 3
CELL, QUAD = 4, 8  # sides of the stem's two convolutions, in pixels
HIDDEN_BIAS = -1e9  # added to the attention score of a token that may not be seen
ACTIVATIONS = {"relu": functional.relu, "gelu": functional.gelu}


# ---- layers: the names of modules and parameters are those of the checkpoint ----


class Linear(nn.Module):
    """x·W + b, the weight lying as in the checkpoint: [inputs, outputs]."""

    def __init__(self, inputs, outputs, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x):
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class LayerNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return functional.layer_norm(x, x.shape[-1:], self.scale, self.shift, eps=1e-5)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.add_module("in", Linear(width, 3 * width))  # "in" is a word of Python's own
        self.out = Linear(width, width)

    def forward(self, x, bias):
        B, N, D = x.shape  # batch, tokens, width
        parts = getattr(self, "in")(x).reshape(B, N, 3, self.heads, D // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each [B, heads, N, D/heads]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).reshape(B, N, D))


class TransformerLayer(nn.Module):
    def __init__(self, width, heads, activation):
        super().__init__()
        self.activation = activation
        self.norm1 = LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = LayerNorm(width)
        self.up = Linear(width, 4 * width)
        self.down = Linear(4 * width, width)

    def forward(self, x, bias):
        y = x + self.attention(self.norm1(x), bias)
        return y + self.down(self.activation(self.up(self.norm2(y))))


class Head(nn.Module):
    """A two-layer network added to what comes in."""

    def __init__(self, dimension, hidden):
        super().__init__()
        self.up = Linear(dimension, hidden)
        self.down = Linear(hidden, dimension, bias=False)

    def forward(self, x):
        return x + self.down(functional.relu(self.up(x)))


class PatchStem(nn.Module):
    """Two convolutions inside each patch, as matrix products; see models/stems/patches.ts."""

    def __init__(self, channels):
        super().__init__()
        self.pixels = Linear(CELL * CELL * 3, channels[0])
        self.cells = Linear(4 * channels[0], channels[1])
        self.register_buffer("order", pixel_order(), persistent=False)

    def forward(self, patches):
        """patches: uint8 [B, N, 768] → [B, N, 4 · channels[1]]"""
        B, N, _ = patches.shape
        ink = 1 - patches.to(self.pixels.weight.dtype)[..., self.order] / 255
        first = functional.relu(self.pixels(ink.reshape(B, N, 16, CELL * CELL * 3)))
        second = functional.relu(self.cells(first.reshape(B, N, 4, -1)))
        return second.reshape(B, N, -1)


def pixel_order():
    """Where in a patch's bytes each number of the first layer's input comes from."""
    order = []
    for at in range(PATCH_BYTES):
        cell, pixel = at // (CELL * CELL * 3), at % (CELL * CELL * 3) // 3
        quad = cell // 4
        x = quad % 2 * QUAD + cell % 2 * CELL + pixel % CELL
        y = quad // 2 * QUAD + cell // 2 % 2 * CELL + pixel // CELL
        order.append((y * PATCH_SIDE + x) * 3 + at % 3)
    return torch.tensor(order)


class IdStem(nn.Module):
    def __init__(self, vocabulary_size, width, max_tokens, positions):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(vocabulary_size, width))
        self.positions = nn.Parameter(torch.zeros(max_tokens, width)) if positions else None

    def forward(self, ids):
        rows = functional.embedding(ids, self.table)
        return rows if self.positions is None else rows + self.positions[: ids.shape[1]]


class Tower(nn.Module):
    """Layers and head that both towers have."""

    def __init__(self, config, dimension):
        super().__init__()
        activation = ACTIVATIONS[config.get("activation", "relu")]
        self.layer_count = config["layers"]
        for i in range(self.layer_count):
            layer = TransformerLayer(config["width"], config["heads"], activation)
            self.add_module(f"layer{i}", layer)
        hidden = config.get("head", 0)
        self.head = Head(dimension, hidden) if hidden > 0 else None

    def mix(self, x, visible):
        bias = torch.where(visible, 0.0, HIDDEN_BIAS).to(x.dtype)[:, None, None, :]
        for i in range(self.layer_count):
            x = getattr(self, f"layer{i}")(x, bias)
        return x

    def finish(self, embedding):
        return embedding if self.head is None else self.head(embedding)


class ImageTower(Tower):
    def __init__(self, config, dimension):
        super().__init__(config, dimension)
        self.anchors = config["anchors"]
        self.stem = PatchStem(config["channels"])
        self.widen = Linear(4 * config["channels"][1], config["width"])
        self.readout = Linear(self.anchors**2 * config["width"], dimension, bias=False)

    def forward(self, batch):
        tokens = self.mix(self.widen(self.stem(batch["patches"])), batch["visible"])
        weights = torch.zeros(*tokens.shape[:2], self.anchors**2)
        for b, (columns, rows) in enumerate(batch["grids"]):
            weights[b, : columns * rows] = anchor_weights(columns, rows, self.anchors)
        weights = weights.to(tokens) * batch["visible"][..., None]
        places = weights.transpose(1, 2) @ tokens  # [B, anchors², width]
        return self.finish(self.readout(places.flatten(1)))


class TextTower(Tower):
    def __init__(self, config, dimension):
        super().__init__(config, dimension)
        sizes = config["vocabularySize"], config["width"], config["maxTokens"]
        self.stem = IdStem(*sizes, positions=config["layers"] > 0)
        self.readout = Linear(config["width"], dimension, bias=False)

    def forward(self, batch):
        visible = batch["visible"]
        tokens = self.mix(self.stem(batch["ids"]), visible)
        mean = (tokens * visible[..., None]).sum(1) / visible.sum(1, keepdim=True)
        return self.finish(self.readout(mean))


def anchor_weights(columns, rows, anchors):
    """How much each token of a grid gives to each anchor: [columns · rows, anchors²]."""
    across, down = axis_weights(columns, anchors), axis_weights(rows, anchors)
    return torch.einsum("ri,cj->rcij", down, across).reshape(columns * rows, anchors**2)


def axis_weights(units, anchors):
    """Hat functions as wide as the coarser of the two grids, normalised for each anchor: [units, anchors]."""
    at = lambda count: (torch.arange(count, dtype=torch.float64) + 0.5) / count
    distance = (at(units)[:, None] - at(anchors)[None, :]).abs()
    weights = (1 - distance / max(1 / units, 1 / anchors)).clamp(min=0)
    return (weights / weights.sum(0)).float()


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        if "image" in config:
            self.image = ImageTower(config["image"], config["dimension"])
        if "text" in config:
            self.text = TextTower(config["text"], config["dimension"])

    def forward(self, batch):
        """batch: of `pack` → [B, dimension], not normalised"""
        return (self.text if "ids" in batch else self.image)(batch)


# ---- tokens ----


def read_tokens(path):
    """Rows of `soma tokens`: dicts with id, group, split, modality and ids, or columns, rows and patches."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def pack(rows, device="cpu"):
    """Rows of one modality as a batch, padded to the longest."""
    if "ids" in rows[0]:
        lengths = [len(row["ids"]) for row in rows]
        ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
        for b, row in enumerate(rows):
            ids[b, : lengths[b]] = torch.tensor(row["ids"])
        batch = {"ids": ids}
    else:
        grids = [(row["columns"], row["rows"]) for row in rows]
        lengths = [columns * count for columns, count in grids]
        patches = torch.zeros(len(rows), max(lengths), PATCH_BYTES, dtype=torch.uint8)
        for b, row in enumerate(rows):
            data = bytearray(base64.b64decode(row["patches"]))
            patches[b, : lengths[b]] = torch.frombuffer(data, dtype=torch.uint8).reshape(-1, PATCH_BYTES)
        batch = {"patches": patches}
    batch["visible"] = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    batch = {key: value.to(device) for key, value in batch.items()}
    return batch if "ids" in rows[0] else {**batch, "grids": grids}


# ---- checkpoints ----


def load(path):
    """The encoder of a checkpoint folder. Refuses one whose digests are not those of its files."""
    folder = pathlib.Path(path)
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    unsigned = {key: value for key, value in document.items() if key != "digest"}
    if digest_of(unsigned) != document["digest"]:
        raise SystemExit(f"{folder}/config.json is not what was saved: its digest differs")
    for name, digest in document["files"].items():
        if sha256(folder / name) != digest:
            raise SystemExit(f"{folder}/{name}: its SHA-256 is not the one in config.json")
    encoder = Encoder(document["encoder"])
    encoder.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return encoder


def save(path, encoder, like, note):
    """
    A new checkpoint folder that soma loads: `encoder`'s weights, all else from the checkpoint folder `like`.
    The figures of the old model card are left out, as they are not of these weights.
    """
    source, target = pathlib.Path(like), pathlib.Path(path)
    if target.exists():
        raise SystemExit(f"{target} is there already: give a new folder")
    document = json.loads((source / "config.json").read_text(encoding="utf-8"))
    before = document.pop("digest")
    weights = {name: value.detach().float().cpu().contiguous() for name, value in encoder.state_dict().items()}
    broken = [name for name, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise SystemExit(f"{broken[0]} holds a value that is not finite, so {target} is not written")
    beside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    beside.mkdir(parents=True)
    save_file(weights, beside / "model.safetensors", metadata={"format": "soma"})
    if "tokenizer.model" in document["files"]:
        shutil.copy(source / "tokenizer.model", beside)
    document["files"]["model.safetensors"] = sha256(beside / "model.safetensors")
    signed = {**document, "digest": digest_of(document)}
    (beside / "config.json").write_text(json.dumps(signed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    card = f"# {document['name']}\n\nTrained on in PyTorch from {before[:12]}: {note}. Not measured since.\n"
    (beside / "README.md").write_text(card, encoding="utf-8")
    beside.rename(target)


def digest_of(document):
    """SHA-256 of a JSON document as JavaScript writes it without spaces, keys in the order of the file."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def embed(checkpoint, tokens, batch_size=64):
    """JSON lines on stdout: id, modality, embedding; in the order of the file within each modality."""
    encoder = load(checkpoint).eval()
    by_modality = collections.defaultdict(list)
    for row in read_tokens(tokens):
        by_modality[row["modality"]].append(row)
    for modality, rows in by_modality.items():
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            with torch.no_grad():
                embeddings = encoder(pack(some)).tolist()
            for row, embedding in zip(some, embeddings):
                print(json.dumps({"id": row["id"], "modality": modality, "embedding": embedding}))


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "embed":
        raise SystemExit(__doc__)
    embed(sys.argv[2], sys.argv[3])
