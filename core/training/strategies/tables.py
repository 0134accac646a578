"""Tables to learn from: handwritten digits and two-dimensional toys, and how rows are split and labels disturbed.

Promises: the same arguments give the same rows on every machine. Each function stands on its own, for the script.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def digits() -> tuple[Any, Any]:
    """scikit-learn's 1,797 handwritten digits: (rows, 64) float32 in 0..1, and the digit of each."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16.0).astype("float32"), labels.astype("int64")


def toy(name: str, count: int, noise: float, seed: int) -> tuple[Any, Any]:
    """Points of two classes in the plane: (count, 2) float32 and 0 or 1. ``noise`` is a standard deviation."""
    from sklearn import datasets  # type: ignore[import-untyped]

    if name == "moons":
        points, labels = datasets.make_moons(count, noise=noise, random_state=seed)
    elif name == "circles":
        points, labels = datasets.make_circles(count, noise=noise, factor=0.45, random_state=seed)
    elif name == "blobs":
        centers = np.array([[-1.0, -0.6], [1.0, 0.6]])
        points, labels = datasets.make_blobs(count, centers=centers, cluster_std=0.3 + noise, random_state=seed)
    else:  # xor: the class is whether the signs differ
        random = np.random.default_rng(seed)
        clean = random.uniform(-1, 1, (count, 2))
        labels = (clean[:, 0] > 0) ^ (clean[:, 1] > 0)
        points = clean + random.normal(0, max(noise, 1e-9), (count, 2))
    return points.astype("float32"), labels.astype("int64")


def split(labels: Any, train: int, validation: int, test: int, seed: int) -> tuple[Any, Any, Any]:
    """Row numbers for training, validation and test, each with the labels in the whole's proportions."""
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    rows = np.arange(len(labels))
    rest, tested = train_test_split(rows, test_size=test, stratify=labels, random_state=seed)
    rest, validated = train_test_split(rest, test_size=validation, stratify=labels[rest], random_state=seed)
    return rest[:train], validated, tested


def disturbed(labels: Any, share: float, classes: int, seed: int) -> Any:
    """The labels with this share of them replaced by another class each."""
    random = np.random.default_rng(seed + 1)
    changed = random.choice(len(labels), size=round(share * len(labels)), replace=False)
    labels = labels.copy()
    labels[changed] = (labels[changed] + random.integers(1, classes, len(changed))) % classes
    return labels
