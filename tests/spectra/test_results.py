"""JSON round trip, Parquet, CSV, pandas; damaged files."""

from __future__ import annotations

import csv
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spectra import atomic, results
from spectra.analysis import analyze
from spectra.errors import SpectraError
from spectra.metrics import BY_NAME, CIRCUIT_METRICS
from spectra.options import AnalysisOptions
from spectra.types import Analysis
from tests.spectra.conftest import Save, llama_tensors


@pytest.fixture
def analysis(save: Save) -> Analysis:
    tensors = llama_tensors()
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = np.nan
    tensors["model.layers.1.mlp.up_proj.weight"][:] = 0
    return analyze(save(tensors), options=AnalysisOptions(workers=1))


def test_json_round_trip_is_exact(analysis: Analysis, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    results.write_json(analysis, path)
    assert results.read_json(path) == analysis
    text = path.read_text()
    assert "NaN" not in text and "Infinity" not in text
    made = json.loads(text)
    row = next(r for r in made["matrices"] if r["name"] == "model.layers.0.mlp.up_proj.weight")
    assert row["status"] == "non_finite" and row["alpha_hill"] is None and row["alpha_hill_status"] == "non_finite"
    assert {p.name for p in tmp_path.iterdir()} == {"model", "a.json"}


def test_keys_of_the_design(analysis: Analysis) -> None:
    made = results.to_dict(analysis)
    assert list(made)[:2] == ["schema_version", "provenance"]
    row = next(r for r in made["matrices"] if r["role"] == "q")
    wanted = """name tensor layer role rows cols n_eigenvalues dtype status alpha_hill alpha_gof alpha_fix_finger frobenius_norm
        spectral_norm nuclear_norm stable_rank effective_rank spectral_entropy_rank numerical_rank pseudo_rank alpha_weighted
        log_alpha_norm mp_bulk_edge tw_threshold n_spikes null esd"""
    fits = [
        f"alpha_{f}_{x}" for f in ("hill", "gof", "fix_finger") for x in ("stderr", "xmin", "tail_size", "ks", "status")
    ]
    assert set(wanted.split()) | set(fits) <= set(row)
    assert set(row["null"]["alpha_hill"]) == {"mean", "sd", "difference", "z"}
    circuit = made["circuits"][0]
    assert {"layer", "head", "kv_head", "kind", "convention", *(m.name for m in CIRCUIT_METRICS)} <= set(circuit)
    assert set(made["coverage"][0]) == {"tensor", "disposition", "reason", "parameters"}
    software = made["provenance"]
    assert software["spectra"] and software["libraries"]["numpy"] and software["options"]["seed"] == 0
    assert len(software["analysed_sha256"]) == 64


def test_csv_has_every_row_and_reads_back(analysis: Analysis, tmp_path: Path) -> None:
    written = results.write_csv(analysis, tmp_path / "a.csv")
    assert [p.name for p in written] == ["a.csv", "a.circuits.csv", "a.coverage.csv"]
    with written[0].open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == len(analysis.matrices)
    for made, row in zip(rows, analysis.matrices, strict=True):
        value = row.values["alpha_hill"]
        assert made["alpha_hill"] == ("" if value is None else repr(value))


def test_tables_without_rows_keep_their_columns(save: Save, tmp_path: Path) -> None:
    found = analyze(save(llama_tensors(), name="m2"), options=AnalysisOptions(workers=1, circuits=False))
    with results.write_csv(found, tmp_path / "e.csv")[1].open(newline="") as f:
        read = csv.DictReader(f)
        wanted = {"layer", "head", "kind", "pseudo_rank", "null_pseudo_rank_z"}
        assert wanted <= set(read.fieldnames or ()) and not list(read)
    parquet = pytest.importorskip("pyarrow.parquet")
    empty = parquet.read_table(results.write_parquet(found, tmp_path / "e.parquet")[1])
    assert empty.num_rows == 0 and str(empty.schema.field("pseudo_rank").type) == "double"


def test_links_and_streams_are_written_to_not_replaced(analysis: Analysis, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.json"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link.json").symlink_to(target)
    results.write_json(analysis, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink() and results.read_json(target) == analysis
    assert target.stat().st_mode & 0o777 == 0o640
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        text = pool.submit(pipe.read_text)
        results.write_json(analysis, pipe)
        assert json.loads(text.result(timeout=10))["schema_version"] == 1
    assert pipe.is_fifo()


def test_parquet_is_typed_even_where_empty(analysis: Analysis, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    written = results.write_parquet(analysis, tmp_path / "a.parquet")
    table = parquet.read_table(written[0])
    kinds = {"float": "double", "int": "int64", "str": "string", "bool": "bool"}
    for name in BY_NAME:
        if name in table.column_names:
            assert str(table.schema.field(name).type) == kinds[BY_NAME[name].kind], name
    assert table.num_rows == len(analysis.matrices)
    assert json.loads(table.schema.metadata[b"spectra_provenance"]) == analysis.provenance
    counts = table.column("esd_counts").to_pylist()
    assert counts[0] == list(analysis.matrices[0].esd.counts)
    assert parquet.read_table(written[1]).num_rows == len(analysis.circuits)


def test_to_pandas(analysis: Analysis) -> None:
    pytest.importorskip("pandas")
    frame = analysis.to_pandas()
    assert len(frame) == len(analysis.matrices)
    assert frame.loc[frame["status"] == "ok", "alpha_hill"].notna().all()
    assert frame.loc[frame["status"] == "non_finite", "alpha_hill"].isna().all()
    assert "null_alpha_hill_z" in frame


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}', "not json"])
def test_files_that_are_no_analysis(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(SpectraError, match=r"bad\.json"):
        results.read_json(path)
    with pytest.raises(SpectraError, match="missing"):
        results.read_json(tmp_path / "missing.json")


def test_a_failed_write_leaves_the_old_file(
    analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*args: object, **kwargs: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(SpectraError, match="No space left"):
        results.write_json(analysis, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.json"]


def test_no_other_process_writes_under_the_name_that_a_file_is_staged_by(tmp_path: Path) -> None:
    """Processes of two nodes may have one number."""
    staged: list[Path] = []

    def write(path: Path) -> None:
        staged.append(path)
        path.write_text("new")

    for _ in range(2):
        atomic.write_whole(tmp_path / "a.json", write)
    assert staged[0] != staged[1] and all(socket.gethostname() in path.name for path in staged)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
