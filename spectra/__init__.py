"""Spectral diagnostics of checkpoints: ESDs, power-law exponents, ranks, norms, attention circuits.

import spectra
analysis = spectra.analyze("path/to/checkpoint")     # or a hub id, a torch.nn.Module, a state dict
analysis.to_pandas()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectra.analysis import analyze as analyze
    from spectra.errors import CheckpointError as CheckpointError
    from spectra.errors import SpectraError as SpectraError
    from spectra.options import AnalysisOptions as AnalysisOptions
    from spectra.panel import FitOptions as FitOptions
    from spectra.results import read_json as read_json
    from spectra.results import write_json as write_json
    from spectra.types import Analysis as Analysis

__version__ = "0.1.0"

# Names are fetched on first use, so that `import spectra` (and `spectra --help`) stays fast.
_PUBLIC = {
    "analyze": "spectra.analysis",
    "Analysis": "spectra.types",
    "AnalysisOptions": "spectra.options",
    "FitOptions": "spectra.panel",
    "SpectraError": "spectra.errors",
    "CheckpointError": "spectra.errors",
    "read_json": "spectra.results",
    "write_json": "spectra.results",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'spectra' has no attribute {name!r}")
