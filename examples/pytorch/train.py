#!/usr/bin/env python3
"""Trains a soma checkpoint on in PyTorch, on one process or many (DistributedDataParallel). CPU or CUDA.

    python3 train.py CHECKPOINT TOKENS --out NEW --steps 100
    torchrun --nproc-per-node 2 train.py CHECKPOINT TOKENS --out NEW --steps 100

CHECKPOINT is a folder with config.json; TOKENS is what `soma tokens CHECKPOINT … --split train` wrote; NEW is a
checkpoint that `soma embed`, `soma evaluate` and `soma serve` load.

Two rows of one group are a pair, every other row of the batch is a negative (InfoNCE over all Matryoshka cuts, as
training/objectives/similarity.ts). --batch is the global batch: each process embeds its share, then embeddings are
gathered, so that the loss, and its gradient, are those of one process.
"""

import argparse
import collections
import math
import os
import random

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import soma_torch


def main():
    flags = parse()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    on_gpu = torch.cuda.is_available()
    if flags.batch % world != 0:
        raise SystemExit(f"a batch of {flags.batch} cannot be split among {world} processes")
    if world > 1:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else "cpu"
    torch.manual_seed(flags.seed)

    sampler = PairSampler(soma_torch.read_tokens(flags.tokens), flags.pair, flags.batch)
    encoder = soma_torch.load(flags.checkpoint).to(device)
    for modality, tower in encoder.named_children():
        tower.requires_grad_(modality in sampler.sides)
    model = Pairs(encoder, rank, world).to(device)
    step_of = DistributedDataParallel(model) if world > 1 else model
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() >= 2]
    others = [p for p in trained if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=flags.learning_rate, betas=(0.9, 0.98))

    share = flags.batch // world
    mine = slice(rank * share, (rank + 1) * share)
    for step in range(flags.steps):
        # The same draw on every process; each keeps its rows.
        left, right = sampler.draw(random.Random(f"{flags.seed}/{step}"))
        loss = step_of(soma_torch.pack(left[mine], device), soma_torch.pack(right[mine], device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if rank == 0:
            print(f"step {step + 1} loss {loss.item():.6f}", flush=True)

    if rank == 0:
        note = f"{flags.steps} steps, batch {flags.batch}, seed {flags.seed}, {world} processes"
        soma_torch.save(flags.out, encoder, like=flags.checkpoint, note=note)
    if world > 1:
        dist.destroy_process_group()


class Pairs(nn.Module):
    """InfoNCE between two sets of rows, row i of one belonging to row i of the other."""

    def __init__(self, encoder, rank, world):
        super().__init__()
        self.encoder = encoder
        self.log_scale = nn.Parameter(torch.tensor(-math.log(0.07)))
        self.rank, self.world = rank, world

    def forward(self, left, right):
        a, b = self.encoder(left), self.encoder(right)
        if self.world > 1:
            a, b = (Gather.apply(x, self.rank, self.world) for x in (a, b))
        scale = self.log_scale.exp().clamp(max=100)
        targets = torch.arange(len(a), device=a.device)
        losses = []
        for cut in self.encoder.config["matryoshka"]:
            logits = scale * unit(a[:, :cut]) @ unit(b[:, :cut]).T
            losses += [functional.cross_entropy(logits, targets), functional.cross_entropy(logits.T, targets)]
        return torch.stack(losses).mean()


def unit(x):
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-12)


class Gather(torch.autograd.Function):
    """The rows of all processes. Each computes the whole loss, so each knows the whole gradient of its own rows."""

    @staticmethod
    def forward(ctx, rows, rank, world):
        ctx.rank, ctx.world, ctx.count = rank, world, len(rows)
        gathered = [torch.empty_like(rows) for _ in range(world)]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx, gradient):
        mine = gradient[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count]
        # DDP takes the mean over processes where the gradient is the sum over their rows.
        return ctx.world * mine, None, None


class PairSampler:
    """Draws groups that have a row for each side, without repeating one in a batch."""

    def __init__(self, rows, pair, batch):
        by_group = collections.defaultdict(list)
        for row in rows:
            by_group[row["group"]].append(row)
        kinds = {row["modality"] for row in rows}
        self.sides = pair.split(":") if pair else ["image", "text"] if len(kinds) == 2 else [*kinds] * 2
        needed = {side: self.sides.count(side) for side in self.sides}
        self.groups = [
            members
            for members in by_group.values()
            if all(sum(row["modality"] == side for row in members) >= count for side, count in needed.items())
        ]
        self.batch = batch
        if len(self.groups) < batch:
            raise SystemExit(f"{len(self.groups)} groups have {' and '.join(self.sides)}, fewer than --batch {batch}")

    def draw(self, rng):
        pairs = []
        for members in rng.sample(self.groups, self.batch):
            first = rng.choice([row for row in members if row["modality"] == self.sides[0]])
            others = [row for row in members if row["modality"] == self.sides[1] and row is not first]
            pairs.append((first, rng.choice(others)))
        return [first for first, _ in pairs], [second for _, second in pairs]


def parse():
    parser = argparse.ArgumentParser(description="Train a soma checkpoint on in PyTorch.")
    parser.add_argument("checkpoint", help="folder with config.json and model.safetensors")
    parser.add_argument("tokens", help="file of `soma tokens`")
    parser.add_argument("--out", required=True, help="new checkpoint folder")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64, help="pairs over all processes")
    parser.add_argument("--pair", help="image:text, image:image or text:text (default: what the tokens have)")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
