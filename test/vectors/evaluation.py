"""Writes evaluation.json: what NumPy and scikit-learn answer on small data, for test/bench/quality.

In a throw-away environment:
    python3 -m venv VENV && VENV/bin/pip install numpy==2.4.6 scikit-learn==1.9.1
    VENV/bin/python test/vectors/evaluation.py
"""

import json
import pathlib

import numpy
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

rng = numpy.random.default_rng(3)


def rounded(array, digits=12):
    return numpy.round(numpy.asarray(array, dtype=float), digits).tolist()


def probe():
    """Correlated features of very different scale, four classes, one feature constant in training."""
    count, dimension, classes = 90, 7, 4
    labels = rng.integers(0, classes, count)
    centres = rng.normal(size=(classes, dimension))
    mixing = rng.normal(size=(dimension, dimension))
    x = (centres[labels] + 1.2 * rng.normal(size=(count, dimension))) @ mixing
    x = x * 10.0 ** numpy.arange(-3, 4) + 5
    x[:, 2] = 1.5
    x = numpy.float32(x)
    train, test = slice(0, 60), slice(60, None)
    scaler = StandardScaler().fit(x[train].astype(float))
    model = LogisticRegression(C=0.01, tol=1e-10, max_iter=10000)
    model.fit(scaler.transform(x[train].astype(float)), labels[train])
    plain = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000)
    y = numpy.float32(rng.normal(size=(40, 5)))
    y_labels = rng.integers(0, 3, 40)
    plain.fit(y.astype(float), y_labels)
    return {
        "train": x[train].tolist(),
        "trainLabels": labels[train].tolist(),
        "test": x[test].tolist(),
        "testLabels": labels[test].tolist(),
        "accuracy": float(model.score(scaler.transform(x[test].astype(float)), labels[test])),
        "sparse": sparse_probe(),
        "plain": {
            "rows": y.tolist(),
            "labels": y_labels.tolist(),
            "weights": rounded(plain.coef_, 9),
            "biases": rounded(plain.intercept_ - plain.intercept_.mean(), 9),
        },
    }


def sparse_probe():
    """Counts of words, most of them zero; one word never occurs in training."""
    count, dimension = 80, 30
    labels = rng.integers(0, 3, count)
    rates = 0.25 * rng.random((3, dimension)) ** 2
    x = rng.poisson(rates[labels]).astype(float)
    x[:60, 4] = 0
    scaler = StandardScaler(with_mean=False).fit(x[:60])
    model = LogisticRegression(C=0.01, tol=1e-10, max_iter=10000)
    model.fit(scaler.transform(x[:60]), labels[:60])
    # scikit-learn leaves a feature without variance as it is; we drop it. Its weight is 0 either way.
    return {
        "rows": x.astype(int).tolist(),
        "labels": labels.tolist(),
        "trainCount": 60,
        "accuracy": float(model.score(scaler.transform(x[60:]), labels[60:])),
    }


def eigen():
    a = rng.normal(size=(12, 12))
    a = a + a.T
    # Repeated eigenvalues and exact zeros are where solvers go wrong.
    q, _ = numpy.linalg.qr(rng.normal(size=(9, 9)))
    b = q @ numpy.diag([4, 4, 4, 1, 1, 0, 0, 0, -2]) @ q.T
    b = (b + b.T) / 2
    return [
        {"matrix": m.ravel().tolist(), "values": rounded(numpy.linalg.eigvalsh(m)[::-1])}
        for m in (a, b)
    ]


def spectrum():
    z = rng.normal(size=(50, 8)) @ numpy.diag([3, 2, 1, 1, 0.5, 0.1, 0.05, 0.01])
    z = z / numpy.linalg.norm(z, axis=1, keepdims=True)
    z = numpy.float32(z)
    groups = [str(i // 2) for i in range(50)]
    d = z.astype(float)
    singular = numpy.linalg.svd(d, compute_uv=False)
    p = singular / singular.sum()
    squared = ((d[:, None] - d[None]) ** 2).sum(-1)
    upper = squared[numpy.triu_indices(50, 1)]
    return {
        "rows": z.tolist(),
        "groups": groups,
        "effectiveRank": float(numpy.exp(-(p * numpy.log(p)).sum())),
        "deviations": rounded(numpy.sort(d.std(axis=0))),
        "alignment": float(squared[numpy.arange(0, 50, 2), numpy.arange(1, 50, 2)].mean()),
        "uniformity": float(numpy.log(numpy.exp(-2 * upper).mean())),
    }


def neighbours():
    """Vote of the 20 nearest with weight exp(cosine / 0.07), written without any library's k-NN."""
    train = rng.normal(size=(80, 6))
    labels = rng.integers(0, 5, 80)
    train += 0.8 * numpy.eye(6)[labels]
    test = rng.normal(size=(40, 6))
    test_labels = rng.integers(0, 5, 40)
    test += 0.8 * numpy.eye(6)[test_labels]
    unit = lambda m: numpy.float32(m / numpy.linalg.norm(m, axis=1, keepdims=True))
    train, test = unit(train), unit(test)
    similarity = test.astype(float) @ train.astype(float).T
    right = 0
    for row, label in zip(similarity, test_labels):
        votes = numpy.zeros(5)
        for j in numpy.argsort(-row)[:20]:
            votes[labels[j]] += numpy.exp(row[j] / 0.07)
        right += int(votes.argmax() == label)
    return {
        "train": train.tolist(),
        "trainLabels": labels.tolist(),
        "test": test.tolist(),
        "testLabels": test_labels.tolist(),
        "accuracy": right / len(test_labels),
    }


def tfidf():
    train = [
        "a small domesticated feline mammal",
        "a small natural stream; smaller than a river",
        "the act of walking, of walking slowly",
        "Any of numerous small RODENTS typically resembling diminutive rats",
        "état d'esprit naïve_word x2",
    ]
    test = ["a small act of walking", "unseen wörds only", "rats resembling rats", ""]
    model = TfidfVectorizer(ngram_range=(1, 2)).fit(train)
    return {
        "train": train,
        "test": test,
        "terms": sorted(model.vocabulary_),
        "trainCosines": rounded((model.transform(train) @ model.transform(train).T).toarray()),
        "testCosines": rounded((model.transform(test) @ model.transform(train).T).toarray()),
    }


document = {
    "madeBy": f"numpy {numpy.__version__}, scikit-learn {sklearn.__version__}",
    "probe": probe(),
    "eigen": eigen(),
    "spectrum": spectrum(),
    "neighbours": neighbours(),
    "tfidf": tfidf(),
}
path = pathlib.Path(__file__).with_name("evaluation.json")
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
print(path.stat().st_size, "bytes")
