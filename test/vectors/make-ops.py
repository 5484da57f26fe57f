"""Writes ops.json: what PyTorch answers for every op of models/ops, and for the optimiser, in float64.

In a throw-away environment:
    python3 -m venv VENV && VENV/bin/pip install torch==2.15.0 numpy==2.4.6
    VENV/bin/python test/vectors/make-ops.py

Inputs are float32 with three decimals (short in the file, exact after rounding), or whole numbers where a case is
about magnitude: then float32 holds sums and products exactly, and the same tolerance serves. Answers are computed in
float64, as gradients of Σ upstream · output, and written as the nearest float32. One seed for each case, taken from
its name: a new case changes no other.
"""

import json
import math
import pathlib
import zlib

import numpy
import torch
import torch.nn.functional as F

CASES = []


def rng_of(name):
    return numpy.random.default_rng(zlib.crc32(name.encode()))


def normal(rng, *shape, scale=1.0, shift=0.0):
    return numpy.round(rng.normal(size=shape) * scale + shift, 3).astype(numpy.float32)


def whole(rng, *shape, low, high):
    return rng.integers(low, high + 1, size=shape).astype(numpy.float32)


def number(value):
    """The shortest decimal that reads back as the same float32."""
    value = numpy.float32(value)
    assert numpy.isfinite(value), "JSON holds no infinity"
    if value == 0:
        return 0
    text = numpy.format_float_scientific(value, unique=True, trim="-", exp_digits=1)
    plain = numpy.format_float_positional(value, unique=True, trim="-")
    short = min((text.replace("e+", "e"), plain), key=len)
    return json.loads(short) if numpy.float32(float(short)) == value else float(value)


def packed(array):
    array = numpy.asarray(array)
    integer = array.dtype.kind == "i"
    values = [int(v) if integer else number(v) for v in array.ravel()]
    return {"shape": list(array.shape), "values": values} | ({"dtype": "int32"} if integer else {})


def case(op, name, compute, inputs, *, options=None, fixed=None, cancels=None):
    """
    One case: `compute(inputs as float64 tensors, fixed)`; every one of `inputs` is differentiated. `cancels` says how
    large the terms are that leave nearly nothing of each other in the "output" or the "gradients": float32 rounds those.
    """
    rng = rng_of(f"{op}/{name}/upstream")
    leaves = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in inputs.items()}
    constants = {
        k: torch.tensor(v, dtype=torch.int64 if v.dtype.kind == "i" else torch.float64)
        for k, v in (fixed or {}).items()
    }
    output = compute(**leaves, **constants)
    upstream = normal(rng, *output.shape)
    (output * torch.tensor(upstream, dtype=torch.float64)).sum().backward()
    CASES.append(
        {
            "op": op,
            "name": name,
            **({"options": options} if options else {}),
            "inputs": {k: packed(v) for k, v in inputs.items()},
            **({"fixed": {k: packed(v) for k, v in fixed.items()}} if fixed else {}),
            **({"cancels": cancels} if cancels else {}),
            "output": packed(output.detach().numpy()),
            "upstream": packed(upstream),
            "gradients": {k: packed(v.grad.numpy()) for k, v in leaves.items()},
        }
    )


# ---- the ops ----


def layer_norm():
    def add(name, x, epsilon=1e-5):
        rng = rng_of(name)
        width = x.shape[1]
        inputs = {
            "x": x,
            "scale": normal(rng, width, scale=0.5, shift=1),
            "shift": normal(rng, width, scale=0.5),
        }
        compute = lambda x, scale, shift: F.layer_norm(x, [width], scale, shift, epsilon)
        # Of a single number nothing is left but epsilon's slope, times nothing.
        cancels = {"gradients": 300} if width == 1 else None
        case("layerNorm", name, compute, inputs, options={"epsilon": epsilon}, cancels=cancels)

    for rows, width in ((1, 1), (3, 1), (1, 7), (7, 33), (2, 65), (1, 192)):
        name = f"{rows} of width {width}"
        add(name, normal(rng_of(name + "/x"), rows, width))
    tiny = rng_of("variance 1e-4").normal(size=(4, 17)) * 0.01
    add("variance 1e-4", numpy.round(tiny, 5).astype(numpy.float32))
    # All alike: variance 0, the slope is epsilon's.
    add("rows of equal numbers", numpy.repeat(numpy.float32([[2.5], [-1], [0]]), 9, axis=1))
    add("magnitude 1e4", whole(rng_of("ln 1e4"), 3, 24, low=-10000, high=10000))
    add("mean 1000, deviation 1", whole(rng_of("ln mean"), 3, 16, low=998, high=1002))
    add("epsilon 0.5", normal(rng_of("ln eps"), 3, 10), epsilon=0.5)


def linear():
    activations = {"none": lambda y: y, "relu": torch.relu, "gelu": F.gelu}

    def add(name, rows, inputs, outputs, *, bias, activation, residual, scale=1.0):
        rng = rng_of(name)
        given = {
            "x": normal(rng, rows, inputs, scale=scale),
            "weight": normal(rng, inputs, outputs, scale=1 / math.sqrt(inputs)),
        }
        if bias:
            given["bias"] = normal(rng, outputs, scale=0.5)
        if residual:
            given["residual"] = normal(rng, rows, outputs)

        def compute(x, weight, bias=None, residual=None):
            y = x @ weight if bias is None else x @ weight + bias
            y = activations[activation](y)
            return y if residual is None else y + residual

        case("linear", name, compute, given, options={"activation": activation})

    for activation in activations:
        for bias in (False, True):
            for residual in (False, True):
                parts = [activation] + ["bias"] * bias + ["residual"] * residual
                add(", ".join(parts), 5, 7, 9, bias=bias, activation=activation, residual=residual)
    everything = {"bias": True, "activation": "gelu", "residual": True}
    add("one row of one", 1, 1, 1, **everything)
    add("one row", 1, 17, 9, **everything)
    add("17 to 33", 2, 17, 33, **everything)
    add("65 to 3", 2, 65, 3, **everything)
    add("one output", 6, 12, 1, **everything)
    add("magnitude 100", 4, 16, 8, **everything, scale=100)


def attention():
    def add(name, size, units, heads, width, visible=None, given=None, cancels=None):
        rng = rng_of(name)
        inputs = {"qkv": normal(rng, size * units, 3 * heads * width) if given is None else given}
        fixed = {} if visible is None else {"visible": numpy.float32(visible)}

        def compute(qkv, visible=None):
            q, k, v = qkv.reshape(size, units, 3, heads, width).permute(2, 0, 3, 1, 4)
            if visible is None:
                out = F.scaled_dot_product_attention(q, k, v)
            else:
                nothing = visible.sum(1) == 0
                # Where nothing is seen the answer is zero by our definition; softmax would divide by zero.
                safe = torch.where(nothing[:, None], torch.ones_like(visible), visible)
                out = F.scaled_dot_product_attention(q, k, v, safe[:, None, None, :] > 0)
                out = out * (~nothing)[:, None, None, None]
            return out.permute(0, 2, 1, 3).reshape(size * units, heads * width)

        options = {"size": size, "units": units, "heads": heads}
        case("attention", name, compute, inputs, options=options, fixed=fixed, cancels=cancels)

    add("one token, one head, width 1", 1, 1, 1, 1)
    add("one token", 3, 1, 2, 5)
    add("all visible", 2, 5, 2, 4)
    add("three heads of 7", 1, 5, 3, 7)
    add("a head of 33", 1, 3, 1, 33)
    add("a head of 64", 1, 2, 1, 64)
    add("17 tokens", 1, 17, 2, 3)
    ragged = [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]]
    add("some hidden", 4, 6, 2, 4, visible=ragged)
    add("a sequence with everything hidden", 3, 4, 2, 3, visible=[[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    add("nothing visible at all", 2, 3, 1, 4, visible=[[0, 0, 0], [0, 0, 0]])
    # Heads of 4: the scale is a power of two and the scores are exact in float32, up to about 1e4. Each query sees one
    # key, whose slope is a difference of two numbers of about 3, times a key of 100.
    large = whole(rng_of("attention large"), 2 * 5, 3 * 2 * 4, low=-100, high=100)
    large[:, 16:] = whole(rng_of("attention large values"), 2 * 5, 2 * 4, low=-2, high=2)
    sharp = {"given": large, "cancels": {"gradients": 150}}
    add("scores of 1e4", 2, 5, 2, 4, **sharp)
    add("scores of 1e4, some hidden", 2, 5, 2, 4, visible=[[1, 1, 0, 1, 1], [0, 0, 1, 0, 0]], **sharp)
    # The hidden token would win every row if it were seen. As a query it is sharp, as above.
    loud = normal(rng_of("attention loud"), 4, 3 * 4)
    loud[2, :] = 1000
    quiet = {"visible": [[1, 1, 0, 1]], "cancels": {"gradients": 500}}
    add("a hidden token that is loud", 1, 4, 1, 4, given=loud, **quiet)


def masked_softmax():
    def add(name, scores, scale=1.0, visible=None):
        fixed = {} if visible is None else {"visible": numpy.float32(visible)}

        def compute(scores, visible=None):
            if visible is None:
                return torch.softmax(scores * scale, -1)
            nothing = (visible.sum(1) == 0)[:, None]
            hidden = (visible == 0) & ~nothing
            return torch.softmax((scores * scale).masked_fill(hidden, -math.inf), -1) * ~nothing

        case("maskedSoftmax", name, compute, {"scores": scores}, options={"scale": scale}, fixed=fixed)

    for rows, columns in ((1, 1), (4, 1), (1, 7), (5, 33), (3, 65)):
        name = f"{rows} of {columns}"
        add(name, normal(rng_of("softmax" + name), rows, columns, scale=2))
    add("scaled", normal(rng_of("softmax scaled"), 4, 9, scale=2), scale=0.37)
    rng = rng_of("softmax masked")
    visible = (rng.random((6, 19)) < 0.6).astype(numpy.float32)
    visible[2] = 0
    visible[3] = 0
    visible[3, 11] = 1
    add("masked", normal(rng, 6, 19, scale=2), scale=0.5, visible=visible)
    add("everything hidden", normal(rng_of("softmax hidden"), 2, 5), visible=numpy.zeros((2, 5)))
    large = whole(rng_of("softmax large"), 3, 12, low=9985, high=10000)
    large[1] *= -1
    add("magnitude 1e4", large)
    wide = whole(rng_of("softmax wide"), 3, 12, low=-10000, high=10000)
    add("from -1e4 to 1e4", wide, scale=0.5, visible=[[1] * 12, [0, 1] * 6, [1] * 11 + [0]])


def softmax_cross_entropy():
    def add(name, logits, labels):
        compute = lambda logits, labels: F.cross_entropy(logits, labels)
        inputs = {"logits": logits}
        case("softmaxCrossEntropy", name, compute, inputs, fixed={"labels": labels}, cancels={"output": 1})

    for rows, classes in ((1, 1), (5, 1), (1, 7), (4, 33), (3, 65)):
        name = f"{rows} of {classes}"
        rng = rng_of("cross-entropy" + name)
        labels = rng.integers(0, classes, rows).astype(numpy.int32)
        add(name, normal(rng, rows, classes, scale=2), labels)
    rng = rng_of("cross-entropy large")
    labels = numpy.int32([0, 3, 10])
    add("near 1e4", whole(rng, 3, 11, low=9985, high=10000), labels)
    add("from -1e4 to 1e4", whole(rng, 3, 11, low=-10000, high=10000), labels)
    sure = numpy.zeros((2, 3), numpy.float32)
    sure[:, 1] = 200
    add("sure and right, sure and wrong", sure, numpy.int32([1, 2]))


def contrastive_losses():
    def info_nce(similarities):
        partners = torch.arange(len(similarities))
        return (F.cross_entropy(similarities, partners) + F.cross_entropy(similarities.T, partners)) / 2

    def sigmoid(similarities):
        signs = 2 * torch.eye(len(similarities), dtype=torch.float64) - 1
        return -F.logsigmoid(signs * similarities).sum() / len(similarities)

    def add(op, name, compute, similarities):
        case(op, name, compute, {"similarities": similarities}, cancels={"output": 1})

    for op, compute in (("infoNceLoss", info_nce), ("sigmoidLoss", sigmoid)):
        for size in (1, 2, 7, 17):
            rng = rng_of(f"{op} {size}")
            near = 3 * numpy.eye(size, dtype=numpy.float32)
            add(op, f"{size} pairs", compute, normal(rng, size, size, scale=3) + near)
        large = whole(rng_of(op + " large"), 9, 9, low=-10000, high=10000)
        add(op, "from -1e4 to 1e4", compute, large)
        capped = whole(rng_of(op + " capped"), 6, 6, low=-90, high=90) + 10 * numpy.eye(6, dtype=numpy.float32)
        add(op, "at the largest scale", compute, capped)


def products():
    def add(name, a, b, transpose_a, transpose_b):
        rng = rng_of("product" + name)
        options = {"transposeA": int(transpose_a), "transposeB": int(transpose_b)}

        def compute(a, b):
            return (a.T if transpose_a else a) @ (b.T if transpose_b else b)

        case("matMul", name, compute, {"a": normal(rng, *a), "b": normal(rng, *b)}, options=options)

    add("as they are", (3, 5), (5, 2), False, False)
    add("a transposed", (5, 3), (5, 2), True, False)
    add("b transposed", (3, 5), (2, 5), False, True)
    add("both transposed", (5, 3), (2, 5), True, True)
    add("inner", (1, 17), (17, 1), False, False)
    add("outer", (7, 1), (1, 9), False, False)


def rows_and_pools():
    def gather(name, rows, width, ids):
        ids = numpy.int32(ids)
        table = normal(rng_of("gather" + name), rows, width)
        case("gatherRows", name, lambda table, ids: table[ids], {"table": table}, fixed={"ids": ids})

    gather("one id", 1, 1, [0])
    gather("repeated ids", 6, 7, [5, 0, 5, 5, 2, 0])
    gather("a table of ids", 9, 5, [[8, 1, 1], [0, 8, 8]])
    gather("one id many times", 4, 33, [3] * 9)

    def slope_of_one(x):
        """The length of a single number has no slope: 1 / |x| less 1 / |x|."""
        return {"gradients": 3 / float(abs(x).min())}

    def normalise(name, x, epsilon=1e-12):
        compute = lambda x: x * torch.rsqrt((x * x).sum(1, keepdim=True) + epsilon)
        cancels = slope_of_one(x) if x.shape[1] == 1 else None
        case("l2Normalise", name, compute, {"x": x}, options={"epsilon": epsilon}, cancels=cancels)

    for rows, width in ((1, 1), (1, 7), (3, 33), (2, 65)):
        name = f"{rows} of width {width}"
        normalise(name, normal(rng_of("l2" + name), rows, width))
    normalise("magnitude 1e4", whole(rng_of("l2 large"), 3, 12, low=-10000, high=10000))
    small = rng_of("l2 small").normal(size=(3, 12)) * 1e-3
    normalise("magnitude 1e-3", numpy.round(small, 6).astype(numpy.float32))
    zeros = normal(rng_of("l2 zeros"), 3, 5)
    zeros[1] = 0
    # epsilon 1e-4: a row of zeros has the slope 1/√epsilon.
    normalise("a row of zeros", zeros, epsilon=1e-4)

    def prefix(name, rows, width, cut):
        compute = lambda x: x[:, :cut] * torch.rsqrt((x[:, :cut] ** 2).sum(1, keepdim=True) + 1e-12)
        x = normal(rng_of("prefix" + name), rows, width)
        options = {"cut": cut, "epsilon": 1e-12}
        cancels = slope_of_one(x[:, :1]) if cut == 1 else None
        case("unitPrefix", name, compute, {"x": x}, options=options, cancels=cancels)

    prefix("7 of 19", 3, 19, 7)
    prefix("1 of 2", 2, 2, 1)
    prefix("all 9", 2, 9, 9)

    def weigh(name, size, units, width, weights):
        x = normal(rng_of("weigh" + name), size * units, width)

        def compute(x, weights):
            return (x.reshape(size, units, width) * weights[:, :, None]).sum(1)

        case("weightedSum", name, compute, {"x": x}, fixed={"weights": numpy.float32(weights)})

    weigh("one of one", 1, 1, 1, [[0.5]])
    weigh("some of nothing", 3, 4, 9, [[0.25, -2, 0, 1.5], [0, 0, 0, 0], [1, 1, 1, 1]])

    def pool(name, size, units, width, weights, scale=1.0):
        x = normal(rng_of("pool" + name), size * units, width, scale=scale)

        def compute(x, weights):
            tokens = x.reshape(size, units, width) * weights[:, :, None]
            return tokens.sum(1) / weights.sum(1, keepdim=True).clamp(min=1)

        case("meanPool", name, compute, {"x": x}, fixed={"weights": numpy.float32(weights)})

    pool("one token", 1, 1, 1, [[1]])
    pool("all visible", 2, 5, 7, numpy.ones((2, 5)))
    pool("some hidden", 3, 4, 33, [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    pool("magnitude 1e4", 2, 9, 5, [[1] * 9, [1, 0, 0] * 3], scale=1e4)

    for op, compute in (("gelu", F.gelu), ("relu", torch.relu)):
        for rows, width in ((1, 1), (3, 33)):
            x = normal(rng_of(f"{op} {rows}"), rows, width, scale=2)
            case(op, f"{rows} of width {width}", compute, {"x": x})
        steps = numpy.float32([[-10000, -30, -6, -5.5, -4, -3, -1e-3, 0, 1e-3, 3, 4, 5.5, 6, 30, 10000]])
        case(op, "from -1e4 to 1e4", compute, {"x": steps})


# ---- the optimiser ----


def adam_w():
    """torch.optim.AdamW on float64: decay for parameters of rank ≥ 2 only, gradients scaled beforehand."""
    documents = []
    for name, betas, epsilon, decay, magnitude in (
        ("usual", (0.9, 0.999), 1e-8, 0.05, 1.0),
        ("no decay, short memory", (0.5, 0.9), 1e-8, 0.0, 1.0),
        ("large epsilon", (0.9, 0.99), 0.1, 3.0, 1.0),
        ("gradients of 1e4", (0.9, 0.999), 1e-8, 0.01, 1e4),
        ("gradients of 1e-5", (0.9, 0.999), 1e-8, 0.01, 1e-5),
    ):
        rng = rng_of("adam " + name)
        shapes = {"scalar": [], "bias": [7], "weight": [3, 5], "kernel": [2, 1, 3], "one": [1, 1]}
        start = {k: normal(rng, *s) for k, s in shapes.items()}
        held = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in start.items()}
        flat = [p for p in held.values() if p.dim() < 2]
        deep = [p for p in held.values() if p.dim() >= 2]
        optimizer = torch.optim.AdamW(
            [{"params": flat, "weight_decay": 0.0}, {"params": deep, "weight_decay": decay}],
            betas=betas,
            eps=epsilon,
        )
        steps = []
        for learning_rate, gradient_scale in ((1e-3, 1.0), (0.01, 0.5), (0.1, 0.125), (0.02, 1.0)):
            gradients = {k: normal(rng, *s) * numpy.float32(magnitude) for k, s in shapes.items()}
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            for k, p in held.items():
                p.grad = torch.tensor(gradients[k], dtype=torch.float64) * gradient_scale
            optimizer.step()
            steps.append(
                {
                    "learningRate": learning_rate,
                    "gradientScale": gradient_scale,
                    "gradients": {k: packed(v) for k, v in gradients.items()},
                }
            )
        state = {k: optimizer.state[p] for k, p in held.items()}
        documents.append(
            {
                "name": name,
                "betas": betas,
                "epsilon": epsilon,
                "weightDecay": decay,
                "start": {k: packed(v) for k, v in start.items()},
                "steps": steps,
                "weights": {k: packed(v.detach().numpy()) for k, v in held.items()},
                "moments": {k: packed(s["exp_avg"].numpy()) for k, s in state.items()},
                "squares": {k: packed(s["exp_avg_sq"].numpy()) for k, s in state.items()},
            }
        )
    return documents


def average():
    """A moving average of weights whose memory is short at first: decay min(d, (1 + n) / (10 + n)) at update n."""
    documents = []
    for name, decay, updates in (("short", 0.999, 5), ("at its decay", 0.3, 6)):
        rng = rng_of("average " + name)
        shapes = {"weight": [3, 7], "bias": [5], "scalar": []}
        start = {k: normal(rng, *s) for k, s in shapes.items()}
        held = {k: torch.tensor(v, dtype=torch.float64) for k, v in start.items()}
        weights = []
        for n in range(1, updates + 1):
            given = {k: normal(rng, *s) for k, s in shapes.items()}
            keep = min(decay, (1 + n) / (10 + n))
            for k, v in held.items():
                v.lerp_(torch.tensor(given[k], dtype=torch.float64), 1 - keep)
            weights.append({k: packed(v) for k, v in given.items()})
        documents.append(
            {
                "name": name,
                "decay": decay,
                "start": {k: packed(v) for k, v in start.items()},
                "weights": weights,
                "averages": {k: packed(v.numpy()) for k, v in held.items()},
            }
        )
    return documents


torch.set_num_threads(1)  # sums in one order, on every machine
layer_norm()
linear()
attention()
masked_softmax()
softmax_cross_entropy()
contrastive_losses()
products()
rows_and_pools()
document = {
    "madeBy": f"torch {torch.__version__.split('+')[0]}, numpy {numpy.__version__}",
    "cases": CASES,
    "adamW": adam_w(),
    "average": average(),
}
path = pathlib.Path(__file__).with_name("ops.json")
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
print(len(CASES), "cases,", path.stat().st_size, "bytes")
