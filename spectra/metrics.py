"""The table of metrics: name, formula, unit, range, source. Columns, `spectra explain` and the docs come from here.

Throughout: W (rows, cols), M = min, N = max; s_1 >= ... >= s_M singular values; lambda_i = s_i^2 eigenvalues of the
smaller Gram matrix, **not divided by anything** (other tools report lambda/N, squared norms, or natural logarithms).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from spectra.errors import SpectraError

Kind = Literal["float", "int", "str", "bool"]

_MARTIN = "Martin, Peng and Mahoney 2021, Nature Communications 12:4122"
_CLAUSET = "Clauset, Shalizi and Newman 2009, SIAM Review 51:661"
_PLASTICITY = "Weight Decay Improves Language Model Plasticity, eq. 4"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One column. `null`: reported beside a random matrix of the same shape. `unit`: dimension in units of the weights."""

    name: str
    title: str
    formula: str
    unit: str
    range: str
    source: str
    kind: Kind = "float"
    null: bool = False
    caution: str = ""


def _fit(name: str, title: str, formula: str, source: str, caution: str) -> list[Metric]:
    base = f"alpha_{name}"
    return [
        Metric(
            name=base, title=f"alpha ({title})", formula=formula, unit="1", range="> 1", source=source, null=True,
            caution=caution,
        ),
        Metric(
            name=f"{base}_stderr", title=f"standard error of alpha ({title})", formula="(alpha - 1) / sqrt(tail_size)",
            unit="1", range="> 0", source=_CLAUSET + ", eq. 3.2",
            caution="Assumes independent eigenvalues and the right xmin; eigenvalues repel each other, so it is a scale, "
            "not a confidence level.",
        ),
        Metric(
            name=f"{base}_xmin", title=f"tail begins at ({title})", formula="smallest eigenvalue of the fitted tail"
            if name != "hill" else "lambda_(M-k), the eigenvalue the log-ratios are taken to", unit="weight^2",
            range="> 0", source=source,
        ),
        Metric(
            name=f"{base}_tail_size", title=f"tail size ({title})", formula="number of eigenvalues in the tail",
            unit="eigenvalues", range="0..M", source=source, kind="int",
        ),
        Metric(
            name=f"{base}_ks", title=f"KS distance D ({title})",
            formula="max_j |1 - (x_j/xmin)^(1-alpha) - j/m|, j = 0..m-1 over the ascending tail (left grid)", unit="1",
            range="0..1", source=_CLAUSET + ", eq. 3.9; left grid as in powerlaw and WeightWatcher",
            caution="Small D does not show that the tail is a power law; see --uncertainty.",
        ),
        Metric(
            name=f"{base}_status", title=f"status of the fit ({title})",
            formula="ok, too_few_eigenvalues (M < 8), no_tail, degenerate (zero, constant, rank below the tail), non_finite, "
            "not_requested", unit="", range="", source="docs/methods.md", kind="str",
        ),
        Metric(
            name=f"{base}_small_tail", title=f"tail under 50 ({title})", formula="tail_size < 50", unit="",
            range="true/false", source=_CLAUSET + ", sec. 3.1", kind="bool",
        ),
    ]  # fmt: skip


FIT_METRICS: tuple[Metric, ...] = (
    *_fit(
        "hill", "Hill, upper half",
        "1 + k / sum_{i=1..k} ln(lambda_(M-i+1) / lambda_(M-k)), ascending, k = floor(M/2)", "AlphaDecay, eq. 2",
        "The upper half is mostly bulk: the value depends strongly on the aspect ratio (2.1 to 4.5 for random matrices). "
        "Compare with its null, never across shapes.",
    ),
    *_fit(
        "gof", "goodness-of-fit",
        "1 + m / sum_{j>=i} ln(x_j/x_i) at the xmin = x_i whose tail has the least KS distance D", _CLAUSET + ", sec. 3.3",
        "xmin is chosen from noisy distances: nearby matrices can pick very different tails. A tail under 50 is flagged. "
        "Of random matrices its values scatter widely: its z is rough.",
    ),
    *_fit(
        "fix_finger", "fix-finger",
        "goodness-of-fit with xmin in [0.95 c, 1.5 c], c = left edge of the highest of 100 bins of log10 lambda",
        "WeightWatcher fix_fingers='xmin_peak', AlphaPruning; as meant (the public codes compare log10(0.95 c) with xmin)",
        "The histogram starts at the smallest eigenvalue, so it feels quantisation noise and needs float64.",
    ),
)  # fmt: skip

SHAPE_METRICS: tuple[Metric, ...] = (
    Metric(name="frobenius_norm", title="Frobenius norm", formula="sqrt(sum lambda)", unit="weight", range=">= 0",
           source="textbook", caution="Not squared."),
    Metric(name="spectral_norm", title="spectral norm", formula="s_1 = sqrt(lambda_max)", unit="weight", range=">= 0",
           source="textbook", null=True, caution="Not squared."),
    Metric(name="nuclear_norm", title="nuclear norm", formula="sum s_i", unit="weight", range=">= 0", source="textbook",
           null=True),
    Metric(name="stable_rank", title="stable rank", formula="sum lambda / lambda_max", unit="1", range="1..M",
           source="Rudelson and Vershynin 2007", null=True,
           caution="Moved by the single largest eigenvalue."),
    Metric(name="effective_rank", title="effective rank", formula="exp(-sum p ln p), p = s / sum s", unit="1",
           range="1..M", source="Roy and Vetterli 2007", null=True,
           caution="Of singular values; with eigenvalues it is spectral_entropy_rank. Never mix."),
    Metric(name="spectral_entropy_rank", title="spectral entropy rank", formula="exp(-sum p ln p), p = lambda / sum lambda",
           unit="1", range="1..M", source="entropy of the normalised eigenvalues", null=True),
    Metric(name="numerical_rank", title="numerical rank",
           formula="#{s_i > max(u ||W||_F/sqrt(MN) (sqrt M + sqrt N), sqrt(eps64) s_1)}, u = unit roundoff of the stored dtype "
           "(2^-b for a b-bit quantised type)", unit="1", range="0..M", source="docs/methods.md", kind="int",
           caution="Eigenvalues under 4 sqrt(M) eps64 lambda_max are rounding of the Gram matrix and never count, so directions "
           "below about 2 M^(1/4) 1.5e-8 s_1 cannot be seen. A low-rank matrix rounded to bfloat16 is full-rank at float64's "
           "epsilon; this cutoff knows."),
    Metric(name="pseudo_rank", title="pseudo-rank",
           formula="k/M, k least with s_1 + ... + s_k >= 0.95 sum s", unit="1", range="0..1", source=_PLASTICITY, null=True,
           caution="Of singular values, not their squares. 0.95 of the sum, so about 0.8 for a random square matrix."),
    Metric(name="alpha_weighted", title="weighted alpha", formula="alpha_gof log10(lambda_max)", unit="1", range="real",
           source=_MARTIN, null=True, caution="Depends on the scale of the weights; its sign flips at lambda_max = 1."),
    Metric(name="log_alpha_norm", title="log alpha-norm", formula="log10 sum lambda^alpha_gof", unit="1", range="real",
           source=_MARTIN, null=True, caution="Depends on the scale of the weights."),
    Metric(name="mp_sigma", title="bulk standard deviation",
           formula="sqrt(median(lambda) / (N median of Marchenko-Pastur at M/N))", unit="weight", range="> 0",
           source="median matching (Gavish and Donoho 2014)",
           caution="Means something only where the median eigenvalue belongs to a random bulk."),
    Metric(name="mp_bulk_edge", title="bulk edge", formula="sigma^2 (sqrt N + sqrt M)^2", unit="weight^2", range="> 0",
           source="Marchenko and Pastur 1967"),
    Metric(name="tw_threshold", title="Tracy-Widom threshold",
           formula="mu + 2.0234 s, mu = sigma^2 (sqrt(N-1) + sqrt M)^2, s = sigma^2 (sqrt(N-1) + sqrt M)"
           "(1/sqrt(N-1) + 1/sqrt M)^(1/3)", unit="weight^2", range="> 0", source="Johnstone 2001; 99% point of TW1"),
    Metric(name="n_spikes", title="spikes", formula="#{lambda_i > Tracy-Widom threshold}", unit="1", range="0..M",
           source="Johnstone 2001", kind="int", null=True,
           caution="The threshold is asymptotic and sigma is estimated: pure noise shows a spike in 1.3% (576 x 576) to 7% (8 x 8) "
           "of matrices, see the null. In a trained matrix the bulk is rarely Marchenko-Pastur; many spikes mean 'not random', "
           "not 'many signals'."),
)  # fmt: skip

ALTERNATIVES: tuple[str, ...] = ("exponential", "lognormal", "truncated_power_law")


def _uncertainty() -> tuple[Metric, ...]:
    metrics = []
    for other in ALTERNATIVES:
        metrics += [
            Metric(
                name=f"lr_{other}", title=f"likelihood ratio, power law against {other.replace('_', ' ')}",
                formula="sum ln p_powerlaw(x) - sum ln p_other(x) over the goodness-of-fit tail", unit="nats", range="real",
                source=_CLAUSET + ", sec. 5; computed by powerlaw 2",
                caution="Positive favours the power law; says nothing unless its p is small.",
            ),
            Metric(
                name=f"lr_{other}_p", title=f"p-value of the likelihood ratio against {other.replace('_', ' ')}",
                formula="Vuong's test; for the truncated power law, which contains the power law, chi-square",
                unit="1", range="0..1", source="Vuong 1989, through powerlaw 2",
            ),
        ]  # fmt: skip
    metrics += [
        Metric(
            name="bootstrap_p", title="bootstrap p-value of the power law",
            formula="share of semi-parametric replicas, xmin chosen anew in each, whose D is at least the measured D",
            unit="1", range="0..1", source=_CLAUSET + ", sec. 4.1",
            caution="Small p: not a power law. Large p: not excluded, which for a short tail says little.",
        ),
        Metric(
            name="bootstrap_replicas", title="bootstrap replicas", formula="number of replicas behind bootstrap_p",
            unit="replicas", range=">= 1", source=_CLAUSET + ", sec. 4.1", kind="int",
        ),
    ]  # fmt: skip
    return tuple(metrics)


UNCERTAINTY_METRICS: tuple[Metric, ...] = _uncertainty()
MATRIX_METRICS: tuple[Metric, ...] = (*FIT_METRICS, *SHAPE_METRICS)

_WW = "WeightWatcher 0.7.7, analyze()"

# Only with --profile weightwatcher-0.7.7: its columns that have no counterpart above.
WEIGHTWATCHER_METRICS: tuple[Metric, ...] = (
    Metric(name="ww_norm", title="WeightWatcher's norm", formula="sum lambda = ||W||_F^2", unit="weight^2", range=">= 0",
           source=_WW, caution="A square, which its name does not say; frobenius_norm is its root."),
    Metric(name="ww_log_norm", title="WeightWatcher's log_norm", formula="log10 sum lambda", unit="1", range="real", source=_WW),
    Metric(name="ww_spectral_norm", title="WeightWatcher's spectral_norm, lambda_max and xmax", formula="lambda_max",
           unit="weight^2", range=">= 0", source=_WW,
           caution="A square, which its name does not say; spectral_norm is its root (WeightWatcher's sv_max)."),
    Metric(name="ww_log_spectral_norm", title="WeightWatcher's log_spectral_norm", formula="log10 lambda_max", unit="1",
           range="real", source=_WW),
    Metric(name="ww_matrix_rank", title="WeightWatcher's matrix_rank", formula="#{s_i > s_1 N eps64}", unit="1", range="0..M",
           source=_WW, kind="int",
           caution="It counts from a float64 SVD; here eigenvalues under 4 sqrt(M) eps64 lambda_max are zero, so a singular value "
           "under about 1e-7 s_1 counts there and not here."),
    Metric(name="ww_rank_loss", title="WeightWatcher's rank_loss", formula="M - ww_matrix_rank", unit="1", range="0..M",
           source=_WW, kind="int", caution="As ww_matrix_rank."),
    Metric(name="ww_weak_rank_loss", title="WeightWatcher's weak_rank_loss", formula="#{lambda_i < 1e-6}", unit="1",
           range="0..M", source=_WW, kind="int", caution="An absolute threshold: depends on the scale of the weights."),
    Metric(name="ww_entropy", title="WeightWatcher's entropy",
           formula="-sum p ln p / ln(ww_matrix_rank + 1e-10), p = lambda/sum lambda + 1e-10", unit="1", range="0..1", source=_WW),
    Metric(name="ww_warning", title="WeightWatcher's warning",
           formula="over-trained (alpha_gof < 2), under-trained (> 6), else empty", unit="", range="", source=_WW, kind="str",
           caution="Thresholds on a bare exponent; a random matrix can get either."),
)  # fmt: skip

CIRCUIT_METRICS: tuple[Metric, ...] = (
    Metric(name="pseudo_rank", title="pseudo-rank of the circuit",
           formula="k/n, k least with s_1 + ... + s_k >= 0.95 sum s; n = d_head (per_head) or d_model (summed)", unit="1",
           range="0..1", source=_PLASTICITY, null=True,
           caution="Three conventions give three numbers (random, d = 2048, d_head = 128: 0.930, 0.665, 0.058); compare only "
           "within one."),
    Metric(name="pseudo_rank_d_model", title="pseudo-rank over d_model", formula="k / d_model, same k", unit="1",
           range="0..1", source=_PLASTICITY, null=True),
    Metric(name="effective_rank", title="effective rank of the circuit", formula="exp(-sum p ln p), p = s / sum s", unit="1",
           range="1..d_head", source="Roy and Vetterli 2007", null=True),
    Metric(name="spectral_norm", title="spectral norm of the circuit", formula="s_1", unit="weight^2", range=">= 0",
           source="textbook", null=True),
    Metric(name="frobenius_norm", title="Frobenius norm of the circuit", formula="sqrt(sum s^2)", unit="weight^2",
           range=">= 0", source="textbook", null=True),
)  # fmt: skip


UPDATE_METRICS: tuple[Metric, ...] = (
    Metric(name="update_rank", title="rank of the update",
           formula="#{s_i(D) > u max(||A||_F, ||B||_F) sqrt(2/(rows cols)) (sqrt rows + sqrt cols)}, D = B - A, u = the coarser "
           "unit roundoff of A and B", unit="1", range="0..M", source="docs/methods.md", kind="int",
           caution="Rounding A and B to their stored dtype changes every entry; those below what it leaves do not count."),
    Metric(name="update_rank_share", title="rank of the update over M", formula="update_rank / M", unit="1", range="0..1",
           source="docs/methods.md", caution="A merged adapter of rank r gives at most r / M."),
    Metric(name="update_relative_norm", title="relative norm of the update", formula="||B - A||_F / ||A||_F", unit="1",
           range=">= 0", source="textbook", caution="sqrt(2) for two unrelated matrices of equal norm."),
    Metric(name="update_overlap", title="overlap of the top subspaces of A and B",
           formula="||U_A^T U_B||_F^2 / k, U the k = min(16, M/2) top singular directions on the short side", unit="1",
           range="0..1", source="docs/methods.md", caution="1: the same span; about k/M for unrelated matrices."),
)  # fmt: skip


def lookup(name: str) -> list[Metric]:
    """The metrics of a name: of matrices, and of circuits where those have one of the same name.

    Raises:
        SpectraError: there is none; names the nearest.
    """
    groups = (*MATRIX_METRICS, *UNCERTAINTY_METRICS, *WEIGHTWATCHER_METRICS, *CIRCUIT_METRICS, *UPDATE_METRICS)
    found = [metric for metric in groups if metric.name == name.replace("-", "_")]
    if not found:
        names = list(dict.fromkeys(metric.name for metric in groups))
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise SpectraError(f"Unknown metric {name!r}. {hint}`spectra explain` lists all of them.")
    return found


BY_NAME: dict[str, Metric] = {m.name: m for m in (*MATRIX_METRICS, *UNCERTAINTY_METRICS, *WEIGHTWATCHER_METRICS)}
