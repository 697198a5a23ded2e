"""FSDP2: from identical weights the decays equal those of one process; asked for and not there, it is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from alphadecay.train import train
from alphadecay.watch import MustBeSharded
from spectra.errors import SpectraError

from .conftest import tiny_llama
from .recipes_of_tests import small

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_sharded_decays_equal_those_of_one_process(tmp_path: Path) -> None:
    out = tmp_path / "decays.json"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.alphadecay.sharding", str(out)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, *two = [json.loads(path.read_text()) for path in (out, out.with_suffix(".0"), out.with_suffix(".1"))]
    assert two[0] == two[1]  # every rank has the same decays, bit for bit
    for policy, expected in one.items():
        assert two[0][policy]["decays"] == pytest.approx(expected["decays"], rel=1e-6), policy
        assert two[0][policy]["base"] == pytest.approx(expected["base"], rel=1e-6), policy
        assert two[0][policy]["norms"] == pytest.approx(expected["norms"], rel=1e-5), policy
        if policy not in ("awd", "element"):
            assert len(set(expected["decays"].values())) > 5, policy


def test_fsdp_without_a_sharded_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="one process was launched: no parameter is sharded"):
        train(small({"parallel": "fsdp"}), tmp_path)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    with pytest.raises(SpectraError, match="no parameter is sharded over the 1 processes"):
        MustBeSharded().on_train_begin(arguments, TrainerState(), TrainerControl(), model=tiny_llama())
