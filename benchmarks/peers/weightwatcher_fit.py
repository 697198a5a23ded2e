"""WeightWatcher's own goodness-of-fit loop, `WWFit`, alone: nothing but the fit is timed.

    weightwatcher_fit.py SPECTRA.npz OUT.json

SPECTRA.npz holds one ascending array of positive eigenvalues a name. Out come alpha and CPU seconds of each.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from weightwatcher.WW_powerlaw import WWFit


def main(source: Path, out: Path) -> None:
    """Fit every spectrum once, after one fit that is not counted."""
    spectra = dict(np.load(source))
    WWFit(next(iter(spectra.values())))
    found = {}
    for name, eigenvalues in spectra.items():
        started = time.process_time()
        fit = WWFit(eigenvalues)
        found[name] = {"alpha": float(fit.alpha), "cpu_s": time.process_time() - started}
    out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
