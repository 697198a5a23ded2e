"""Labelled images from folders and through `datasets`, what is refused, and how they are evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alphadecay.config import DecayConfig, ImageConfig, ModelConfig, Recipe, TrainConfig
from alphadecay.image_evaluate import evaluate
from alphadecay.image_items import EvaluationImages
from alphadecay.image_read import rgb
from alphadecay.image_source import open_images
from alphadecay.images import image_objective
from spectra.errors import SpectraError


def put(root: Path, counts: dict[str, int], suffix: str = ".png") -> None:
    """Flat images: folder -> how many."""
    for name, count in counts.items():
        for number in range(count):
            path = root / name / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (10, 12), (number, 100, 200)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, {"train/a": 3, "train/b": 4, "validation/a": 2, "validation/b": 2})
    return tmp_path


def found(root: Path, **fields: Any) -> Any:
    return open_images(ImageConfig(source=str(root), size=8, **fields), evaluate=True, say=lambda _: None)


def recipe(root: Path, **training: Any) -> Recipe:
    settings = {
        "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "image_size": 8,
        "patch_size": 4, "num_labels": 2,
    }  # fmt: skip
    given: dict[str, Any] = {"steps": 1, "batch_size": 4, "lr": 1e-3} | training
    return Recipe(
        name="images",
        model=ModelConfig(family="vit", settings=settings),
        images=ImageConfig(source=str(root), size=8),
        train=TrainConfig(**given),
        decay=DecayConfig(),
    )


def parquet(root: Path, label: Any = None, labels: tuple[Any, ...] = (0, 1, 2, 1)) -> Path:
    """A local data set in Parquet with an image column, as on the hub."""
    import datasets

    root.mkdir(exist_ok=True)
    pictures = [Image.new("RGB", (10, 12), (i, 100, 200)) for i in range(len(labels))]
    features = datasets.Features(
        {"image": datasets.Image(), "label": label or datasets.ClassLabel(names=["x", "y", "z"])}
    )
    made = datasets.Dataset.from_dict({"image": pictures, "label": list(labels)}, features=features)
    for split in ("train", "validation"):
        made.to_parquet(root / f"{split}-00000-of-00001.parquet")
    return root


@pytest.fixture(autouse=True)
def own_datasets_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")
    datasets.disable_progress_bars()


# ---------------------------------------------------------------- sources


def test_folder_of_splits(folder: Path) -> None:
    images = found(folder)
    assert images.classes == ("a", "b")
    assert images.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert images.validation.labels.tolist() == [0, 0, 1, 1]
    assert images.train.image(2).getpixel((0, 0)) == (2, 100, 200)
    assert str(folder.parent) not in str(images.identity)


def test_folder_without_splits_needs_no_validation_split(folder: Path) -> None:
    images = found(folder / "train", validation_split=None)
    assert len(images.train) == 7
    assert images.validation is None
    with pytest.raises(SpectraError, match=r"no splits 'train' and 'validation'; found a, b.*validation_split to null"):
        found(folder / "train")


def test_identity_follows_names_sizes_and_classes(folder: Path) -> None:
    before = found(folder).identity
    assert found(folder).identity == before
    (folder / "train/b/9.png").write_bytes((folder / "train/b/1.png").read_bytes())
    assert found(folder).identity != before


def test_parquet_through_datasets(tmp_path: Path) -> None:
    images = found(parquet(tmp_path / "set"))
    assert images.classes == ("x", "y", "z")
    assert images.train.labels.tolist() == images.validation.labels.tolist() == [0, 1, 2, 1]
    assert images.train.image(3).size == (10, 12)
    assert images.train.image(3).getpixel((0, 0)) == (3, 100, 200)
    assert images.identity["dataset"] == "set"


def test_hub_is_asked_at_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    local, asked = parquet(tmp_path / "set"), []
    load = datasets.load_dataset

    def instead(source: str, subset: Any, *, split: str, revision: str) -> Any:
        asked.append((source, subset, split, revision))
        return load(str(local), split=split)

    monkeypatch.setattr(datasets, "load_dataset", instead)
    config = ImageConfig(source="owner/set", subset="small", revision="0" * 40)
    images = open_images(config, evaluate=True, say=lambda _: None)
    assert asked == [("owner/set", "small", split, "0" * 40) for split in ("train", "validation")]
    assert images.identity == {"dataset": "owner/set", "subset": "small", "commit": "0" * 40}


def test_plain_numbers_as_labels_name_themselves(tmp_path: Path) -> None:
    import datasets

    images = found(parquet(tmp_path / "set", datasets.Value("int64")))
    assert images.classes == ("0", "1", "2")


# ---------------------------------------------------------------- refusals


def test_folder_with_no_images(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    with pytest.raises(SpectraError, match="holds no image: expected one folder a class"):
        found(tmp_path)


def test_class_without_images(folder: Path) -> None:
    (folder / "train" / "c").mkdir()
    with pytest.raises(SpectraError, match=r"class folder .*train/c holds no image"):
        found(folder, validation_split=None)


def test_splits_with_other_classes(folder: Path) -> None:
    put(folder, {"train/c": 1, "validation/d": 1})
    with pytest.raises(SpectraError, match=r"different class folders: .*validation lacks c; .*train lacks d"):
        found(folder)


def test_missing_splits(folder: Path) -> None:
    with pytest.raises(SpectraError, match="no split 'test'; found train, validation"):
        found(folder, validation_split="test")
    with pytest.raises(SpectraError, match="no split 'training'; found train, validation"):
        found(folder, split="training")


def test_images_without_class_folders(tmp_path: Path) -> None:
    put(tmp_path, {"train": 2})
    with pytest.raises(SpectraError, match="has no class folders"):
        found(tmp_path, validation_split=None)


def test_unreadable_images_are_named(folder: Path) -> None:
    images = found(folder)
    (folder / "train/a/0.png").write_bytes(b"not an image")
    with pytest.raises(SpectraError, match=r"train/a/0\.png is not an image"):
        images.train.image(0)
    put(folder, {"whole": 1}, ".jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "cut.jpg")
    (folder / "train/a/1.png").write_bytes((folder / "cut.jpg").read_bytes()[:1500])
    with pytest.raises(SpectraError, match=r"train/a/1\.png cannot be decoded \(.*truncated"):
        images.train.image(1)


@pytest.mark.parametrize("labels", [(0, 1, -1, 2), (0, 1, 2, -1)])
def test_label_outside_the_classes(tmp_path: Path, labels: tuple[int, ...]) -> None:
    import datasets

    place = labels.index(-1)
    with pytest.raises(SpectraError, match=f"Image {place} of the split 'train' has the label -1, expected 0 to 2"):
        found(parquet(tmp_path / "set", datasets.Value("int64"), labels))


def test_missing_field_names_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match=r"no field 'fine_label'; found image, label\. Set images\.label_field"):
        found(parquet(tmp_path / "set"), label_field="fine_label")
    with pytest.raises(SpectraError, match=r"no field 'img'; found image, label\. Set images\.image_field"):
        found(tmp_path / "set", image_field="img")


def test_fields_that_hold_something_else(tmp_path: Path) -> None:
    import datasets

    root = parquet(tmp_path / "set", datasets.Value("string"), ("cat", "dog", "cat", "dog"))
    with pytest.raises(SpectraError, match=r"'label' of .* expected whole numbers"):
        found(root)
    with pytest.raises(SpectraError, match=r"'label' of .* expected images"):
        found(root, image_field="label")


def test_missing_split_of_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="Cannot read the split 'test' of"):
        found(parquet(tmp_path / "set"), validation_split="test")


def test_unknown_source_and_options_without_effect(folder: Path) -> None:
    with pytest.raises(SpectraError, match="No images 'nowhere'"):
        open_images(ImageConfig(source="nowhere"), evaluate=True, say=lambda _: None)
    with pytest.raises(SpectraError, match=r"images\.revision = 'main' has no meaning"):
        found(folder, revision="main")
    with pytest.raises(SpectraError, match=r"images\.label_field = 'fine' has no meaning"):
        found(folder, label_field="fine")


def test_fewer_images_than_one_batch(folder: Path) -> None:
    with pytest.raises(SpectraError, match="There are 7 training images, fewer than one batch of 8"):
        image_objective(recipe(folder, batch_size=8), lambda _: None)


def test_classes_must_be_those_of_the_model(folder: Path) -> None:
    put(folder, {"train/c": 1, "validation/c": 1})
    with pytest.raises(
        SpectraError, match=r"have 3 classes \(a, b, c\), the model has 2. Set model.settings.num_labels=3"
    ):
        image_objective(recipe(folder), lambda _: None)


def test_mixup_alone_and_sharded_averages(folder: Path) -> None:
    with pytest.raises(SpectraError, match=r"set train\.micro_batch to 2 or more"):
        image_objective(recipe(folder, micro_batch=1), lambda _: None)
    with pytest.raises(SpectraError, match="averages whole weights"):
        image_objective(recipe(folder, ema=0.9, parallel="fsdp"), lambda _: None)


# ---------------------------------------------------------------- objective


def test_objective_names_classes_and_chooses_validation_by_seed(folder: Path) -> None:
    task = image_objective(recipe(folder, eval_windows=3), lambda _: None)
    assert task.model.config.id2label == {0: "a", 1: "b"}
    assert task.model.config.label2id == {"a": 0, "b": 1}
    labels = [int(task.validation[i]["labels"]) for i in range(3)]
    assert len(task.validation) == 3
    assert set(labels) == {0, 1}
    again = image_objective(recipe(folder, eval_windows=3), lambda _: None)
    assert again.fingerprint == task.fingerprint
    assert task.facts(5)["evaluated_images"] == 3
    other = recipe(folder)
    assert other.images is not None
    changed = replace(other, images=replace(other.images, mixup=0.1))
    assert image_objective(changed, lambda _: None).fingerprint != task.fingerprint


def test_no_evaluation_reads_no_validation(folder: Path) -> None:
    (folder / "validation").rename(folder / "elsewhere")
    assert image_objective(recipe(folder, eval_windows=0), lambda _: None).validation is None


@pytest.mark.parametrize("batch_size", [1, 3, 4, 9])
def test_every_image_counts_once(folder: Path, batch_size: int) -> None:
    task = image_objective(recipe(folder), lambda _: None)
    split = found(folder).train
    images = EvaluationImages(split, ImageConfig(source="x", size=8), range(7))
    task.model.train()
    got = evaluate(task.model, images, batch_size, torch.device("cpu"), False)
    assert task.model.training
    task.model.eval()
    with torch.no_grad():
        logits = torch.cat([task.model(images[i]["pixel_values"][None]).logits for i in range(7)])
    labels = torch.from_numpy(split.labels)
    assert got["images"] == 7
    assert got["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert got["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))


def test_modes_and_orientation(tmp_path: Path) -> None:
    turned = Image.new("RGB", (4, 6), (9, 9, 9))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert rgb(tmp_path / "turned.jpg", "x").size == (6, 4)
    for mode in ("L", "LA", "RGBA", "CMYK", "1", "I;16"):
        path = tmp_path / f"{mode.replace(';', '')}.tif"
        Image.new(mode, (4, 4)).save(path)
        assert rgb(path, "x").mode == "RGB"
    palette = Image.new("P", (4, 4))
    palette.info["transparency"] = b"\x00\x10"
    palette.save(tmp_path / "palette.png")
    assert rgb(tmp_path / "palette.png", "x").mode == "RGB"
