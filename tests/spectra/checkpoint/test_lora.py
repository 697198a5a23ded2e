"""LoRA adapters against PEFT's own merge_and_unload on tiny models."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from spectra.checkpoint import open_checkpoint
from spectra.errors import CheckpointError

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")


def llama() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=32, tie_word_embeddings=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=32, n_positions=8)
    )


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.point = nn.Conv2d(5, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.point(self.conv(x))
        return out


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    return Convolutions()


def save_adapter(folder: Path, make: Callable[[], nn.Module], **settings: Any) -> dict[str, torch.Tensor]:
    """Save a base to folder/base and a random adapter to folder/adapter; the merged weights, by PEFT, in float64."""
    model = make()
    save_base(model, folder / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model, peft.LoraConfig(**{"r": 4, "lora_alpha": 6, **settings}))
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, value in adapted.named_parameters():
                if value.requires_grad:
                    noise = torch.randn(value.shape, generator=generator) * 0.3
                    value.copy_(value + noise.abs() if "magnitude" in name else noise)
        adapted.save_pretrained(folder / "adapter")
        merged = adapted.double().merge_and_unload()
    return dict(merged.state_dict())


def save_base(model: nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    if hasattr(model, "config"):
        (folder / "config.json").write_text(json.dumps(model.config.to_dict()))


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "plain": (llama, {"target_modules": ["q_proj", "v_proj", "down_proj"]}),
    "rslora": (llama, {"target_modules": ["q_proj"], "use_rslora": True}),
    "dora": (llama, {"target_modules": ["q_proj", "k_proj"], "use_dora": True}),
    "patterns": (
        llama,
        {
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {"q_proj": 2, r"model.layers.1.self_attn.v_proj": 3, r"layers\.0.*up_proj": 5},
            "alpha_pattern": {r"layers.\d+.mlp.up_proj": 11, "self_attn.q_proj": 1},
        },
    ),
    "embedding": (llama, {"target_modules": ["embed_tokens", "q_proj"]}),
    "embedding_dora": (llama, {"target_modules": ["embed_tokens"], "use_dora": True}),
    "modules_to_save": (llama, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}),
    "gpt2": (gpt2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "gpt2_dora": (gpt2, {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True, "use_dora": True}),
    "gpt2_bias": (gpt2, {"target_modules": ["c_attn"], "fan_in_fan_out": True, "bias": "lora_only"}),
    "gpt2_lora_bias": (gpt2, {"target_modules": ["c_attn"], "fan_in_fan_out": True, "lora_bias": True}),
    "conv": (convolutions, {"target_modules": ["conv", "point"]}),
    "conv_dora": (convolutions, {"target_modules": ["conv", "point"], "use_dora": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_merged_equals_peft(tmp_path: Path, case: str) -> None:
    make, settings = CASES[case]
    truth = save_adapter(tmp_path, make, **settings)
    opened = open_checkpoint(tmp_path / "adapter", base=str(tmp_path / "base"))
    assert opened.format == "lora"
    names = [name for name in opened.tensors if name not in opened.absorbed]
    assert set(names) == set(truth)
    for name in names:
        np.testing.assert_allclose(opened.read(name).decode(), truth[name].numpy(), rtol=1e-12, atol=1e-14)
        if opened.tensors[name].shape:
            np.testing.assert_array_equal(opened.read(name, 0).decode(), opened.read(name).decode()[0])
    adapter = open_checkpoint(tmp_path / "adapter")
    assert set(opened.absorbed) >= set(adapter.absorbed)


@pytest.mark.parametrize("case", [name for name, (_, settings) in CASES.items() if not settings.get("use_dora")])
def test_update_alone_is_the_difference(tmp_path: Path, case: str) -> None:
    make, settings = CASES[case]
    truth = save_adapter(tmp_path, make, **settings)
    base = load_file(tmp_path / "base" / "model.safetensors")
    opened = open_checkpoint(tmp_path / "adapter")
    updated = {sentence.rpartition(" ")[2] for sentence in opened.absorbed.values()}
    assert updated
    for name in updated:
        np.testing.assert_allclose(
            opened.read(name).decode(), (truth[name] - base[name].double()).numpy(), rtol=1e-9, atol=1e-9
        )
    assert {name for name in opened.tensors if name in truth} >= updated
    for factor in opened.absorbed:
        assert opened.tensors[factor].dtype == "float32"


def test_what_an_adapter_says_of_itself(tmp_path: Path) -> None:
    save_adapter(tmp_path, llama, target_modules=["q_proj"], use_dora=True, modules_to_save=["lm_head"])
    opened = open_checkpoint(tmp_path / "adapter" / "adapter_model.safetensors")
    assert opened.details["lora"]["scaling"] == [1.5]
    assert "magnitude is not included" in opened.details["dora"]
    assert opened.config == {}
    weight = "model.layers.0.self_attn.q_proj.weight"
    assert opened.tensors[weight].shape == (16, 16)
    assert "lm_head.weight" in opened.tensors
    assert opened.absorbed[f"base_model.model.{weight.replace('weight', 'lora_A.weight')}"].endswith(weight)
    assert any(name.endswith("lora_magnitude_vector") for name in opened.tensors)
    merged = open_checkpoint(tmp_path / "adapter", base=str(tmp_path / "base"))
    assert merged.config["model_type"] == "llama"
    assert merged.details["base"] == str(tmp_path / "base")
    assert len(merged.files) == 2


def test_bin_adapter_and_a_prefix_the_base_lacks(tmp_path: Path) -> None:
    truth = save_adapter(tmp_path, gpt2, target_modules=["c_attn"], fan_in_fan_out=True)
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    torch.save(weights, tmp_path / "adapter" / "adapter_model.bin")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    base = load_file(tmp_path / "base" / "model.safetensors")
    bare = {name.removeprefix("transformer."): value for name, value in base.items() if name != "lm_head.weight"}
    save_file(bare, tmp_path / "base" / "model.safetensors")
    opened = open_checkpoint(tmp_path / "adapter", base=str(tmp_path / "base"))
    name = "h.1.attn.c_attn.weight"
    np.testing.assert_allclose(opened.read(name).raw, truth[f"transformer.{name}"].numpy(), rtol=1e-12, atol=1e-14)


def test_base_of_another_model(tmp_path: Path) -> None:
    save_adapter(tmp_path, llama, target_modules=["q_proj"])
    save_base(gpt2(), tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"is not the base of this adapter: 2 adapted tensors.*q_proj"):
        open_checkpoint(tmp_path / "adapter", base=str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="is no LoRA adapter"):
        open_checkpoint(tmp_path / "base", base=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("change", "merging", "expected"),
    [
        ({"peft_type": "IA3"}, False, r"adapter_config\.json: is a PEFT adapter of type 'IA3'"),
        ({"r": 0}, False, "'r' is 0"),
        ({"r": 5}, False, r"lora_A\.weight.*rank 5"),
        ({"lora_alpha": "x"}, False, "'lora_alpha' is 'x'"),
        ({"rank_pattern": {"(": 4}}, False, "no regular expression"),
        ({"rank_pattern": 3}, False, "'rank_pattern' is 3"),
        ({"target_parameters": ["experts.w"]}, False, "uses target_parameters"),
        ({"init_lora_weights": "pissa_niter_4"}, True, "init_lora_weights=pissa"),
        ({"layer_replication": [[0, 2]]}, True, "uses layer_replication"),
    ],
)
def test_bad_config(tmp_path: Path, change: dict[str, Any], merging: bool, expected: str) -> None:
    save_adapter(tmp_path, llama, target_modules=["q_proj"])
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(tmp_path / "adapter", base=str(tmp_path / "base") if merging else None)
    if merging:
        assert open_checkpoint(tmp_path / "adapter").absorbed


def test_damaged_adapter(tmp_path: Path) -> None:
    save_adapter(tmp_path, llama, target_modules=["q_proj"])
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    removed = next(name for name in weights if "lora_B" in name)
    save_file({name: value for name, value in weights.items() if name != removed}, path)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: module 'model\.layers.*has no lora_B"):
        open_checkpoint(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no adapter_config\.json"):
        open_checkpoint(tmp_path / "adapter")
