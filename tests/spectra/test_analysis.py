"""Checkpoint -> Analysis, end to end on small checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spectra
from spectra import summary, work
from spectra.analysis import analyze
from spectra.errors import SpectraError
from spectra.journal import Journal, journal_path
from spectra.metrics import CIRCUIT_METRICS, MATRIX_METRICS, UNCERTAINTY_METRICS
from spectra.options import AnalysisOptions
from spectra.panel import FitOptions
from spectra.types import MatrixRef, MatrixRow
from tests.spectra.conftest import LLAMA_CONFIG, Save, llama_tensors

QUICK = AnalysisOptions(workers=2)


def test_every_tensor_once_and_every_column(llama: Path) -> None:
    found = analyze(llama, options=QUICK)
    assert [line.tensor for line in found.coverage] == sorted(llama_tensors(), key=list(
        json.loads(header(llama / "model.safetensors"))
    ).index)  # fmt: skip
    assert len(found.matrices) == 15
    assert {row.ref.role for row in found.matrices} == {"q", "k", "v", "o", "gate", "up", "down", "embed"}
    for row in found.matrices:
        assert row.status == "ok"
        assert set(row.values) == {m.name for m in MATRIX_METRICS}
        assert row.esd is not None and sum(row.esd.counts) + row.esd.zeros == row.n_eigenvalues
        assert set(row.null) == {m.name for m in MATRIX_METRICS if m.null}
    assert len(found.circuits) == 2 * 4 * 2
    for circuit in found.circuits:
        assert circuit.status == "ok" and set(circuit.values) == {m.name for m in CIRCUIT_METRICS}
        assert circuit.kv_head == (circuit.head or 0) // 2
        assert "per_head" in circuit.convention


def header(path: Path) -> str:
    raw = path.read_bytes()
    return raw[8 : 8 + int.from_bytes(raw[:8], "little")].decode()


def test_numbers_equal_numpy_on_the_matrix(llama: Path) -> None:
    found = {row.ref.name: row for row in analyze(llama, options=QUICK).matrices}
    W = llama_tensors()["model.layers.1.mlp.up_proj.weight"].astype(np.float64)
    row = found["model.layers.1.mlp.up_proj.weight"]
    s = np.linalg.svd(W, compute_uv=False)
    lam = np.sort(s**2)
    k = len(lam) // 2
    hill = 1 + k / np.sum(np.log(lam[-k:] / lam[len(lam) - k - 1]))
    assert row.values["alpha_hill"] == pytest.approx(hill, rel=1e-9)
    assert row.values["frobenius_norm"] == pytest.approx(np.linalg.norm(W), rel=1e-12)
    assert row.values["stable_rank"] == pytest.approx(lam.sum() / lam[-1], rel=1e-12)
    p = s / s.sum()
    assert row.values["effective_rank"] == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-9)
    assert row.values["numerical_rank"] == 32
    assert (row.ref.rows, row.ref.cols, row.ref.dtype) == (48, 32, "float32")


def test_real_checkpoint_against_dense_products(stories: Path) -> None:
    """stories260k: Hill against a float64 SVD to 1e-9; circuits against the dense product to 1e-6."""
    from safetensors.numpy import load_file

    weights = {k: v.astype(np.float64) for k, v in load_file(stories / "model.safetensors").items()}
    found = analyze(stories, options=QUICK)
    for row in found.matrices:
        lam = np.sort(np.linalg.svd(weights[row.ref.tensor], compute_uv=False) ** 2)
        k = len(lam) // 2
        hill = 1 + k / np.sum(np.log(lam[-k:] / lam[len(lam) - k - 1]))
        assert row.values["alpha_hill"] == pytest.approx(hill, rel=1e-9), row.ref.name
    assert len(found.circuits) == 5 * 8 * 2
    for circuit in found.circuits:
        at, h, g = circuit.module, circuit.head, circuit.kv_head
        q, k, v, o = (weights[f"{at}.{x}_proj.weight"] for x in "qkvo")
        dense = (
            k[g * 8 : g * 8 + 8].T @ q[h * 8 : h * 8 + 8]
            if circuit.kind == "qk"
            else o[:, h * 8 : h * 8 + 8] @ v[g * 8 : g * 8 + 8]
        )
        s = np.linalg.svd(dense, compute_uv=False)
        p = s[:8] / s.sum()
        assert circuit.values["spectral_norm"] == pytest.approx(s[0], rel=1e-6)
        assert circuit.values["frobenius_norm"] == pytest.approx(np.linalg.norm(dense), rel=1e-6)
        assert circuit.values["effective_rank"] == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-6)
        count = int(np.searchsorted(np.cumsum(s), 0.95 * s.sum())) + 1
        assert circuit.values["pseudo_rank"] == pytest.approx(count / 8)


def same(a: spectra.Analysis, b: spectra.Analysis) -> None:
    assert a.matrices == b.matrices
    assert a.circuits == b.circuits
    assert a.coverage == b.coverage


def test_workers_and_order_do_not_change_a_bit(llama: Path) -> None:
    same(analyze(llama, options=replace(QUICK, workers=1)), analyze(llama, options=replace(QUICK, workers=4)))


def test_module_state_dict_and_file_agree(llama: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = llama_tensors()
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    on_disk = analyze(llama, options=QUICK)
    for source in (tensors, state):
        held = analyze(source, options=QUICK, config=LLAMA_CONFIG)
        by_name = {row.ref.name: row for row in held.matrices}
        assert {row.ref.name: row for row in on_disk.matrices} == by_name
        assert len(held.circuits) == len(on_disk.circuits)
    assert callable(spectra.analyze)


def test_options_do_something(llama: Path) -> None:
    without = analyze(llama, options=replace(QUICK, circuits=False))
    assert without.circuits == () and without.matrices == analyze(llama, options=QUICK).matrices
    no_null = analyze(llama, options=replace(QUICK, null=False))
    assert all(not row.null for row in no_null.matrices) and all(not c.null for c in no_null.circuits)
    hill_only = analyze(llama, options=replace(QUICK, fit=FitOptions(fits=("hill",)))).matrices[0].values
    assert (
        hill_only["alpha_hill"]
        and hill_only["alpha_gof_status"] == "not_requested"
        and hill_only["alpha_weighted"] is None
    )
    summed = [c for c in analyze(llama, options=replace(QUICK, summed_circuits=True)).circuits if c.head is None]
    assert len(summed) == 4 and all("summed" in c.convention for c in summed)
    one, two = (analyze(llama, options=replace(QUICK, seed=s)).matrices[0].null["alpha_hill"].mean for s in (0, 1))
    assert one != two
    left, both = (analyze(llama, options=replace(QUICK, fit=FitOptions(two_sided=t))) for t in (False, True))
    assert [r.values["alpha_gof_ks"] for r in left.matrices] != [r.values["alpha_gof_ks"] for r in both.matrices]


def test_uncertainty_is_seeded_by_name(llama: Path) -> None:
    options = replace(QUICK, uncertainty=True, bootstrap=20, include=("*layers.0.mlp.up_proj*",))
    first, again = (analyze(llama, options=options).matrices[0] for _ in range(2))
    assert first == again
    assert {m.name for m in UNCERTAINTY_METRICS} <= set(first.values)
    p = first.values["bootstrap_p"]
    assert isinstance(p, float) and 0 <= p <= 1 and first.values["bootstrap_replicas"] == 20
    assert isinstance(first.values["lr_exponential"], float)


def test_include_and_exclude(llama: Path) -> None:
    found = analyze(llama, options=replace(QUICK, include=("*self_attn*",), exclude=("*layers.1*",)))
    assert {row.ref.role for row in found.matrices} == {"q", "k", "v", "o"} and len(found.matrices) == 4
    assert len(found.circuits) == 8
    assert len(found.coverage) == len(llama_tensors())
    left_out = [line for line in found.coverage if "not selected" in line.reason]
    assert len(left_out) == 15 - 4
    for options in (replace(QUICK, include=("nothing*",)), replace(QUICK, exclude=("nothing*",))):
        with pytest.raises(SpectraError, match=r"nothing\*.*matches none of the 15"):
            analyze(llama, options=options)
    with pytest.raises(SpectraError, match="leave no matrix"):
        analyze(llama, options=replace(QUICK, exclude=("*",)))


def test_tied_head_is_analysed_once(save: Save) -> None:
    tensors = llama_tensors()
    tied = tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].copy()}
    other = tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] + np.float32(1)}
    found = analyze(save(tied, name="tied"), options=QUICK)
    line = next(c for c in found.coverage if c.tensor == "lm_head.weight")
    assert line.disposition == "tied" and "model.embed_tokens.weight" in line.reason
    assert [r.ref.role for r in found.matrices].count("lm_head") == 0
    untied = analyze(save(other, name="untied"), options=QUICK)
    assert [r.ref.role for r in untied.matrices].count("lm_head") == 1


def test_degenerate_matrices_are_rows_with_a_status(save: Save) -> None:
    rng = np.random.default_rng(0)
    weird = {
        "a.nan.weight": np.where(np.eye(20) > 0, np.nan, 1.0),
        "a.inf.weight": np.where(np.eye(20) > 0, np.inf, 1.0),
        "a.zero.weight": np.zeros((20, 30)),
        "a.constant.weight": np.full((20, 30), 2.5),
        "a.row.weight": rng.standard_normal((1, 64)),
        "a.tiny.weight": rng.standard_normal((7, 7)),
        "a.fine.weight": rng.standard_normal((40, 40)),
        "a.vector.weight": rng.standard_normal(64),
    }
    found = {
        r.ref.name: r
        for r in analyze(save({k: v.astype(np.float32) for k, v in weird.items()}, None), options=QUICK).matrices
    }
    assert {name.split(".")[1]: row.status for name, row in found.items()} == {
        "nan": "non_finite", "inf": "non_finite", "zero": "degenerate", "constant": "ok", "row": "too_few_eigenvalues",
        "tiny": "too_few_eigenvalues", "fine": "ok",
    }  # fmt: skip
    assert found["a.constant.weight"].values["alpha_hill_status"] == "degenerate"
    assert found["a.constant.weight"].values["numerical_rank"] == 1
    assert found["a.zero.weight"].values["frobenius_norm"] == 0.0
    assert (
        found["a.tiny.weight"].values["alpha_gof"] is None
        and found["a.tiny.weight"].values["spectral_norm"] is not None
    )
    assert all(v is None or isinstance(v, str) or v == 0 for k, v in found["a.nan.weight"].values.items())


class Stopped(Exception):  # noqa: N818 (not an error)
    """Raised by a listener in the middle of a run."""


class Stopper:
    """Interrupts after some matrices."""

    def __init__(self, after: int) -> None:
        self.after, self.seen = after, 0

    def progress(self, done: int, total: int, name: str) -> None:
        self.seen += 1
        if self.seen == self.after:
            raise Stopped

    def message(self, sentence: str) -> None:
        pass


class Counter(Stopper):
    """Counts what is worked on."""

    def __init__(self) -> None:
        super().__init__(-1)


@pytest.mark.parametrize("after", [1, 5, 14])
def test_resume_goes_on_and_ends_the_same(llama: Path, tmp_path: Path, after: int) -> None:
    whole = analyze(llama, options=QUICK)
    journal = journal_path(tmp_path / "a.json")
    with pytest.raises(Stopped):
        analyze(llama, options=QUICK, journal=journal, listener=Stopper(after))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    kept = sum("matrix" in line for line in lines)
    assert kept >= after
    counter = Counter()
    resumed = analyze(llama, options=QUICK, journal=journal, resume=True, listener=counter)
    same(whole, resumed)
    # What is done again is only what the circuits still need of finished matrices.
    assert counter.seen <= 15 - kept + 8
    assert resumed.provenance["analysed_sha256"] == whole.provenance["analysed_sha256"]


def test_a_line_cut_short_by_a_kill_is_dropped(llama: Path, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    with pytest.raises(Stopped):
        analyze(llama, options=QUICK, journal=journal, listener=Stopper(6))
    journal.write_bytes(journal.read_bytes()[:-40])
    same(analyze(llama, options=QUICK), analyze(llama, options=QUICK, journal=journal, resume=True))


def test_resume_refuses_another_checkpoint_or_options(llama: Path, save: Save, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    with pytest.raises(Stopped):
        analyze(llama, options=QUICK, journal=journal, listener=Stopper(3))
    with pytest.raises(SpectraError, match="another options"):
        analyze(llama, options=replace(QUICK, seed=9), journal=journal, resume=True)
    other = save(llama_tensors(d=64), LLAMA_CONFIG | {"hidden_size": 64}, name="other")
    with pytest.raises(SpectraError, match="another checkpoint"):
        analyze(other, options=QUICK, journal=journal, resume=True)


def test_resume_tells_checkpoints_of_the_same_shapes_apart(llama: Path, save: Save, tmp_path: Path) -> None:
    """A training run overwrites its last checkpoint; rows of the old one must not join those of the new."""
    journal = tmp_path / "j.jsonl"
    with pytest.raises(Stopped):
        analyze(llama, options=QUICK, journal=journal, listener=Stopper(3))
    with pytest.raises(SpectraError, match="another checkpoint"):
        analyze(save(llama_tensors(seed=1), name="later"), options=QUICK, journal=journal, resume=True)
    other_heads = save(llama_tensors(), LLAMA_CONFIG | {"num_attention_heads": 8}, name="heads")
    with pytest.raises(SpectraError, match="another config"):
        analyze(other_heads, options=QUICK, journal=journal, resume=True)


@pytest.mark.parametrize("line", ["5", "[]", '{"header": 3}', '{"matrix": {}}'])
def test_a_file_that_is_no_journal(llama: Path, tmp_path: Path, line: str) -> None:
    journal = tmp_path / "j.jsonl"
    journal.write_text(line + "\n")
    with pytest.raises(SpectraError, match="no journal"):
        analyze(llama, options=QUICK, journal=journal, resume=True)


@pytest.mark.parametrize("scale", [1.0, 3.0, 2**0.5, 0.02])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_orthogonal_matrices_are_degenerate_not_power_laws(scale: float, dtype: type) -> None:
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0]
    row = analyze({"w.weight": (scale * Q).astype(dtype)}, options=QUICK).matrices[0]
    assert row.status == "ok" and row.values["effective_rank"] == pytest.approx(64)
    assert {row.values[f"alpha_{fit}_status"] for fit in ("hill", "gof", "fix_finger")} == {"degenerate"}
    assert row.esd is not None and sum(row.esd.counts) == 64


def test_numbers_at_the_ends_of_float64_can_be_written(tmp_path: Path) -> None:
    """Whatever the scale, no infinity or NaN may reach JSON after all the work."""
    for scale in (1e-170, 1e-82, 1e78, 1e150, 1e170):
        tensors = {name: value.astype(np.float64) * scale for name, value in llama_tensors().items()}
        found = analyze(tensors, options=QUICK, config=LLAMA_CONFIG)
        spectra.write_json(found, tmp_path / "a.json")
        assert spectra.read_json(tmp_path / "a.json") == found
        if scale == 1e-82:
            assert all((c.values["frobenius_norm"] or 0) > 0 for c in found.circuits)


def test_what_cannot_be_read_is_in_the_ledger() -> None:
    torch = pytest.importorskip("torch")
    sparse = torch.eye(20).to_sparse()
    found = analyze({"a.weight": torch.randn(20, 30), "b.weight": sparse}, options=QUICK)
    line = next(c for c in found.coverage if c.tensor == "b.weight")
    assert line.disposition == "skipped" and "cannot be read" in line.reason
    assert any("b.weight" in text for text in summary.fell_short(found))


def test_a_matrix_can_be_selected_by_its_exact_name() -> None:
    W = np.random.default_rng(0).standard_normal((32, 96)).astype(np.float32)
    config = {"model_type": "gpt2", "n_embd": 32, "n_head": 4}
    name = "h.0.attn.c_attn.weight[q]"
    found = analyze({"h.0.attn.c_attn.weight": W}, config=config, options=replace(QUICK, include=(name,)))
    assert [row.ref.name for row in found.matrices] == [name]
    assert f"only {name} selected" in found.coverage[0].reason


def test_one_failing_worker_keeps_what_others_finished(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(ref: MatrixRef, *args: object) -> MatrixRow:
        if ref.name.endswith("layers.0.self_attn.v_proj.weight"):
            raise MemoryError("Unable to allocate")
        return real(ref, *args)

    real = work.matrix_row
    monkeypatch.setattr(work, "matrix_row", fails)
    journal = tmp_path / "j.jsonl"
    with pytest.raises(SpectraError, match="fewer --workers"):
        analyze(llama, options=QUICK, journal=journal)
    monkeypatch.undo()
    assert journal.read_text().count('{"matrix"') >= 1
    same(analyze(llama, options=QUICK), analyze(llama, options=QUICK, journal=journal, resume=True))


def test_blas_threads_are_given_back(llama: Path) -> None:
    from threadpoolctl import threadpool_info

    before = [(i["filepath"], i["num_threads"]) for i in threadpool_info()]
    with pytest.raises(Stopped):
        analyze(llama, options=QUICK, listener=Stopper(2))
    after = {i["filepath"]: i["num_threads"] for i in threadpool_info()}
    assert all(after[path] == count for path, count in before)


@pytest.mark.parametrize("bad", [{"workers": -1}, {"bootstrap": 0}, {"include": "*up*"}, {"seed": -1}])
def test_options_are_checked(bad: dict[str, object]) -> None:
    with pytest.raises(SpectraError):
        AnalysisOptions(**bad)
    with pytest.raises(SpectraError, match="fix-finger"):
        FitOptions(fits=("fix-finger",))


def test_journal_header_survives_tuples(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", {"a": (1, 2)}, resume=False) as journal:
        journal.append({"x": 1})
    with Journal(tmp_path / "j", {"a": (1, 2)}, resume=True) as journal:
        assert journal.records == [{"x": 1}]
