"""`spectra report` and --html of `analyze`, `compare` and `track` as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = (sys.executable, "-W", "error", "-c", "from spectra_cli.spectra_app import main; main()")


def spectra(*args: object) -> subprocess.CompletedProcess[str]:
    command = [*RUN, *(str(a) for a in args)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False, env=dict(os.environ)
    )


def test_the_same_page_with_and_without_the_checkpoint(ckpt: Path, tmp_path: Path) -> None:
    out, first, second = tmp_path / "a.json", tmp_path / "1.html", tmp_path / "2.html"
    found = spectra("analyze", ckpt, "--out", out, "--html", first, "--quiet")
    assert found.returncode == 0 and f"wrote {first}" in found.stdout, found
    (ckpt / "model.safetensors").unlink()
    found = spectra("report", out, "--html", second)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"wrote {second}\n", "")
    assert first.read_bytes() == second.read_bytes()


def test_bad_input_is_one_message(ckpt: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    assert spectra("analyze", ckpt, "--out", out, "--quiet").returncode == 0
    before = out.read_bytes()
    for args, words in (
        (("report", out, "--html", out), "written twice"),
        (("report", tmp_path / "none.json", "--html", tmp_path / "r.html"), "Cannot read"),
        (("report", out, "--html", tmp_path / "no" / "r.html"), "does not exist"),
        (("report", ckpt / "config.json", "--html", tmp_path / "r.html"), "schema version"),
        (("analyze", ckpt, "--html", ckpt / "config.json", "--quiet"), "part of the checkpoint"),
        (("analyze", ckpt, "--html", out, "--out", out, "--quiet"), "written twice"),
    ):
        found = spectra(*args)
        assert found.returncode == 2 and found.stderr.startswith("error: ") and words in found.stderr, found
        assert found.stderr.count("\n") == 1 and found.stdout == ""
    assert out.read_bytes() == before and not (tmp_path / "r.html").exists()


def refused(args: tuple[object, ...], words: str) -> None:
    found = spectra(*args)
    assert found.returncode == 2 and found.stderr.startswith("error: ") and words in found.stderr, found
    assert found.stderr.count("\n") == 1 and found.stdout == ""


def test_compare(ckpt: Path, tmp_path: Path) -> None:
    other, out, first, second = tmp_path / "other", tmp_path / "c.json", tmp_path / "1.html", tmp_path / "2.html"
    shutil.copytree(ckpt, other)
    found = spectra("compare", ckpt, other, "--out", out, "--html", first, "--quiet")
    assert found.returncode == 0 and f"wrote {out}\nwrote {first}\n" in found.stdout, found
    again = spectra("compare", ckpt, other, "--html", second, "--quiet")
    assert again.returncode == 0 and "spectra comparison" in second.read_text(encoding="utf-8")
    found = spectra("report", out, "--html", second)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"wrote {second}\n", "")
    assert first.read_bytes() == second.read_bytes()
    refused(("compare", ckpt, other, "--html", ckpt / "config.json", "--quiet"), "part of the checkpoint")
    refused(("compare", ckpt, other, "--html", other / "config.json", "--quiet"), "part of the checkpoint")
    refused(("compare", ckpt, other, "--html", out, "--out", out, "--quiet"), "written twice")
    refused(("compare", ckpt, other, "--html", tmp_path / "no" / "c.html", "--quiet"), "does not exist")
    out.write_text(out.read_text(encoding="utf-8").replace('"values_a"', '"values"'), encoding="utf-8")
    refused(("report", out, "--html", second), "no comparison")


def test_track(ckpt: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"checkpoint-{step}" for step in (10, 20, 30)]
    out, first, second = tmp_path / "t.json", tmp_path / "1.html", tmp_path / "2.html"
    for path in paths:
        shutil.copytree(ckpt, path)
    found = spectra("track", *paths, "--out", out, "--html", first, "--quiet")
    assert found.returncode == 0 and f"wrote {out}\nwrote {first}\n" in found.stdout, found
    found = spectra("report", out, "--html", second)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"wrote {second}\n", "")
    assert first.read_bytes() == second.read_bytes()
    refused(("track", *paths, "--html", paths[1] / "config.json", "--quiet"), "part of the checkpoint")
    refused(("track", *paths, "--html", out, "--out", out, "--quiet"), "written twice")
    refused(("track", *paths, "--html", tmp_path, "--quiet"), "directory")
    out.write_text(out.read_text(encoding="utf-8").replace('"places"', '"place"'), encoding="utf-8")
    refused(("report", out, "--html", second), "no track")
