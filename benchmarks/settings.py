"""What all benchmarks are told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of a run, passed to each benchmark's own process as JSON.

    Attributes:
        repetitions: measurements of each side, taken in turns; medians are reported.
        gigabytes: size of the generated checkpoint of the memory benchmark.
        weightwatcher: virtual environment with WeightWatcher in it; made where it is missing.
        model: folder of SmolLM2-135M in Hugging Face layout; made where it is missing.
        scratch: folder for generated files, emptied after use; empty: the system's.
        busy_cores: cores other processes may use when a measurement begins.
        wait_seconds: how long to wait for them to finish.
        allow_busy: measure all the same, and say so.
    """

    repetitions: int = 3
    gigabytes: float = 6.0
    weightwatcher: str = str(HERE / ".venv-weightwatcher")
    model: str = str(CACHE / "smollm2-135m")
    scratch: str = ""
    busy_cores: float = 0.2
    wait_seconds: float = 60.0
    allow_busy: bool = False

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Settings:
        """Inverse of `to_json`."""
        return Settings(**json.loads(text))
