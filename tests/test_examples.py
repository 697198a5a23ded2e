"""The scripts of docs/examples run as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_example(name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    if name == "trl_sft":
        pytest.importorskip("trl")
    caches = {"ALPHADECAY_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "corpora")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), str(tmp_path)],
        env=os.environ | caches, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wrote" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "decay.jsonl").read_text().splitlines()]
    decays = {line["module"]: line["decay"] for line in lines if "module" in line}
    assert len(decays) == 14 and len(set(decays.values())) > 5
