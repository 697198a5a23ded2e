"""Which file of a folder is the model, and what is said where that cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spectra.checkpoint import open_checkpoint
from spectra.errors import CheckpointError


def safetensors(path: Path, value: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.full((2,), value)}, path)


def value(source: Path) -> float:
    return float(open_checkpoint(source).read("w").decode()[0])


def message(source: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(source)
    return str(caught.value)


def test_preferences(tmp_path: Path) -> None:
    torch.save({"w": torch.full((2,), 4.0)}, tmp_path / "other.pt")
    torch.save({"anything": 1}, tmp_path / "optimizer.pt")
    torch.save({"anything": 1}, tmp_path / "rng_state_0.pth")
    torch.save({"anything": 1}, tmp_path / "training_args.bin")
    assert value(tmp_path) == 4
    torch.save({"w": torch.full((2,), 3.0)}, tmp_path / "pytorch_model.bin")
    assert value(tmp_path) == 3
    safetensors(tmp_path / "weights.safetensors", 2.0)
    assert value(tmp_path) == 2
    safetensors(tmp_path / "model.safetensors", 1.0)
    assert value(tmp_path) == 1


def test_adapter_weights_without_their_config(tmp_path: Path) -> None:
    safetensors(tmp_path / "adapter_model.safetensors", 5.0)
    assert "adapter_model.safetensors: has no adapter_config.json" in message(tmp_path)
    safetensors(tmp_path / "model.safetensors", 1.0)
    assert value(tmp_path) == 1


def test_several_candidates(tmp_path: Path) -> None:
    safetensors(tmp_path / "a.safetensors")
    safetensors(tmp_path / "b.safetensors")
    said = message(tmp_path)
    assert "a.safetensors, b.safetensors" in said
    assert "name one of them" in said


def test_incomplete_shards_without_an_index(tmp_path: Path) -> None:
    safetensors(tmp_path / "model-00002-of-00003.safetensors")
    assert "2 of 3 shards are missing (model-00001-of-00003.safetensors" in message(tmp_path)


def test_folders_without_a_model(tmp_path: Path) -> None:
    assert "is an empty folder" in message(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "holds no weights (it has notes.txt)" in message(tmp_path)
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimizer.pt")
    assert "an optimizer's state (optimizer.pt)" in message(tmp_path)
    (tmp_path / "checkpoint-200").mkdir()
    (tmp_path / "checkpoint-1000").mkdir()
    said = message(tmp_path)
    assert "2 checkpoints of a training run" in said
    assert said.endswith("checkpoint-1000.")


@pytest.mark.parametrize("folder", [".", "pytorch_model_fsdp_0"])
def test_distributed_checkpoint(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "__0_0.distcp").write_bytes(b"x")
    assert "dcp_to_torch" in message(tmp_path)
    assert "dcp_to_torch" in message(tmp_path / folder / "__0_0.distcp")


def test_config_beside_the_file(tmp_path: Path) -> None:
    safetensors(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    assert open_checkpoint(tmp_path / "model.safetensors").config == {"model_type": "x"}
    assert open_checkpoint(tmp_path, config={"a": 1}).config == {"a": 1}
    (tmp_path / "config.json").write_text("[1]")
    assert "config.json: expected a JSON object, got list" in message(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "config.json: not valid JSON" in message(tmp_path)


def test_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    monkeypatch.chdir(tmp_path)
    opened = open_checkpoint("model.safetensors")
    assert opened.config == {"model_type": "x"}
    assert opened.files == {"model.safetensors": (tmp_path / "model.safetensors").stat().st_size}
    assert open_checkpoint(".").read("w").decode().tolist() == [1, 1]


def test_extensionless_files_by_their_first_bytes(tmp_path: Path) -> None:
    safetensors(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "blob")
    assert value(tmp_path / "blob") == 1
    (tmp_path / "text").write_text("hello world")
    assert "unknown kind of file" in message(tmp_path / "text")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pytorch_model.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "pytorch_model.bin: is a git-lfs pointer" in message(tmp_path / "bin")


def test_no_such_thing(tmp_path: Path) -> None:
    assert "no such file or directory; check the path" in message(tmp_path / "nothing")
    assert "a hub id looks like org/name" in message("gpt2-not-here")
    assert "no such file or directory" in message("a\0b")
    assert "cannot be read" in message("x" * 5000 + ".bin")
    assert "no such file or directory" in message("runs/model.safetensors")


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "permission denied" in message(tmp_path)
