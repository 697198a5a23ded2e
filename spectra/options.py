"""What decides the result of an analysis, and what only decides how it is run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError
from spectra.null_cache import default_directory
from spectra.panel import FitOptions
from spectra.profiles import lookup

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """Options of `spectra.analyze`.

    Attributes:
        fit: which fits, and their conventions.
        profile: whose conventions: `default`, `weightwatcher-0.7.7`, `alphadecay`, `farms` (docs/profiles.md).
        include, exclude: globs on the names of matrices or tensors; with `include`, only what matches is analysed.
        circuits: attention circuits per head; `summed_circuits`: also all heads summed (one d x d product a layer and kind).
        null: compare with random matrices of the same shape; `seed` seeds those draws and the bootstrap.
        uncertainty: likelihood-ratio tests and the bootstrap p-value of the goodness-of-fit tail, `bootstrap` replicas.
        device: `auto` (a CUDA device if there is one, else the CPU), `cpu`, `cuda`, `cuda:1`.
        workers: matrices at a time on the CPU, each with one BLAS thread; 0 means all cores. With Ray: tasks at a time,
            0 means all CPUs (or GPUs) of the cluster.
        engine: `local` (threads of this process) or `ray` (tasks on a Ray cluster); the same rows bit for bit.
        address: of the Ray cluster; None joins the one of RAY_ADDRESS or of this machine, or starts one here; `local` starts one.
        null_cache: folder that keeps null draws between runs; None keeps them in memory only.
    """

    fit: FitOptions = field(default_factory=FitOptions)
    profile: str = "default"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    circuits: bool = True
    summed_circuits: bool = False
    null: bool = True
    seed: int = 0
    uncertainty: bool = False
    bootstrap: int = 100
    device: str = "auto"
    workers: int = 0
    engine: str = "local"
    address: str | None = None
    null_cache: Path | None = field(default_factory=default_directory)

    def __post_init__(self) -> None:
        if self.workers < 0 or self.bootstrap < 1 or self.seed < 0:
            raise SpectraError(
                f"workers and seed must be at least 0 and bootstrap at least 1, got {self.workers}, {self.seed}, {self.bootstrap}."
            )
        if self.engine not in ENGINES:
            raise SpectraError(f"Unknown engine {self.engine!r}. Use one of: {', '.join(ENGINES)}.")
        if self.address is not None and self.engine != "ray":
            raise SpectraError("An address is that of a Ray cluster: it goes with the engine ray only.")
        self._check_profile()
        for globs in (self.include, self.exclude):
            if not isinstance(globs, tuple):
                raise SpectraError(f"include and exclude take a tuple of globs such as ('*q_proj*',), got {globs!r}.")

    def _check_profile(self) -> None:
        """A profile settles the conventions: options that would change them are refused, not ignored."""
        profile = lookup(self.profile)
        if not profile.fits:
            return
        ours = FitOptions(fits=self.fit.fits)
        if self.fit != ours or self.uncertainty:
            raise SpectraError(
                f"Profile {self.profile} settles how fits are made: min_tail, min_eigenvalues, two_sided and uncertainty "
                "go with the default profile only."
            )
        if not set(self.fit.fits) & set(profile.fits):
            raise SpectraError(
                f"Profile {self.profile} has no fit {', '.join(self.fit.fits)}. It has: {', '.join(profile.fits)}."
            )

    def deciding(self) -> dict[str, Any]:
        """The options that a number can depend on, as plain data (for provenance and the journal)."""
        made = asdict(self)
        for name in ("workers", "null_cache", "engine", "address"):
            del made[name]
        return made
