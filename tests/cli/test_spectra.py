"""`spectra` as a user runs it: output, exit codes, bad input, interruption."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.results import read_json
from tests.spectra.conftest import LLAMA_CONFIG, llama_tensors

ROOT = Path(__file__).resolve().parents[2]
RUN = (sys.executable, "-c", "from spectra_cli.spectra_app import main; main()")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "SPECTRA_CACHE_DIR": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hf"),
        "COLUMNS": "160",
        "PYTHONWARNINGS": "error",
        "NO_COLOR": "1",
    }


def spectra(env: dict[str, str], *args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [*RUN, *(str(a) for a in args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd or ROOT, timeout=120, check=False)


def refused(found: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, one message on stderr that says all of `words`, no traceback, nothing on stdout."""
    assert found.returncode == 2, found
    assert "Traceback" not in found.stderr
    assert found.stdout == ""
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1, found.stderr
    for word in words:
        assert word in found.stderr, found.stderr


def test_analyze_prints_and_writes(env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    found = spectra(
        env, "analyze", ckpt, "--out", out, "--csv", tmp_path / "a.csv", "--parquet", tmp_path / "a.parquet", "--full"
    )
    assert found.returncode == 0, found.stderr
    analysis = read_json(out)
    assert len(analysis.matrices) == 15 and len(analysis.circuits) == 16
    for words in (
        "15 matrices",
        "embed",
        "W_QK, mean of 8 heads",
        "coverage: 18 tensors",
        f"wrote {out}",
        "model.layers.1.mlp.up_proj.weight",
    ):
        assert words in found.stdout, found.stdout
    assert {p.name for p in tmp_path.iterdir()} >= {"a.json", "a.csv", "a.circuits.csv", "a.coverage.parquet"}
    assert not list(tmp_path.glob("*.partial.jsonl")) and not list(tmp_path.glob(".*tmp"))
    # A number that is printed is a number that is in the JSON.
    q = [r.values["alpha_hill"] for r in analysis.matrices if r.ref.role == "q"]
    line = next(line for line in found.stdout.splitlines() if line.startswith("q "))
    assert f"{np.median([float(x) for x in q if x is not None]):.2f}" in line.split()


def test_help_is_fast_and_complete(env: dict[str, str]) -> None:
    found = spectra(env, "analyze", "--help")
    assert found.returncode == 0
    for option in (
        "--out",
        "--device",
        "--workers",
        "--fit",
        "--include",
        "--uncertainty",
        "--base",
        "--strict",
        "--resume",
    ):
        assert option in found.stdout


def test_strict(env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
    assert spectra(env, "analyze", ckpt, "--strict", "--quiet").returncode == 0
    tensors = llama_tensors()
    tensors["model.layers.0.mlp.up_proj.weight"][:] = 0
    save_file(tensors, ckpt / "model.safetensors")
    failed = spectra(env, "analyze", ckpt, "--strict", "--quiet")
    assert failed.returncode == 1 and "degenerate" in failed.stderr
    assert spectra(env, "analyze", ckpt, "--quiet").returncode == 0
    packed = tmp_path / "packed"
    packed.mkdir()
    save_file(
        {"a.qweight": np.ones((8, 8), np.int32), "b.weight": np.eye(16, 20, dtype=np.float32) + 1},
        packed / "model.safetensors",
    )
    skipped = spectra(env, "analyze", packed, "--strict", "--quiet")
    assert skipped.returncode == 1 and "a.qweight" in skipped.stderr and "packed" in skipped.stderr


class TestBadInput:
    """Every bad input of the issue: one message, exit code 2, nothing lost."""

    def test_missing_path(self, env: dict[str, str]) -> None:
        refused(spectra(env, "analyze", "/no/such/checkpoint"), "/no/such/checkpoint")

    def test_empty_directory(self, env: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        refused(spectra(env, "analyze", tmp_path / "empty"), "empty")

    @pytest.mark.parametrize("cut", [4, 100, 5000])
    def test_truncated(self, env: dict[str, str], ckpt: Path, cut: int) -> None:
        file = ckpt / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-5000] if cut == 5000 else file.read_bytes()[:cut])
        refused(spectra(env, "analyze", ckpt), "model.safetensors")

    def test_bit_flipped_header(self, env: dict[str, str], ckpt: Path) -> None:
        file = ckpt / "model.safetensors"
        raw = bytearray(file.read_bytes())
        at = raw.index(b"data_offsets", raw.index(b"mlp.up_proj")) + 15
        raw[at] ^= 1
        file.write_bytes(raw)
        refused(spectra(env, "analyze", ckpt), "model.safetensors", "tensor '")

    def test_index_names_a_missing_shard_or_one_outside(self, env: dict[str, str], ckpt: Path) -> None:
        index = ckpt / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"w": "model-00001-of-00002.safetensors"}}))
        refused(spectra(env, "analyze", ckpt), "model-00001-of-00002.safetensors")
        index.write_text(json.dumps({"weight_map": {"w": "../../etc/model.safetensors"}}))
        refused(spectra(env, "analyze", ckpt), "../../etc/model.safetensors")

    def test_pickle_that_wants_to_run_code(self, env: dict[str, str], tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[object, ...]:
                return (os.system, (f"touch {tmp_path / 'executed'}",))

        (tmp_path / "evil.bin").write_bytes(pickle.dumps({"w": Evil()}))
        refused(spectra(env, "analyze", tmp_path / "evil.bin"), "evil.bin", "not")
        import zipfile

        with zipfile.ZipFile(tmp_path / "evil.pt", "w") as z:
            z.writestr("archive/data.pkl", pickle.dumps({"w": Evil()}, protocol=2))
            z.writestr("archive/version", "3\n")
        refused(spectra(env, "analyze", tmp_path / "evil.pt"), "evil.pt")
        assert not (tmp_path / "executed").exists()

    def test_gguf_of_an_unknown_type(self, env: dict[str, str], tmp_path: Path) -> None:
        import gguf

        path = tmp_path / "x.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tensor("blk.0.attn_q.weight", np.ones((32, 32), np.float32))
        for step in (
            writer.write_header_to_file,
            writer.write_kv_data_to_file,
            writer.write_tensors_to_file,
            writer.close,
        ):
            step()
        raw = bytearray(path.read_bytes())
        at = raw.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4 + 16
        raw[at : at + 4] = (200).to_bytes(4, "little")
        path.write_bytes(raw)
        refused(spectra(env, "analyze", path), "x.gguf", "200")

    def test_only_an_optimizer(self, env: dict[str, str], tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        (tmp_path / "opt").mkdir()
        layer = torch.nn.Linear(3, 3)
        torch.save(torch.optim.AdamW(layer.parameters()).state_dict(), tmp_path / "opt" / "optimizer.pt")
        refused(spectra(env, "analyze", tmp_path / "opt"), "optimizer")
        refused(spectra(env, "analyze", tmp_path / "opt" / "optimizer.pt"), "optimizer")

    def test_hub_id_without_network(self, env: dict[str, str]) -> None:
        closed = env | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        refused(spectra(closed, "analyze", "org/model", "--quiet"), "org/model", "local")

    def test_glob_that_matches_nothing(self, env: dict[str, str], ckpt: Path) -> None:
        refused(spectra(env, "analyze", ckpt, "--include", "*attention*"), "*attention*", "none of the 15")

    def test_out_that_cannot_be_written(self, env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
        refused(spectra(env, "analyze", ckpt, "--out", tmp_path / "no" / "a.json"), "a.json", "does not exist")
        refused(spectra(env, "analyze", ckpt, "--csv", tmp_path), "directory")
        (tmp_path / "old.json").write_text("old")
        refused(spectra(env, "analyze", "/no/such", "--out", tmp_path / "old.json"))
        assert (tmp_path / "old.json").read_text() == "old"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_out_without_permission(self, env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)
        refused(spectra(env, "analyze", ckpt, "--out", tmp_path / "locked" / "a.json"), "ermission")

    def test_options_that_make_no_sense(self, env: dict[str, str], ckpt: Path) -> None:
        refused(spectra(env, "analyze", ckpt, "--fit", "hill,zipf"), "zipf", "Available")
        refused(spectra(env, "analyze", ckpt, "--resume"), "--out")
        refused(spectra(env, "analyze", ckpt, "--device", "cuda:7"), "cuda:7")
        refused(spectra(env, "analyze", ckpt, "--base", ckpt), "LoRA")
        assert spectra(env, "analyze", ckpt, "--workers", "-1").returncode == 2
        assert spectra(env, "analyze", ckpt, "--no-such-option").returncode == 2

    def test_debug_shows_the_traceback(self, env: dict[str, str]) -> None:
        found = spectra(env, "analyze", "/no/such", "--debug")
        assert found.returncode == 2 and "Traceback" in found.stderr

    def test_outputs_that_collide_or_cannot_be_written(self, env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
        refused(
            spectra(env, "analyze", ckpt, "--out", tmp_path / "c.json", "--csv", tmp_path / "c.json"), "c.json", "twice"
        )
        (tmp_path / "d.circuits.csv").mkdir()
        refused(spectra(env, "analyze", ckpt, "--csv", tmp_path / "d.csv"), "d.circuits.csv", "directory")

    def test_outputs_never_replace_the_checkpoint(self, env: dict[str, str], ckpt: Path) -> None:
        before = {p.name: p.read_bytes() for p in ckpt.iterdir()}
        file = ckpt / "model.safetensors"
        refused(spectra(env, "analyze", file, "--out", file), "model.safetensors", "part of the checkpoint")
        refused(spectra(env, "analyze", ckpt, "--csv", file), "model.safetensors")
        refused(spectra(env, "analyze", ckpt, "--out", ckpt / "config.json"), "config.json")
        assert {p.name: p.read_bytes() for p in ckpt.iterdir()} == before
        for _ in range(2):  # an analysis beside the weights, and written again
            assert (
                spectra(env, "analyze", ckpt, "--out", ckpt / "analysis.json", "--csv", ckpt / "a.csv").returncode == 0
            )


def test_explain(env: dict[str, str]) -> None:
    listed = spectra(env, "explain")
    assert listed.returncode == 0 and "alpha_fix_finger_stderr" in listed.stdout and "bootstrap_p" in listed.stdout
    one = spectra(env, "explain", "pseudo_rank")
    assert "0.95" in one.stdout and "attention circuits" in one.stdout and "careful" in one.stdout
    refused(spectra(env, "explain", "alpha_hil"), "alpha_hil", "'alpha_hill'")


def test_track(env: dict[str, str], tmp_path: Path) -> None:
    for step in (100, 200, 300):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file({n: v * np.float32(step) for n, v in llama_tensors().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    paths = sorted(tmp_path.glob("checkpoint-*"), reverse=True)
    found = spectra(env, "track", *paths, "--out", tmp_path / "t.json")
    assert found.returncode == 0, found.stderr
    assert "3 checkpoints, step 100 to 300" in found.stdout and "▁▅█" in found.stdout and "W_QK" in found.stdout
    assert json.loads((tmp_path / "t.json").read_text())["steps"] == [100, 200, 300]
    again = spectra(env, "track", *paths, "--out", tmp_path / "t.json", "--layers", "1")
    assert again.stderr.count("analysed before") == 3
    refused(spectra(env, "track", *paths, "--quiet", "--steps", "1,2,x"), "1,2,x")
    refused(spectra(env, "track", paths[0], "--quiet"), "at least two")


def test_plot(env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
    assert spectra(env, "analyze", ckpt, "--out", tmp_path / "a.json", "--quiet").returncode == 0
    found = spectra(env, "plot", tmp_path / "a.json", "--out", tmp_path / "figures", "--format", "svg")
    assert found.returncode == 0, found.stderr
    assert {"alpha.svg", "heatmap.svg", "circuits.svg", "norms.svg"} <= {
        p.name for p in (tmp_path / "figures").iterdir()
    }
    refused(spectra(env, "plot", tmp_path / "no.json", "--out", tmp_path / "f"), "no.json")
    refused(
        spectra(env, "plot", tmp_path / "a.json", "--out", tmp_path / "f", "--format", "gif"), "gif", "pdf, svg, png"
    )


def test_compare(env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
    tensors = llama_tensors()
    rng = np.random.default_rng(1)
    step = rng.standard_normal((48, 2)) @ rng.standard_normal((2, 32))
    tensors["model.layers.1.mlp.up_proj.weight"] += step.astype(np.float32)
    other = tmp_path / "other"
    other.mkdir()
    save_file(tensors, other / "model.safetensors")
    (other / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    found = spectra(env, "compare", ckpt, other, "--out", tmp_path / "c.json", "--full")
    assert found.returncode == 0, found.stderr
    assert "1 of 15 matrices changed" in found.stdout and "low-rank" in found.stdout
    made = json.loads((tmp_path / "c.json").read_text())
    ranks = {pair["name_a"]: pair["update"]["rank"] for pair in made["pairs"]}
    assert ranks.pop("model.layers.1.mlp.up_proj.weight") == 2 and set(ranks.values()) == {0}
    for folder, name in ((ckpt, "a.json"), (other, "b.json")):
        assert spectra(env, "analyze", folder, "--out", tmp_path / name, "--quiet").returncode == 0
    files = spectra(env, "compare", tmp_path / "a.json", tmp_path / "b.json")
    assert files.returncode == 0 and "changed" not in files.stdout
    refused(spectra(env, "compare", ckpt, "/no/such", "--quiet"), "/no/such")
    refused(spectra(env, "compare", ckpt, other, "--out", ckpt / "config.json"), "config.json")


def test_a_reader_that_leaves_is_no_error(env: dict[str, str], ckpt: Path) -> None:
    command = f"{sys.executable} -c 'from spectra_cli.spectra_app import main; main()' analyze {ckpt} --full --quiet | head -n 1"
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=env, cwd=ROOT, check=False
    )
    assert found.returncode == 0 and found.stderr == "" and found.stdout.startswith("matrix")


def test_a_stream_gets_the_json(env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    assert spectra(env, "analyze", ckpt, "--out", tmp_path / "pipe", "--quiet").returncode == 0
    assert json.loads(reader.communicate(timeout=30)[0])["schema_version"] == 1
    assert (tmp_path / "pipe").is_fifo()


def interruptible(command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Begun so that it hears SIGINT, also where the tests run in the background of a shell, which has it ignored.

    A file that was opened in the very moment of the interruption has no owner yet, and is closed by the collector:
    that is no fault to be reported here, so its warning is left out.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    quiet = env | {"PYTHONWARNINGS": env["PYTHONWARNINGS"] + ",ignore::ResourceWarning"}
    try:
        return subprocess.Popen(command, env=quiet, cwd=ROOT, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)


def test_interrupt_does_not_wait_for_lapack(env: dict[str, str], tmp_path: Path) -> None:
    W = np.random.default_rng(0).standard_normal((3500, 3500)).astype(np.float32)  # several seconds in one call
    save_file({"w.weight": W}, tmp_path / "w.safetensors")
    command = [*RUN, "analyze", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "a.json")]
    process = interruptible(command, env)
    journal = tmp_path / "a.json.partial.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not journal.exists() or "digest" not in journal.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)  # the matrix is read; its worker is in the Gram matrix or the eigensolver
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and b"interrupted" in stderr


def test_interrupt_and_resume(env: dict[str, str], tmp_path: Path) -> None:
    """SIGINT in the middle: exit code 130, what was finished is kept, --resume ends with the same numbers."""
    folder = tmp_path / "big"
    folder.mkdir()
    rng = np.random.default_rng(0)
    save_file(
        {f"layers.{i}.up_proj.weight": rng.standard_normal((500, 700)).astype(np.float32) for i in range(60)},
        folder / "model.safetensors",
    )
    out = tmp_path / "a.json"
    journal = tmp_path / "a.json.partial.jsonl"
    process = interruptible([*RUN, "analyze", str(folder), "--out", str(out), "--workers", "1"], env)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not journal.exists() or journal.read_text().count('{"matrix"') < 5):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in stderr
    assert not out.exists()
    kept = journal.read_text().count('{"matrix"')
    assert 5 <= kept < 60
    resumed = spectra(env, "analyze", folder, "--out", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert not journal.exists()
    whole = spectra(env, "analyze", folder, "--out", tmp_path / "b.json")
    assert whole.returncode == 0
    assert read_json(out).matrices == read_json(tmp_path / "b.json").matrices


def test_several_checkpoints_one_after_the_other(env: dict[str, str], ckpt: Path, tmp_path: Path) -> None:
    found = spectra(env, "analyze", ckpt, ckpt, "--quiet", "--no-null")
    assert found.returncode == 0 and found.stdout.count("coverage:") == 2
    refused(spectra(env, "analyze", ckpt, ckpt, "--out", tmp_path / "a.json"), "one checkpoint, got 2")
