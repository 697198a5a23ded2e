"""Pixels, mixup, drop path and the moving average, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alphadecay.config import ImageConfig
from alphadecay.ema import Ema
from alphadecay.image_drop_path import DropPath, draws
from alphadecay.image_items import ImageStream, MixupCollate
from alphadecay.image_transforms import (
    crop_box,
    evaluation_pixels,
    evaluation_side,
    generator,
    processor,
    training_pixels,
)
from spectra.errors import SpectraError


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def vit(**settings: Any) -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "image_size": 8,
    }
    return ViTForImageClassification(ViTConfig(**(sizes | {"patch_size": 4, "num_labels": 3} | settings)))


class Split:
    """Five images in memory."""

    labels = np.array([0, 1, 2, 0, 1], dtype=np.int64)

    def __len__(self) -> int:
        return 5

    def image(self, i: int) -> Image.Image:
        return noise(20, 14, i)


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize(("width", "height"), [(30, 41), (41, 30), (14, 14), (5, 9), (200, 33)])
def test_evaluation_is_what_the_saved_processor_does(width: int, height: int) -> None:
    config = ImageConfig(source="x", size=12, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    image = noise(width, height)
    wanted = processor(config)(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(evaluation_pixels(image, config), wanted, atol=1e-6)


def test_evaluation_side_of_imagenet() -> None:
    assert evaluation_side(224) == 256


def test_crops_have_the_areas_and_aspects_asked_for() -> None:
    rng = np.random.default_rng(0)
    boxes = [crop_box(400, 300, 0.25, rng) for _ in range(2000)]
    areas = np.array([box.width * box.height / 120_000 for box in boxes])
    aspects = np.array([box.width / box.height for box in boxes])
    assert all(b.left >= 0 and b.left + b.width <= 400 and b.top >= 0 and b.top + b.height <= 300 for b in boxes)
    assert 0.24 < areas.min() < 0.27
    assert 0.97 < areas.max() <= 1
    assert 0.74 < aspects.min() < 0.78
    assert 1.30 < aspects.max() < 1.35
    assert len({box.left for box in boxes}) > 50


def test_crop_of_one_is_the_whole_image_and_a_thin_one_is_cut_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    box = crop_box(31, 17, 1.0, rng)
    assert (box.left, box.top, box.width, box.height) == (0, 0, 31, 17)
    thin = crop_box(1000, 10, 0.9, rng)
    assert (thin.width, thin.height, thin.left) == (13, 10, 493)


def test_flip_mirrors_half_and_off_means_off() -> None:
    image = noise(16, 16)
    plain = training_pixels(image, ImageConfig(source="x", size=16, crop=1.0, flip=False), generator(0))
    flipping = ImageConfig(source="x", size=16, crop=1.0)
    made = [training_pixels(image, flipping, generator(seed)) for seed in range(200)]
    mirrored = sum(np.array_equal(pixels, plain[:, :, ::-1]) for pixels in made)
    assert sum(np.array_equal(pixels, plain) for pixels in made) == 200 - mirrored
    assert 70 < mirrored < 130


def test_an_item_depends_on_seed_epoch_and_index_only() -> None:
    config = ImageConfig(source="x", size=8)

    def stream(seed: int = 42) -> ImageStream:
        return ImageStream(Split(), ImageConfig(source="x", size=8, seed=seed), 2, 6, 4)

    first, second = stream(), stream()
    backwards = {i: second[i] for i in reversed(range(12))}
    for i in range(12):
        item = first[i]
        assert item["step"] == i // 2
        for key in ("pixel_values", "draws"):
            np.testing.assert_array_equal(item[key], backwards[i][key])
    places: dict[int, list[int]] = {}
    for i in range(12):
        places.setdefault(first.locate(i)[1], []).append(i)
    again = next(found for found in places.values() if len(found) > 1)
    assert not np.array_equal(first[again[0]]["pixel_values"], first[again[1]]["pixel_values"])
    assert first[again[0]]["label"] == first[again[1]]["label"]
    assert not np.array_equal(stream(7)[0]["pixel_values"], first[0]["pixel_values"])
    assert config.seed == 42


# ---------------------------------------------------------------- mixup


def items(step: int, count: int = 3) -> list[dict[str, Any]]:
    zeros = np.zeros(0, dtype=np.float32)
    return [
        {"pixel_values": np.full((3, 2, 2), i, np.float32), "label": i, "step": step, "draws": zeros}
        for i in range(count)
    ]


def test_mixup_mixes_targets_as_pixels() -> None:
    collate = MixupCollate(classes=4, mixup=0.8, seed=1)
    kept = collate.weight(5)
    batch = collate(items(5))
    assert 0 < kept < 1
    eye = torch.eye(4)
    for i, other in ((0, 2), (1, 0), (2, 1)):
        torch.testing.assert_close(batch["targets"][i], kept * eye[i] + (1 - kept) * eye[other])
        torch.testing.assert_close(batch["pixel_values"][i], torch.full((3, 2, 2), kept * i + (1 - kept) * other))
    torch.testing.assert_close(batch["targets"].sum(1), torch.ones(3))


def test_mixup_has_one_weight_a_step_from_the_beta_distribution() -> None:
    collate = MixupCollate(classes=4, mixup=0.8, seed=1)
    weights = np.array([collate.weight(step) for step in range(3000)])
    assert collate.weight(7) == weights[7]
    assert len(set(weights)) > 2900
    assert weights.mean() == pytest.approx(0.5, abs=0.03)
    assert weights.var() == pytest.approx(0.25 / (2 * 0.8 + 1), abs=0.01)
    assert MixupCollate(classes=4, mixup=0.8, seed=2).weight(7) != weights[7]


def test_no_mixup_leaves_one_class_each() -> None:
    batch = MixupCollate(classes=4, mixup=0.0, seed=1)(items(5))
    assert torch.equal(batch["targets"], torch.eye(4)[:3])
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [0, 1, 2]


# ---------------------------------------------------------------- drop path


def test_rates_rise_linearly_and_branches_are_left_out_that_often() -> None:
    model = vit()
    drop_path = DropPath(model, 0.4)
    assert drop_path.rates == pytest.approx((0, 0.2, 0.4))
    found = torch.from_numpy(np.stack([draws(3, 0, item, drop_path.branches) for item in range(4000)]))
    drop_path.set(found)
    hidden = torch.ones(4000, 2, 3)
    for branch in range(6):
        rate = drop_path.rates[branch // 2]
        kept = drop_path.keep(branch, rate, hidden)
        per_image = kept.flatten(1)
        assert torch.equal(per_image.min(1).values, per_image.max(1).values)
        torch.testing.assert_close(per_image.unique(), torch.tensor([0.0, 1 / (1 - rate)] if rate else [1.0]))
        assert float((per_image[:, 0] == 0).float().mean()) == pytest.approx(rate, abs=0.03)
        assert float(kept.mean()) == pytest.approx(1, abs=0.05)


def test_a_left_out_branch_passes_the_image_through() -> None:
    """Per image: an image whose draws keep all is untouched by its neighbour's (rates so small that scaling is nothing)."""
    model, plain = vit(), vit()
    drop_path = DropPath(model, 1e-9)
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    keep_first = torch.ones(2, 6)
    keep_first[1] = -1.0  # under every rate: all branches of the second image, but those of the first layer, go
    drop_path.set(keep_first)
    model.train()
    logits = model(pixels).logits
    torch.testing.assert_close(logits[0], plain.eval()(pixels).logits[0])
    short = vit()
    short.vit.layers = short.vit.layers[:1]
    torch.testing.assert_close(logits[1], short.eval()(pixels).logits[1])


def test_evaluation_is_untouched_and_names_stay() -> None:
    model, plain = vit().eval(), vit().eval()
    drop_path = DropPath(model, 0.5)
    drop_path.set(torch.zeros(2, 6))
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(pixels).logits, plain(pixels).logits)
    assert list(model.state_dict()) == list(plain.state_dict())


def test_recomputed_activations_leave_out_the_same_branches() -> None:
    pixels = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    gradients = []
    for checkpointing in (False, True):
        model = vit().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        drop_path = DropPath(model, 0.5)
        drop_path.set(torch.rand(4, 6, generator=torch.Generator().manual_seed(1)))
        model(pixels).logits.square().sum().backward()
        gradients.append(model.vit.layers[2].mlp.fc1.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_single_layer_has_the_rate() -> None:
    assert DropPath(vit(num_hidden_layers=1), 0.3).rates == (0.3,)


def test_models_with_other_layers_are_refused() -> None:
    with pytest.raises(SpectraError, match="for ViT and models with its layers, got Linear"):
        DropPath(torch.nn.Linear(2, 2), 0.1)


# ---------------------------------------------------------------- moving average


def test_average_follows_its_formula_and_comes_back_whole(tmp_path: Path) -> None:
    model = vit()
    ema = Ema(model, 0.9)
    wanted = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * (step + 1))
        ema.update()
        for name, value in model.state_dict().items():
            wanted[name] = 0.9 * wanted[name] + 0.1 * value
    for name, value in ema.averages().items():
        torch.testing.assert_close(value, wanted[name])
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with ema.in_place_of_weights():
        assert all(torch.equal(value, ema.averages()[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    ema.save(tmp_path, processor(ImageConfig(source="x", size=8)))
    other = Ema(vit(), 0.9)
    other.load(tmp_path)
    assert all(torch.equal(value, ema.averages()[name]) for name, value in other.averages().items())


def test_average_of_bfloat16_weights_is_float32(tmp_path: Path) -> None:
    """At 0.999 a bfloat16 average would never move."""
    from transformers import AutoModelForImageClassification

    model = vit()
    ema = Ema(model, 0.999)
    model = model.to(torch.bfloat16)
    before = ema.averages()["classifier.weight"].clone()
    with torch.no_grad():
        model.classifier.weight.add_(1.0)
    ema.update()
    moved = ema.averages()["classifier.weight"] - before
    assert moved.dtype == torch.float32
    assert float(moved.mean()) == pytest.approx(1e-3, rel=0.05)
    ema.save(tmp_path, processor(ImageConfig(source="x", size=8)))
    loaded: Any = AutoModelForImageClassification.from_pretrained(tmp_path / "ema")
    assert loaded.config.dtype == torch.float32
    assert torch.equal(loaded.classifier.weight, ema.averages()["classifier.weight"])
