"""A linear probe: standardised multinomial logistic regression by scikit-learn, its strength chosen on a validation split. Pure.

Mean and standard deviation are those of the training split alone. The probe of the chosen C is not refitted on training and
validation texts together. n = texts, D = width, K = classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]
OK, NOT_CONVERGED = "ok", "not_converged"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Embeddings (n, D) and classes (n,)."""

    x: Floats
    y: Ints


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One probe.

    Attributes:
        c: inverse regularisation strength, of the grid.
        train_accuracy, validation_accuracy, test_accuracy: shares of texts, in [0, 1].
        status: `ok`, or `not_converged`: the solver stopped before its tolerance; the accuracies are those of where it stopped.
        iterations: steps of the solver.
        not_converged: how many probes of the whole grid did not converge.
        right: which test texts are classified rightly, (n,).
    """

    c: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    status: str
    iterations: int
    not_converged: int
    right: NDArray[np.bool_]


def fit(train: Labelled, validation: Labelled, test: Labelled, grid: Sequence[float], max_iter: int) -> Fit:
    """Fit a probe for every C and keep that of the highest validation accuracy; of equal ones that of the smallest C."""
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    scaler = StandardScaler().fit(np.asarray(train.x, dtype=np.float64))
    x, inside, outside = (scaler.transform(np.asarray(part.x, dtype=np.float64)) for part in (train, validation, test))
    best: tuple[float, float, Any, str] | None = None
    failed = 0
    for c in sorted(grid):
        model, status = _regression(x, train.y, c, max_iter)
        failed += status != OK
        accuracy = float(np.mean(model.predict(inside) == validation.y))
        if best is None or accuracy > best[0]:
            best = (accuracy, c, model, status)
    assert best is not None
    accuracy, c, model, status = best
    right = np.asarray(model.predict(outside) == test.y)
    return Fit(
        c=c, train_accuracy=float(np.mean(model.predict(x) == train.y)), validation_accuracy=accuracy,
        test_accuracy=float(right.mean()), status=status, iterations=int(model.n_iter_[0]), not_converged=failed, right=right,
    )  # fmt: skip


def _regression(x: Floats, y: Ints, c: float, max_iter: int) -> tuple[Any, str]:
    """A fitted regression, and whether the solver said that it ended; other warnings go their way."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = LogisticRegression(C=c, max_iter=max_iter).fit(x, y)
    late = [w for w in heard if issubclass(w.category, ConvergenceWarning)]
    for other in heard:
        if not issubclass(other.category, ConvergenceWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return model, NOT_CONVERGED if late else OK
