"""What is probed, on which texts, with which seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from plasticity.base_model import DEFAULT_MODEL
from spectra.errors import SpectraError

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
LIMIT = 5_000
BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Probes of one checkpoint. Bad values raise `SpectraError`.

    Attributes:
        model: checkpoint: folder, hub id, GGUF file.
        tasks: names of probe tasks; empty: sst2 and ag_news, or with `data` that data alone.
        data: file or folder with texts and labels; with several tasks a folder that has a folder named after each.
        text_field, label_field: columns of `data`; None: the task's own, or `text` and `label`.
        seeds: each draws its own training texts (where there are more than `limit`) and its own validation split.
        limit: training texts a seed, validation included; also most test texts, which are the same for all seeds. None: all.
        c_grid: inverse regularisation strengths that are tried, ascending.
        validation: share of the training texts on which C and the best layer are chosen.
        max_iter: most steps of the solver.
        window: most tokens of a text; None: what the model was made for.
        batch_size: most texts at once.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        precision: `auto` (float32 on a CPU, bfloat16 on a GPU that has it), `fp32`, `bf16`, `fp16`.
        from_scratch: random weights in the checkpoint's architecture, by `init_seed`: the control.
        cache: folder of embeddings; None: beside the prepared corpora (`ALPHADECAY_CACHE_DIR`).
    """

    model: str = DEFAULT_MODEL
    tasks: tuple[str, ...] = ()
    data: str | None = None
    text_field: str | None = None
    label_field: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int | None = LIMIT
    c_grid: tuple[float, ...] = C_GRID
    validation: float = 0.2
    max_iter: int = 1_000
    window: int | None = None
    batch_size: int = BATCH_SIZE
    device: str = "auto"
    precision: str = "auto"
    from_scratch: bool = False
    init_seed: int = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        ascending = list(self.c_grid) == sorted(set(self.c_grid))
        for name, good, expected in (
            ("task", len(set(self.tasks)) == len(self.tasks), "each task once"),
            ("seeds", len(set(self.seeds)) == len(self.seeds) >= 1 and min(self.seeds) >= 0, "one or more different seeds"),
            ("limit", self.limit is None or self.limit >= 4, "at least 4 (0 on the command line: all)"),
            ("c_grid", bool(self.c_grid) and ascending and self.c_grid[0] > 0 and math.isfinite(self.c_grid[-1]),
             "positive numbers in ascending order"),
            ("validation", 0 < self.validation < 1, "a share between 0 and 1"),
            ("max_iter", self.max_iter >= 1, "at least 1"),
            ("window", self.window is None or self.window >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("precision", self.precision in {"auto", "fp32", "bf16", "fp16"}, "auto, fp32, bf16 or fp16"),
        ):  # fmt: skip
            if not good:
                value = self.tasks if name == "task" else getattr(self, name)
                raise SpectraError(f"--{name.replace('_', '-')} is {value!r}; expected {expected}.")
        if self.data is None and (self.text_field or self.label_field):
            raise SpectraError("--text-field and --label-field name columns of --data: give --data with them.")
