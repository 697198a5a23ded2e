"""Statistics of the suite, re-exported. Each file has one subject; all are pure functions of numbers, seeded where they draw.

Every result says its `method` and a `status`: `ok`, or a code with a sentence in `why` where something cannot be given. Small or
constant data are a status, never an error; input that cannot be paired is a `SpectraError`. Source: docs/methods, "Statistics".
"""

from __future__ import annotations

from plasticity.stats_best import BestSetting, BestSettings, best_settings
from plasticity.stats_correlation import Correlation, kendall, pearson, spearman
from plasticity.stats_optimum import Optimum, optimum
from plasticity.stats_paired import (
    Holm,
    McNemar,
    PairedDifference,
    SeedDifference,
    holm_over_tasks,
    mcnemar,
    paired_bootstrap,
    paired_seeds,
)
from plasticity.stats_proportion import proportion_interval
from plasticity.stats_ranking import Agreement, agreement
from plasticity.stats_result import Estimate
from plasticity.stats_shared import SharedDifference, shared_difference
from plasticity.stats_tasks import TaskMean, TradeOff, difference_over_tasks, mean_over_tasks, tradeoff

__all__ = [
    "Agreement",
    "BestSetting",
    "BestSettings",
    "Correlation",
    "Estimate",
    "Holm",
    "McNemar",
    "Optimum",
    "PairedDifference",
    "SeedDifference",
    "SharedDifference",
    "TaskMean",
    "TradeOff",
    "agreement",
    "best_settings",
    "difference_over_tasks",
    "holm_over_tasks",
    "kendall",
    "mcnemar",
    "mean_over_tasks",
    "optimum",
    "paired_bootstrap",
    "paired_seeds",
    "pearson",
    "proportion_interval",
    "shared_difference",
    "spearman",
    "tradeoff",
]
