"""How far a fitted power law can be believed: alternatives (powerlaw 2) and Clauset's bootstrap. On request: seconds a matrix."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spectra import tails
from spectra.metrics import ALTERNATIVES, UNCERTAINTY_METRICS
from spectra.options import AnalysisOptions
from spectra.panel import FitOptions, Value

Floats = NDArray[np.float64]

# powerlaw changes Python's warning filters, which belong to the whole process.
_POWERLAW = threading.Lock()


def uncertainty_columns(
    name: str, eigenvalues: Floats, values: Mapping[str, Value], options: AnalysisOptions
) -> dict[str, Value]:
    """The columns of `metrics.UNCERTAINTY_METRICS` for the goodness-of-fit tail; None where there is no such fit.

    Args:
        name: of the matrix; with `options.seed` it seeds the bootstrap, so that order and workers do not matter.
        eigenvalues: (M,), ascending, zeros included.
        values: the row's columns, `alpha_gof` and its companions among them.
    """
    made: dict[str, Value] = dict.fromkeys(m.name for m in UNCERTAINTY_METRICS)
    xmin, alpha, ks = (values.get(f"alpha_gof{part}") for part in ("_xmin", "", "_ks"))
    if not (isinstance(xmin, float) and isinstance(alpha, float) and isinstance(ks, float)):
        return made
    positive: Floats = eigenvalues[eigenvalues > 0]
    made |= likelihood_ratios(positive, xmin)
    digest = hashlib.sha256(name.encode()).digest()
    rng = np.random.default_rng([options.seed, int.from_bytes(digest[:8], "big")])
    made["bootstrap_p"] = bootstrap_p(positive, (alpha, xmin, ks), options.bootstrap, rng, options.fit)
    made["bootstrap_replicas"] = options.bootstrap
    return made


def likelihood_ratios(positive: Floats, xmin: float) -> dict[str, Value]:
    """ln L(power law) - ln L(alternative) over the tail and its p-value, for each alternative; None where a fit fails.

    Vuong's test; for the truncated power law, in which the power law is nested, a chi-square test. powerlaw bounds alpha
    to [0, 3] unless told otherwise. Source: Clauset et al. 2009, sec. 5.
    """
    import powerlaw

    made: dict[str, Value] = {}
    with _POWERLAW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(positive, xmin=xmin, parameter_ranges={"alpha": [1, None]}, verbose=False)
        for other in ALTERNATIVES:
            try:
                ratio, p = fit.distribution_compare("power_law", other, nested=other == "truncated_power_law" or None)
            except (ValueError, ArithmeticError, RuntimeError):
                ratio = p = float("nan")
            made[f"lr_{other}"] = float(ratio) if np.isfinite(ratio) else None
            made[f"lr_{other}_p"] = float(p) if np.isfinite(p) else None
    return made


def bootstrap_p(
    positive: Floats, fitted: tuple[float, float, float], replicas: int, rng: np.random.Generator, fit: FitOptions
) -> float:
    """Share of semi-parametric replicas whose own best D is at least the measured one.

    A replica draws each of the n values from the fitted power law with probability m/n, else from the values below xmin, and is
    then fitted anew, xmin included (Clauset et al. 2009, sec. 4.1). Its standard error is sqrt(p (1 - p) / replicas).

    Args:
        positive: (n,), ascending, > 0.
        fitted: alpha, xmin and D of the goodness-of-fit tail.
    """
    alpha, xmin, distance = fitted
    body = positive[positive < xmin]
    share = 1.0 - body.size / positive.size
    worse = 0
    for _ in range(replicas):
        tail_size = int(rng.binomial(positive.size, share)) if body.size else positive.size
        tail = xmin * (1.0 - rng.random(tail_size)) ** (-1.0 / (alpha - 1.0))
        below = rng.choice(body, positive.size - tail_size) if body.size else body
        replica = tails.goodness_of_fit(
            np.sort(np.concatenate([below, tail])),
            min_eigenvalues=fit.min_eigenvalues,
            min_tail=fit.min_tail,
            two_sided=fit.two_sided,
        )
        worse += replica.status == "ok" and replica.ks >= distance
    return worse / replicas
