"""The cache of prepared corpora: used when whole, made again when damaged, safe when several want it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alphadecay import data, data_cache, data_files
from alphadecay.data import DataConfig, prepare
from spectra.errors import SpectraError

pytest.importorskip("transformers")

CONFIG = DataConfig(max_tokens=20_000, window=32)


def _cut(folder: Path) -> None:
    path = folder / "train.tokens"
    path.write_bytes(path.read_bytes()[:-10])


def _flip(folder: Path) -> None:
    path = folder / "train.tokens"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def _no_marker(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _half_marker(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").unlink()


def test_second_time_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(CONFIG, tmp_path)
    monkeypatch.setattr(data, "_build", None)
    said: list[str] = []
    again = prepare(CONFIG, tmp_path, message=said.append)
    assert said == [f"tokenised before: {first.facts()['train']['tokens']:,} training tokens from the cache"]
    assert again.facts() == first.facts()
    assert again.tokenizer("Tom")["input_ids"] == first.tokenizer("Tom")["input_ids"]


@pytest.mark.parametrize("damage", [_cut, _flip, _no_marker, _half_marker, _no_tokenizer])
def test_damage_is_seen_and_mended(damage: Callable[[Path], None], tmp_path: Path) -> None:
    first = prepare(CONFIG, tmp_path)
    whole = (first.folder / "train.tokens").read_bytes()
    damage(first.folder)
    said: list[str] = []
    again = prepare(CONFIG, tmp_path, message=said.append)
    assert said[0] == "the cache of this corpus is damaged; making it again"
    assert again.fingerprint == first.fingerprint
    assert (again.folder / "train.tokens").read_bytes() == whole
    assert not list(tmp_path.glob("*.tmp"))


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(data.Builder, "close", interrupted)
        prepare(CONFIG, tmp_path)
    assert not list(tmp_path.glob("corpus-*/"))
    assert not list(tmp_path.glob("*.tmp"))
    assert len(prepare(CONFIG, tmp_path).train) > 0


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    first = prepare(CONFIG, tmp_path)
    left = tmp_path / f"{first.folder.name}.123.456.tmp"
    left.mkdir()
    _no_marker(first.folder)
    prepare(CONFIG, tmp_path)
    assert not left.exists()


def test_several_processes_tokenise_once(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom alphadecay.data import DataConfig, prepare\n"
        "said = []\n"
        f"found = prepare(DataConfig(max_tokens=20_000, window=32), Path({str(tmp_path)!r}), message=said.append)\n"
        "print(found.fingerprint, sum('training a tokenizer' in s for s in said))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate()[0].split() for process in running]
    assert {process.returncode for process in running} == {0}
    assert len({fingerprint for fingerprint, _ in told}) == 1
    assert sum(int(n) for _, n in told) == 1


def test_without_a_lock_the_first_rename_wins(tmp_path: Path) -> None:
    folder = tmp_path / "corpus-x"

    def write(name: str) -> Callable[[Path], dict[str, object]]:
        def fill(staged: Path) -> dict[str, object]:
            if name == "slow":  # while it writes, another process publishes
                data_cache.fill(folder, write("quick"))
            (staged / "a").write_text(name, encoding="utf-8")
            return {"by": name}

        return fill

    assert data_cache.fill(folder, write("slow"))["by"] == "quick"
    assert (folder / "a").read_text(encoding="utf-8") == "quick"
    assert not list(tmp_path.glob("*.tmp"))


def test_large_files_are_looked_at_in_places(tmp_path: Path) -> None:
    path = tmp_path / "large"
    size = 100 * 2**20
    with path.open("wb") as f:
        f.truncate(size)
    first = data_cache.spot_hash(path)
    for place in (0, size - 1):
        with path.open("rb+") as f:
            f.seek(place)
            f.write(b"x")
        assert data_cache.spot_hash(path) != first
        first = data_cache.spot_hash(path)


def test_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALPHADECAY_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_cache.default_directory() == tmp_path / "alphadecay"
    monkeypatch.setenv("ALPHADECAY_CACHE_DIR", str(tmp_path / "own"))
    assert data_cache.default_directory() == tmp_path / "own"
    prepare(CONFIG)
    assert list((tmp_path / "own").glob("corpus-*/manifest.json"))


def test_a_whole_cache_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared clusters mount prepared corpora read-only."""
    text = tmp_path / "a.txt"
    text.write_text("\n\n".join(f"This is sentence number {i}." for i in range(400)), encoding="utf-8")
    config = DataConfig(source=str(text), window=32, validation=0.2)
    first = prepare(config, tmp_path / "c")
    (tmp_path / "c" / "notes").rename(tmp_path / "gone")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(data_files, "write_text", refuse)
    assert prepare(config, tmp_path / "c").fingerprint == first.fingerprint


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SpectraError, match=r"Cannot write the token cache .* Set ALPHADECAY_CACHE_DIR"):
        prepare(CONFIG, tmp_path / "file")
