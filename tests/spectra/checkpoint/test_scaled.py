"""float8 with scales and MXFP4, against slow references and transformers' own conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spectra.checkpoint import open_checkpoint
from spectra.errors import CheckpointError

F8 = torch.float8_e4m3fn


def random8(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(F8)


def slow(weight: torch.Tensor, scale: torch.Tensor, block: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Element by element, as the DeepSeek kernel describes it."""
    values, factors = weight.double().numpy(), scale.double().numpy()
    result = np.empty(values.shape)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            result[i, j] = values[i, j] * factors[i // block[0], j // block[1]]
    return result


@pytest.mark.parametrize("configured", [None, [4, 6], [8, 8]])
def test_blocks(configured: list[int] | None) -> None:
    block = (4, 6) if configured is None else (configured[0], configured[1])
    rows, cols = (12, 18) if configured is None else (10, 17)
    counts = (-(-rows // block[0]), -(-cols // block[1]))
    scale = torch.rand(*counts) + 0.1
    weight = random8(rows, cols)
    config = {"quantization_config": {"weight_block_size": configured}} if configured else {}
    opened = open_checkpoint({"m.weight": weight, "m.weight_scale_inv": scale}, config=config)
    stored = opened.read("m.weight")
    assert stored.dtype == "float64"
    assert opened.tensors["m.weight"].dtype == "float8_e4m3fn"
    assert opened.absorbed == {"m.weight_scale_inv": "scale of m.weight"}
    assert sum(opened.details["float8_scales"].values()) == 1
    np.testing.assert_array_equal(stored.raw, slow(weight, scale, block))
    np.testing.assert_array_equal(opened.read("m.weight", 5).raw, stored.raw[5])


def test_the_usual_block_of_128_is_inferred() -> None:
    weight, scale = random8(200, 130), torch.rand(2, 2)
    opened = open_checkpoint({"m.weight": weight, "m.weight_scale_inv": scale})
    np.testing.assert_array_equal(opened.read("m.weight").raw, slow(weight, scale, (128, 128)))


@pytest.mark.parametrize("shape", [(), (1,), (6,), (6, 1), (1, 1)])
def test_per_tensor_and_per_channel(shape: tuple[int, ...]) -> None:
    weight, scale = random8(6, 4), torch.rand(shape) + 0.5
    opened = open_checkpoint({"m.weight": weight, "m.weight_scale": scale, "m.input_scale": torch.ones(1)})
    full = scale.double().reshape(-1, 1) if scale.numel() > 1 else scale.double().reshape(1, 1)
    np.testing.assert_array_equal(opened.read("m.weight").raw, (weight.double() * full).numpy())
    assert "m.input_scale" not in opened.absorbed


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (3, 4, 1), (3, 2, 2), (3, 1, 6)])
def test_stacks_of_experts(shape: tuple[int, ...]) -> None:
    weight, scale = random8(3, 4, 6), torch.rand(shape).bfloat16()
    opened = open_checkpoint({"experts.down_proj": weight, "experts.down_proj_scale_inv": scale})
    wide = scale.double().reshape(shape + (1,) * (3 - len(shape)))
    for axis in (1, 2):
        if wide.shape[axis] > 1:
            wide = wide.repeat_interleave(weight.shape[axis] // wide.shape[axis], dim=axis)
    truth = (weight.double() * wide).numpy()
    np.testing.assert_array_equal(opened.read("experts.down_proj").raw, truth)
    np.testing.assert_array_equal(opened.read("experts.down_proj", 2).raw, truth[2])


def test_without_scales_and_of_other_types() -> None:
    opened = open_checkpoint({"a.weight": random8(2, 2), "b.weight": torch.ones(2, 2), "b.weight_scale": torch.ones(1)})
    assert opened.read("a.weight").dtype == "float8_e4m3fn"
    assert opened.absorbed == {}


def test_scale_that_does_not_fit(tmp_path: Path) -> None:
    save_file({"m.weight": random8(6, 4), "m.weight_scale": torch.ones(5, 1)}, tmp_path / "a.safetensors")
    with pytest.raises(
        CheckpointError, match=r"a\.safetensors: tensor 'm\.weight_scale': shape \(5, 1\) fits no blocks"
    ):
        open_checkpoint(tmp_path / "a.safetensors")


def test_mxfp4_equals_transformers(tmp_path: Path) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(3)
    blocks = torch.randint(0, 256, (2, 6, 3, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(0, 255, (2, 6, 3), dtype=torch.uint8, generator=generator)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    save_file(
        {f"{name}_blocks": blocks, f"{name}_scales": scales, f"{name}_bias": torch.ones(2, 6)},
        tmp_path / "a.safetensors",
    )
    opened = open_checkpoint(tmp_path / "a.safetensors")
    truth = convert_moe_packed_tensors(blocks.clone(), scales.clone()).double().numpy()
    assert opened.tensors[name].shape == truth.shape == (2, 96, 6)
    assert opened.tensors[name].dtype == "mxfp4"
    assert set(opened.absorbed) == {f"{name}_blocks", f"{name}_scales"}
    np.testing.assert_array_equal(opened.read(name).decode(), truth)
    np.testing.assert_array_equal(opened.read(name, 1).decode(), truth[1])
    assert opened.details["mxfp4_tensors"] == 1
