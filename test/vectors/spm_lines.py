#!/usr/bin/env python3
"""Lines of text and the ids that Google's SentencePiece gives them, for test/tokenizers/text/.

    python3 -m venv spm-venv && spm-venv/bin/pip install sentencepiece==0.2.3
    spm-venv/bin/python test/vectors/spm_lines.py > test/vectors/spm-lines.json
    spm-venv/bin/python test/vectors/spm_lines.py --lines 20000 --seed 7 > fuzz.json

The committed file is the default, by Python 3.11 (its Unicode tables choose the characters): 400 lines of seed 1
and some fixed ones. sentencepiece 0.1.99, 0.2.0, 0.2.1 and 0.2.3 print the same bytes. SOMA_SPM_LINES=fuzz.json makes the test read another file.
"""
import argparse
import json
import pathlib
import random
import sys
import unicodedata

import sentencepiece

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "tokenizers" / "text" / "soma-8192.model"

FIXED = [
    "", " ", "  ", "\u3000", "\t", "\r", "a\r", "\0", "a\0b", "\u2581", "\u2581\u2581a", "a ", " a", "  a  b  ",
    "[MASK]", "x[MASK]y", "[CLS] a [SEP]", "<s>", "</s>", "<unk>", "<pad>", "<0x41>", "\ufeffa", "\ufffd",
    "a red heart", "Straße", "ﬁ ﬂ ﷺ ½ ² Å", "e\u0301 é", "\u0301", "한국어 \u1112\u1161\u11ab", "日本語と中文", "ｶﾞ ㍿",
    "สวัสดี", "हिन्दी", "বাংলা", "😀👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪", "ZERO\u200bWIDTH\u200dJOIN", "\u202eright to left\u202c",
    "555 7777 !!!!! ----- ....", "a" * 3000, "漢" * 300, "ab " * 500, "\U0010ffff\U000e0001",
]  # fmt: skip

WORDS = """the quick brown fox a genus of plants physicist (1908-1991); "quoted" smiling face with open mouth
Katze mit Herzaugen visage souriant corazón rojo улыбающееся лицо 笑顔 紅心 愛心 웃는 얼굴 মুখ चेहरा หน้ายิ้ม trái tim
vörös szív sarkanā sirds červené Île-de-France McDonald's don't U.S.A. 3.14159 1,000,000 50% #1 C++ e-mail@host""".split()
ASSIGNED = [
    chr(code)
    for code in range(0x110000)
    if not 0xD800 <= code < 0xE000 and code != 10 and unicodedata.category(chr(code)) != "Cn"
]
SPACES = [char for char in ASSIGNED if unicodedata.category(char)[0] == "Z"] + list("\t\r\v\f\x85\u200b\u2060\ufeff")
COMPOSED = [char for char in ASSIGNED if unicodedata.normalize("NFKC", char) != char]
MARKS = [char for char in ASSIGNED if unicodedata.combining(char)]
CONTROLS = [char for char in ASSIGNED if unicodedata.category(char) == "Cc"]


def atom(rng):
    """A few characters of one troublesome sort, or a word."""
    sort = rng.randrange(12)
    if sort == 0:
        return rng.choice(ASSIGNED)
    if sort == 1:
        return rng.choice(COMPOSED)
    if sort == 2:
        return rng.choice("aeioukнか가") + "".join(rng.choices(MARKS, k=rng.randint(1, 3)))
    if sort == 3:
        return rng.choice(SPACES) * rng.randint(1, 3)
    if sort == 4:
        return rng.choice(CONTROLS)
    if sort == 5:
        return rng.choice(FIXED[14:22])
    if sort == 6:
        return rng.choice("!#*-.:=_~0123456789abc") * rng.randint(1, 6)  # ties: 5 + 55 or 55 + 5
    if sort == 7:
        return rng.choice(WORDS)[::-1]
    return rng.choice(("", " ", " ", "  ")) + rng.choice(WORDS)


def line(rng):
    sort = rng.randrange(6)
    if sort == 0:
        return "".join(rng.choices(ASSIGNED, k=rng.randint(1, 20)))
    if sort == 1:
        form = rng.choice(("NFC", "NFD", "NFKC", "NFKD"))
        return unicodedata.normalize(form, " ".join(rng.choices(WORDS, k=rng.randint(1, 12))))
    if sort == 2:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 12))).upper()
    return "".join(atom(rng) for _ in range(rng.randint(0, 24)))


def main():
    parser = argparse.ArgumentParser(description="lines and their ids")
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    lines = FIXED + [line(rng) for _ in range(options.lines)]
    model = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
    cases = [{"line": text, "ids": model.encode(text)} for text in lines]
    json.dump(cases, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
