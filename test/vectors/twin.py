#!/usr/bin/env python3
"""A second implementation of hash, random stream, samples, masks and unit counts, written from the
protocol's parts 1 and 2 alone, with the standard library only.

    python3 test/vectors/twin.py                      check both vector files; exit 1 names the first mismatch
    python3 test/vectors/twin.py --random N --seed S  print N random cases of each sort as one JSON document
    python3 test/vectors/twin.py --golden             print the edge cases of golden-tokens-and-masks.json
"""
import argparse
import hashlib
import json
import math
import pathlib
import random
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
FILES = ("tokens-and-masks.json", "golden-tokens-and-masks.json")
RATIO = {"text": (15, 100), "image": (85, 100), "video": (90, 100), "audio": (80, 100)}
UNITS_MAX = {"text": 512, "image": 196, "video": 512, "audio": 496}


def tagged_hash(tag, parts):
    return hashlib.sha256(f"soma/{tag}/v1".encode() + b"\0" + parts).digest()


def words(seed):
    """The random stream: u32 words, eight of each sha256(seed || u64 counter)."""
    counter = 0
    while True:
        block = hashlib.sha256(seed + struct.pack("<Q", counter)).digest()
        yield from struct.unpack("<8I", block)
        counter += 1


def uniform(stream, bound):
    span = 32 if bound <= 2**32 else 64
    limit = 2**span - 2**span % bound
    while True:
        value = next(stream)
        if span == 64:
            value += next(stream) << 32
        if value < limit:
            return value % bound


def sample(stream, n, k):
    a = list(range(n))
    for i in range(k):
        j = i + uniform(stream, n - i)
        a[i], a[j] = a[j], a[i]
    return a[:k]


def grid(width, height, cap):
    p = max(1, (width + 8) // 16)
    q = max(1, (height + 8) // 16)
    if p * q > cap:
        p = min(max(math.isqrt(cap * width // height), 1), cap)
        q = min(max(math.isqrt(cap * height // width), 1), cap)
    return p, q


def frames(count):
    kept = list(range(count)) if count <= 16 else [i * count // 16 for i in range(16)]
    return kept + kept[-1:] if len(kept) % 2 else kept


def audio_units(samples, rate):
    n = min(160_000, samples * 16_000 // rate)
    return 8 * (n // 160 // 16)


def masks(modality, units, digest, data_hash, item, count):
    num, den = RATIO[modality]
    size = min(max((2 * num * units + den) // (2 * den), 1), units - 1)
    drawn = []
    for j in range(min(count, math.comb(units, size))):
        seed = tagged_hash("mask", digest + data_hash + struct.pack("<II", item, j))
        stream = words(seed)
        mask = sorted(sample(stream, units, size))
        while mask in drawn:
            mask = sorted(sample(stream, units, size))
        drawn.append(mask)
    return drawn


# One case of each sort: its inputs in, the whole vector out.


def hash_case(tag, parts):
    return {"tag": tag, "parts": parts.hex(), "digest": tagged_hash(tag, parts).hex()}


def uniform_case(seed, bound, draws=5):
    stream = words(seed)
    values = [str(uniform(stream, bound)) for _ in range(draws)]
    return {"seed": seed.hex(), "bound": str(bound), "draws": values}


def sample_case(seed, n, k):
    return {"seed": seed.hex(), "n": n, "k": k, "sample": sample(words(seed), n, k)}


def image_case(width, height):
    p, q = grid(width, height, 196)
    return {"W": width, "H": height, "width": 16 * p, "height": 16 * q, "units": p * q}


def video_case(count, width, height):
    p, q = grid(width, height, 64)
    kept = frames(count)
    return {
        "F": count, "W": width, "H": height, "frames": kept,
        "width": 16 * p, "height": 16 * q, "units": len(kept) // 2 * p * q,
    }  # fmt: skip


def audio_case(samples, rate):
    return {"samples": samples, "rate": rate, "units": audio_units(samples, rate)}


def mask_case(modality, units, digest, data_hash, item, count):
    return {
        "modality": modality, "units": units, "digest": digest.hex(), "dataHash": data_hash.hex(),
        "item": item, "M": count, "masks": masks(modality, units, digest, data_hash, item, count),
    }  # fmt: skip


def recompute(sort, case):
    if sort == "hash":
        return hash_case(case["tag"], bytes.fromhex(case["parts"]))
    if sort == "uniform":
        return uniform_case(bytes.fromhex(case["seed"]), int(case["bound"]), len(case["draws"]))
    if sort == "sample":
        return sample_case(bytes.fromhex(case["seed"]), case["n"], case["k"])
    if sort == "image":
        return image_case(case["W"], case["H"])
    if sort == "video":
        return video_case(case["F"], case["W"], case["H"])
    if sort == "audio":
        return audio_case(case["samples"], case["rate"])
    if sort == "masks":
        return mask_case(
            case["modality"], case["units"], bytes.fromhex(case["digest"]),
            bytes.fromhex(case["dataHash"]), case["item"], case["M"],
        )  # fmt: skip
    raise SystemExit(f"unknown sort of vectors: {sort}")


def check():
    count = 0
    for name in FILES:
        for sort, cases in json.loads((HERE / name).read_text()).items():
            for index, case in enumerate(cases):
                ours = recompute(sort, case)
                if ours != case:
                    raise SystemExit(f"{name}: {sort}[{index}]\nfile {case}\ntwin {ours}")
                count += 1
    print(f"twin: {count} vectors of {len(FILES)} files hold")


def random_cases(count, seed):
    rng = random.Random(seed)

    def size():
        """Sizes of every magnitude up to 2^20, small ones as likely as large ones."""
        return rng.randrange(1, 2 ** rng.randint(1, 20) + 1)

    def mask_inputs():
        modality = rng.choice(list(RATIO))
        units = rng.choice([rng.randint(2, 12), rng.randint(8, UNITS_MAX[modality])])
        item = rng.choice([0, rng.randrange(64), rng.randrange(2**32)])
        return modality, units, rng.randbytes(32), rng.randbytes(32), item, rng.randint(1, 16)

    def sample_inputs():
        n = rng.randint(1, 600)
        return rng.randbytes(32), n, rng.randint(0, n)

    repeat = range(count)
    tags = ("mask", "data", "leaf", "node")
    return {
        "hash": [hash_case(rng.choice(tags), rng.randbytes(rng.randint(0, 200))) for _ in repeat],
        "uniform": [uniform_case(rng.randbytes(32), rng.randint(1, 2 ** rng.randint(0, 64))) for _ in repeat],
        "sample": [sample_case(*sample_inputs()) for _ in repeat],
        "image": [image_case(size(), size()) for _ in repeat],
        "video": [video_case(size(), size(), size()) for _ in repeat],
        "audio": [audio_case(rng.randrange(2 ** rng.randint(1, 40)), size()) for _ in repeat],
        "masks": [mask_case(*mask_inputs()) for _ in repeat],
    }


def golden_cases():
    """The edges: bounds around powers of two, grids around the cap, small sets that run out of masks."""
    def fill(text):
        return hashlib.sha256(text.encode()).digest()

    bounds = (1, 2, 3, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**63 + 1, 2**64 - 1, 2**64)
    samples = ((1, 0), (1, 1), (2, 1), (2, 2), (8, 7), (512, 77), (512, 512), (65536, 3))
    images = (
        (1, 1), (7, 7), (8, 8), (23, 24), (24, 23), (16, 128), (224, 224), (225, 225), (231, 231), (232, 232),
        (215, 231), (1, 4000), (4000, 1), (1, 64_000_000), (64_000_000, 1), (1920, 1080), (1080, 1920),
        (8000, 8000), (3136, 16), (3135, 24), (2**31, 2**31 - 1), (2**32, 1), (2**32, 2**32),
    )  # fmt: skip
    videos = (
        (1, 128, 128), (2, 128, 128), (3, 64, 64), (15, 128, 128), (16, 128, 128), (17, 135, 136), (31, 1, 1),
        (32, 1920, 1080), (33, 1080, 1920), (10_000_000, 1, 5000),
    )  # fmt: skip
    audios = (
        (0, 16_000), (2559, 16_000), (2560, 16_000), (159_999, 16_000), (160_000, 16_000), (160_001, 16_000),
        (158_719, 16_000), (158_720, 16_000), (441_000, 44_100), (440_999, 44_100), (1, 1), (2**53 - 1, 1),
        (2**53 - 1, 2**32), (7_055, 44_100), (7_056, 44_100),
    )  # fmt: skip
    asked = (
        # T = 2 has two sets of one unit, T = 3 three; T = 8 at 85 % has eight sets of seven.
        ("text", 2, 0, 16), ("image", 2, 0, 16), ("text", 3, 1, 16), ("image", 3, 0, 3),
        ("text", 8, 0, 16), ("image", 8, 0, 16), ("video", 8, 5, 16), ("audio", 8, 0, 16),
        ("text", 8, 0, 8), ("video", 9, 0, 16), ("text", 10, 2, 16), ("image", 10, 0, 16),
        ("text", 16, 0, 16), ("text", 17, 0, 16), ("text", 512, 0, 16), ("text", 512, 63, 4),
        ("text", 511, 2**32 - 1, 4), ("image", 196, 0, 4), ("image", 196, 1, 16), ("image", 190, 2**31, 4),
        ("video", 512, 0, 16), ("video", 511, 7, 4), ("audio", 496, 0, 16), ("audio", 488, 3, 1),
    )  # fmt: skip
    return {
        "hash": [hash_case(tag, parts) for tag, parts in (
            ("mask", b""), ("", b""), ("data", b"\0"), ("leaf", b"\xff" * 64), ("node", bytes(range(256))),
            ("größe", b"x"),
        )],
        "uniform": [uniform_case(fill(f"uniform {b}"), b, 16) for b in bounds],
        "sample": [sample_case(fill(f"sample {n} {k}"), n, k) for n, k in samples],
        "image": [image_case(w, h) for w, h in images],
        "video": [video_case(f, w, h) for f, w, h in videos],
        "audio": [audio_case(s, r) for s, r in audios],
        "masks": [
            mask_case(modality, units, fill(f"digest {i}"), fill(f"data {i}"), item, count)
            for i, (modality, units, item, count) in enumerate(asked)
        ],
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="second implementation of tokens and masks")
    parser.add_argument("--random", type=int, metavar="N", help="print N random cases of each sort")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--golden", action="store_true", help="print the edge cases")
    options = parser.parse_args()
    if options.golden:
        json.dump(golden_cases(), sys.stdout, separators=(",", ":"))
        print()
    elif options.random is not None:
        json.dump(random_cases(options.random, options.seed), sys.stdout, separators=(",", ":"))
        print()
    else:
        check()


if __name__ == "__main__":
    main()
