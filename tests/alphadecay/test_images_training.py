"""Image training through `alphadecay.train.train`: learns, resumes bit for bit, saves what Hugging Face loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alphadecay import saves
from alphadecay.config import DecayConfig, ImageConfig, ModelConfig, Recipe, TrainConfig
from alphadecay.train import train
from spectra.errors import SpectraError

COLOURS = {"blue": (20, 20, 220), "green": (20, 220, 20), "red": (220, 20, 20)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on several threads, far slower where the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def squares(root: Path, per_class: int, seed: int) -> None:
    """One folder a class: a square of its colour on noise, 20 to 27 pixels a side."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            height, width = rng.integers(20, 28, 2)
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            pixels[4:16, 4:16] = colour
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("squares")
    squares(root / "train", 8, 0)
    squares(root / "validation", 5, 1)
    return root


def recipe(folder: Path, **training: Any) -> Recipe:
    settings = {
        "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2, "image_size": 16,
        "patch_size": 4, "num_labels": 3,
    }  # fmt: skip
    config: dict[str, Any] = {
        "steps": 6, "batch_size": 8, "micro_batch": 4, "optimizer": "adam", "lr": 1e-3, "ema": 0.9, "drop_path": 0.2,
        "eval_every": 0, "eval_windows": 15, "save_every": 3, "log_every": 3, "schedule": "constant", "warmup": 0.0,
    } | training  # fmt: skip
    return Recipe(
        name="squares",
        model=ModelConfig(family="vit", settings=settings),
        images=ImageConfig(source=str(folder), size=16, crop=0.5, mixup=0.8),
        train=TrainConfig(**config),
        decay=DecayConfig(policy="alphadecay", base=1e-4, gap=2),
    )


def tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path / "model.safetensors")


def test_resume_is_bit_for_bit_the_straight_run(folder: Path, tmp_path: Path) -> None:
    wanted = recipe(folder)
    straight = train(wanted, tmp_path / "straight")
    train(wanted, tmp_path / "resumed")
    saves._discard(tmp_path / "resumed" / "checkpoint-6")
    resumed = train(wanted, tmp_path / "resumed", resume=True)
    for part in ("", "ema"):
        first, second = tensors(straight.checkpoint / part), tensors(resumed.checkpoint / part)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), part
    middle = tensors(tmp_path / "straight" / "checkpoint-3")
    assert not any(
        torch.equal(middle[name], value) for name, value in tensors(straight.checkpoint).items() if "query" in name
    )
    assert resumed.eval_metrics == straight.eval_metrics
    assert straight.eval_metrics["eval_images"] == 15
    assert straight.eval_metrics["eval_loss"] != straight.eval_metrics["eval_raw_loss"]


def test_alphadecay_decays_the_layers_matrices(folder: Path, tmp_path: Path) -> None:
    train(recipe(folder, steps=3, eval_windows=0), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "decay.jsonl").read_text().splitlines()]
    found = {row["module"] for row in rows if "module" in row}
    roles = ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2")
    assert found == {f"vit.layers.{layer}.{role}.weight" for layer in (0, 1) for role in roles}


def test_learns_and_loads_with_hugging_face(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    made = recipe(folder, steps=20, lr=2e-3, save_every=0, drop_path=0.1)
    said: list[str] = []
    result = train(replace(made, decay=DecayConfig(policy="none")), tmp_path, message=said.append)
    assert result.eval_metrics["eval_accuracy"] > 0.6
    assert any("accuracy" in line for line in said)
    for folder_of, prefix in ((result.checkpoint, "eval_raw_"), (result.checkpoint / "ema", "eval_")):
        model: Any = AutoModelForImageClassification.from_pretrained(folder_of)
        processor: Any = AutoImageProcessor.from_pretrained(folder_of)
        paths = sorted((folder / "validation").rglob("*.png"))
        batch = processor([Image.open(path) for path in paths], return_tensors="pt")
        with torch.no_grad():
            found = model.eval()(**batch).logits.argmax(1)
        right = [
            model.config.id2label[int(label)] == path.parent.name for label, path in zip(found, paths, strict=True)
        ]
        assert np.mean(right) == pytest.approx(result.eval_metrics[f"{prefix}accuracy"])
    facts = json.loads((tmp_path / "data.json").read_text())
    assert facts["classes"] == 3
    assert str(folder) not in json.dumps(facts)


def test_micro_batches_of_a_step_make_one_gradient(folder: Path, tmp_path: Path) -> None:
    """Without mixup, whose pairs are within a micro batch, a step is the same however it is cut."""
    made = replace(recipe(folder, steps=2, eval_windows=0), decay=DecayConfig(policy="none"))
    assert made.images is not None
    made = replace(made, images=replace(made.images, mixup=0.0))
    whole = train(replace(made, train=replace(made.train, micro_batch=8)), tmp_path / "whole")
    parts = train(replace(made, train=replace(made.train, micro_batch=2)), tmp_path / "parts")
    first, second = tensors(whole.checkpoint), tensors(parts.checkpoint)
    assert all(torch.allclose(first[name], second[name], atol=2e-5) for name in first)


def test_train_without_validation_split(folder: Path, tmp_path: Path) -> None:
    made = recipe(folder, steps=1, eval_every=1)
    assert made.images is not None
    made = replace(made, images=replace(made.images, source=str(folder / "train"), validation_split=None))
    result = train(made, tmp_path)
    assert result.eval_loss is None


def test_resume_without_averages_is_refused(folder: Path, tmp_path: Path) -> None:
    made = recipe(folder, steps=1, ema=None, eval_windows=0)
    train(made, tmp_path)
    with pytest.raises(SpectraError, match="has no folder ema"):
        train(replace(made, train=replace(made.train, ema=0.9, steps=2)), tmp_path, resume=True)


@pytest.mark.slow
def test_two_processes_make_the_same_run(folder: Path, tmp_path: Path) -> None:
    """Augmentation, mixup pairs and drop path belong to images and micro batches, not to processes."""
    root = Path(__file__).resolve().parents[2]
    script = tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\n"
        "from alphadecay.train import train\n"
        "from tests.alphadecay.test_images_training import recipe\n"
        f"train(recipe(Path({str(folder)!r})), Path({str(tmp_path / 'two')!r}))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one = train(recipe(folder), tmp_path / "one")
    written = json.loads((tmp_path / "two" / "result.json").read_text())
    assert written["provenance"]["processes"] == 2
    assert written["eval_loss"] == pytest.approx(one.eval_loss, rel=1e-5)
    for part in ("", "ema"):
        first, second = tensors(one.checkpoint / part), tensors(tmp_path / "two" / "checkpoint-6" / part)
        assert all(torch.allclose(first[name], second[name], atol=2e-5) for name in first)
