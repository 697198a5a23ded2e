"""Profiles: WeightWatcher against its own output (goldens), AlphaDecay and FARMS against slow transcriptions of their methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectra.analysis import analyze
from spectra.errors import SpectraError
from spectra.metrics import MATRIX_METRICS, WEIGHTWATCHER_METRICS
from spectra.options import AnalysisOptions
from spectra.panel import FitOptions, parse_fits
from spectra.profiles import PROFILES, lookup, windows
from spectra.stored import Stored
from spectra.types import Analysis, MatrixRow

ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = ROOT / "demo" / "SmolLM2-135M-Instruct.Q4_1.gguf"
GOLDEN = ROOT / "tests" / "data" / "weightwatcher_0.7.7.json"

WW = "weightwatcher-0.7.7"
COLUMNS = {  # theirs -> ours
    "alpha": "alpha_gof", "D": "alpha_gof_ks", "xmin": "alpha_gof_xmin", "num_pl_spikes": "alpha_gof_tail_size",
    "sigma": "alpha_gof_stderr", "alpha_weighted": "alpha_weighted", "log_alpha_norm": "log_alpha_norm",
    "stable_rank": "stable_rank", "norm": "ww_norm", "log_norm": "ww_log_norm", "spectral_norm": "ww_spectral_norm",
    "log_spectral_norm": "ww_log_spectral_norm", "sv_max": "spectral_norm", "matrix_rank": "ww_matrix_rank",
    "rank_loss": "ww_rank_loss", "weak_rank_loss": "ww_weak_rank_loss", "entropy": "ww_entropy", "warning": "ww_warning",
    "alpha_xmin_peak": "alpha_fix_finger",
}  # fmt: skip


def synthetic() -> dict[str, np.ndarray]:
    """Seeded float32 matrices: plain, small samples (12, 16 and 9 eigenvalues), and one partly under the threshold."""
    made = {}
    for i, (rows, cols) in enumerate([(64, 64), (48, 160), (200, 40), (16, 24), (12, 12), (20, 50), (9, 300)]):
        rng = np.random.default_rng([7, rows, cols])
        noise = rng.standard_normal((rows, cols)) * 0.05
        left, right = rng.standard_normal((rows, 6)), rng.standard_normal((6, cols))
        made[f"w{i}"] = (noise + 0.02 * (left * np.array([8, 5, 3, 2, 1.5, 1])) @ right).astype(np.float32)
    made["w7"] = (1e-3 * np.random.default_rng(8).standard_normal((40, 60))).astype(np.float32)
    return made


def run(source: Any, profile: str, **more: Any) -> Analysis:
    """An analysis by a profile, without circuits and (unless asked) nulls."""
    given = {"null": False, "null_cache": None} | more
    return analyze(source, options=AnalysisOptions(profile=profile, circuits=False, **given))


def check_golden(rows: dict[str, MatrixRow], golden: dict[str, dict[str, Any]]) -> None:
    """Every column of every matrix within 1e-9 relative (the promise is 1e-4); their -1 is no number here."""
    assert rows.keys() == golden.keys()
    for name, row in rows.items():
        for theirs, ours in COLUMNS.items():
            expected, value = golden[name][theirs], row.values[ours]
            if theirs == "alpha_xmin_peak" and expected == -1:
                assert value is None and row.values["alpha_fix_finger_status"] != "ok", name
            elif isinstance(expected, str):
                assert value == expected, (name, theirs)
            else:
                assert value == pytest.approx(expected, rel=1e-9, abs=1e-300), (name, theirs)


def test_weightwatcher_synthetic() -> None:
    golden = json.loads(GOLDEN.read_text())["synthetic"]
    check_golden({row.ref.name: row for row in run(synthetic(), WW).matrices}, golden)


def test_weightwatcher_stories(stories: Path) -> None:
    """Its list has the tied lm_head once more, which the coverage ledger knows as tied."""
    golden = json.loads(GOLDEN.read_text())["stories260k"]
    golden.pop("lm_head")
    check_golden({row.ref.name.removesuffix(".weight"): row for row in run(stories, WW).matrices}, golden)


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.exists(), reason="make demo has not fetched the model")
def test_weightwatcher_smollm2() -> None:
    from tests.spectra.test_smollm2 import gguf_name

    golden = json.loads(GOLDEN.read_text())["smollm2-135m"]
    golden.pop("lm_head")
    rows = {row.ref.name: row for row in run(SMOLLM2, WW).matrices}
    check_golden(rows, {gguf_name(f"{name}.weight"): values for name, values in golden.items()})


def peer_median(x: np.ndarray) -> tuple[float, float]:
    """METHODS, section 1: "code of the paper": alpha and D."""
    i = len(x) // 2
    m = len(x) - i
    alpha = 1 + m / sum(np.log(x[j] / x[i]) for j in range(i, len(x)))
    return alpha, max(abs(1 - (x[i + j] / x[i]) ** (1 - alpha) - j / m) for j in range(m))


def peer_search(x: np.ndarray, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
    """Every eigenvalue but the largest, one after the other; the first least D stays."""
    best = (np.nan, np.inf)
    for i in range(len(x) - 1):
        if not low <= x[i] <= high:
            continue
        m = len(x) - i
        alpha = 1 + m / np.sum(np.log(x[i:] / x[i]))
        D = np.max(np.abs(1 - (x[i:] / x[i]) ** (1 - alpha) - np.arange(m) / m))
        if best[1] > D:
            best = (alpha, D)
    return best


def peer_fix_finger(x: np.ndarray) -> tuple[float, float]:
    """log10(0.95 c) where 0.95 c was meant."""
    counts, edges = np.histogram(np.log10(x), bins=100)
    c = 10 ** edges[np.argmax(counts)]
    return peer_search(x, np.log10(0.95 * c), 1.5 * c)


PEERS = {"hill": peer_median, "gof": peer_search, "fix_finger": peer_fix_finger}


def check_peer(row: MatrixRow, x: np.ndarray) -> None:
    """All three fits of AlphaDecay's and FARMS' codes, from eigenvalues by a float64 SVD."""
    for name, method in PEERS.items():
        alpha, D = method(x)
        assert row.values[f"alpha_{name}"] == pytest.approx(alpha, rel=1e-4), (row.ref.name, name)
        assert row.values[f"alpha_{name}_ks"] == pytest.approx(D, rel=1e-4, abs=1e-6), (row.ref.name, name)


def squares(W: np.ndarray) -> np.ndarray:
    return np.sort(np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False) ** 2)


def test_alphadecay_is_its_method_in_float64() -> None:
    weights = synthetic()
    for row in run(weights, "alphadecay").matrices:
        check_peer(row, squares(weights[row.ref.name]))


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.exists(), reason="make demo has not fetched the model")
def test_alphadecay_smollm2() -> None:
    from spectra.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(SMOLLM2)
    for row in run(SMOLLM2, "alphadecay").matrices:
        W = checkpoint.read(row.ref.tensor).decode()
        check_peer(row, squares(np.linalg.qr(W, mode="r") if W.shape[0] > 10000 else W))


def slow_windows(W: np.ndarray, side: int, per_side: int) -> np.ndarray:
    """FARMS' fixed_sampling at Q = 1, window by window."""
    rows, cols = W.shape
    w = min(side, rows, cols)
    row_step, col_step = (max(1, (n - w) // (per_side - 1)) for n in (rows, cols))
    found = []
    for i in range(min(per_side, (rows - w) // row_step + 1)):
        for j in range(min(per_side, (cols - w) // col_step + 1)):
            r, c = min(i * row_step, rows - w), min(j * col_step, cols - w)
            found.append(squares(W[r : r + w, c : c + w]))
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize("side", [2000, 24])
def test_farms_is_its_method_in_float64(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Also with windows on a grid in both directions, as matrices of more than 2000 have them."""
    monkeypatch.setattr(windows, "SIDE", side)
    weights = synthetic()
    for row in run(weights, "farms").matrices:
        check_peer(row, slow_windows(weights[row.ref.name], side, 10))


def test_farms_takes_the_whole_of_a_square_matrix_and_ten_windows_of_others() -> None:
    assert windows.window_count((576, 576)) == 1
    assert windows.window_count((576, 1536)) == 10
    assert windows.window_count((4096, 11008)) == 100
    assert windows.starts(71, 70) == [0, 1]
    assert windows.starts(1536, 576)[-1] == 954  # the last six columns are in no window


def test_farms_removes_most_of_what_the_aspect_ratio_does() -> None:
    """Random matrices, 1:1 and 4:1: Hill alpha apart by more than 1 by default, by under 0.1 in windows."""
    rng = np.random.default_rng(3)
    weights = {"a": rng.standard_normal((96, 96)), "b": rng.standard_normal((96, 384))}
    ours, theirs = (
        [row.values["alpha_hill"] for row in run(weights, profile).matrices] for profile in ("default", "farms")
    )
    assert ours[1] - ours[0] > 1.0
    assert abs(theirs[1] - theirs[0]) < 0.1


def test_circuits_are_the_same_by_every_profile(llama: Path) -> None:
    """Windows are computed in the same thread's buffers as the Gram matrices that the circuits use."""
    found = [
        analyze(llama, options=AnalysisOptions(profile=profile, null=False)).circuits
        for profile in ("default", "farms")
    ]
    assert found[0] and found[0] == found[1]


def test_non_finite_windows_are_no_numbers() -> None:
    assert np.isnan(windows.pooled_eigenvalues(Stored(np.full((8, 12), np.nan), "float64"))).all()
    W = np.random.default_rng(0).standard_normal((10, 12))
    W[0, 0] = np.inf
    (row,) = run({"w": W}, "farms").matrices
    assert row.status == "non_finite" and row.values["alpha_hill_status"] == "non_finite"


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "default"])
def test_quirks_are_named_in_the_output(profile: str) -> None:
    analysis = run({"w": synthetic()["w1"]}, profile, null=True)
    assert analysis.provenance["conventions"]["profile"] == profile
    assert analysis.provenance["options"]["profile"] == profile
    assert any(note.startswith(f"Profile {profile}: ") and "log10(0.95 c)" in note for note in analysis.notes)
    (row,) = analysis.matrices
    known = {m.name for m in MATRIX_METRICS} | ({m.name for m in WEIGHTWATCHER_METRICS} if profile == WW else set())
    assert set(row.values) == known
    assert row.null["alpha_gof"].mean is not None
    assert row.null["alpha_fix_finger"].mean is None, "depends on the scale of the weights by a quirk"
    text = (ROOT / "docs" / "profiles.md").read_text()
    assert f"## `{profile}`" in text


def test_the_null_is_drawn_by_the_profile() -> None:
    """The null of Hill with the self-term and of windows is near what such a random matrix gives."""
    W = np.random.default_rng(5).standard_normal((64, 256))
    for profile in ("alphadecay", "farms"):
        (row,) = run({"w": W}, profile, null=True).matrices
        assert abs(row.null["alpha_hill"].z) < 4
        assert row.null["alpha_hill"].mean == pytest.approx(row.values["alpha_hill"], rel=0.1)


def test_null_of_windows_is_cached_apart(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(5).standard_normal((16, 40))}
    first, default, again = (
        run(weights, profile, null=True, null_cache=tmp_path).matrices[0].null["alpha_hill"]
        for profile in ("farms", "default", "farms")
    )
    assert first == again != default


def test_unknown_profiles_and_options_without_effect_are_refused() -> None:
    with pytest.raises(SpectraError, match=r"Did you mean 'weightwatcher-0\.7\.7'\? Available: default, weightwatcher"):
        AnalysisOptions(profile="weightwatcher")
    with pytest.raises(SpectraError, match="settles how fits are made"):
        AnalysisOptions(profile="alphadecay", fit=FitOptions(two_sided=True))
    with pytest.raises(SpectraError, match="settles how fits are made"):
        AnalysisOptions(profile="farms", uncertainty=True)
    with pytest.raises(SpectraError, match="has no fit hill"):
        AnalysisOptions(profile=WW, fit=FitOptions(fits=parse_fits("hill")))
    assert lookup("default").fits == {} and lookup("default").notes() == ()


def test_failures_are_statuses_where_the_peers_return_numbers() -> None:
    """All under WeightWatcher's threshold (there: alpha -1); constant; a tail of zeros."""
    flat = {
        "tiny": 1e-6 * np.random.default_rng(0).standard_normal((20, 30)),
        "eye": np.eye(12),
        "zero": np.zeros((9, 9)),
    }
    for profile in PROFILES:
        rows = {row.ref.name: row for row in run(flat, profile).matrices}
        for name in ("eye", "zero"):
            assert rows[name].values["alpha_gof"] is None and rows[name].values["alpha_gof_status"] == "degenerate"
    by_name = {row.ref.name: row for row in run(flat, WW).matrices}
    assert by_name["tiny"].values["alpha_gof_status"] == "no_tail"
    assert by_name["tiny"].values["alpha_fix_finger_status"] == "no_tail"
    low_rank = np.random.default_rng(0).standard_normal((20, 4)) @ np.random.default_rng(1).standard_normal((4, 30))
    (row,) = run({"w": low_rank}, "alphadecay").matrices
    assert row.values["alpha_hill"] is None and row.values["alpha_hill_status"] == "degenerate"
