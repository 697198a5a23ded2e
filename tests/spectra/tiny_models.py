"""Tiny random transformers models: two layers, width 32, of every architecture the tests know.

Their sizes are those that `arch_params.json` was made with, written down again here so that the tests run without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

HEADS, KV_HEADS, HEAD_DIM, WIDTH, VOCAB = 4, 2, 8, 32, 96

SIZES = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 48,
}  # fmt: skip
GQA = {**SIZES, "num_key_value_heads": KV_HEADS}
HEAD_DIMS = {**GQA, "head_dim": HEAD_DIM}
GPT2 = {"vocab_size": VOCAB, "n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_inner": 48, "n_positions": 64}
PAD = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
MPT = {"vocab_size": VOCAB, "d_model": WIDTH, "n_layers": 2, "n_heads": HEADS}
BLOOM = {"vocab_size": VOCAB, "hidden_size": WIDTH, "n_layer": 2, "n_head": HEADS}
FULL_ATTENTION = {"layer_types": ["full_attention"] * 2}


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """How to build one architecture: its config class, its settings, and the Auto class of its head."""

    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    head: str = "AutoModelForCausalLM"


TINY: dict[str, TinyModel] = {
    "llama": TinyModel(config="LlamaConfig", settings=GQA),
    "qwen2": TinyModel(config="Qwen2Config", settings=GQA),
    "qwen3": TinyModel(config="Qwen3Config", settings=HEAD_DIMS),
    "mistral": TinyModel(config="MistralConfig", settings=GQA),
    "mixtral": TinyModel(config="MixtralConfig", settings=GQA | {"num_local_experts": 4}),
    "gpt2": TinyModel(config="GPT2Config", settings=GPT2),
    "gpt_neo": TinyModel(
        config="GPTNeoConfig",
        settings={
            "vocab_size": VOCAB, "hidden_size": WIDTH, "num_layers": 2, "num_heads": HEADS, "intermediate_size": 48,
            "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64,
        },
    ),
    "gpt_neox": TinyModel(config="GPTNeoXConfig", settings=SIZES),
    "gptj": TinyModel(config="GPTJConfig", settings=GPT2 | {"rotary_dim": 4}),
    "olmo": TinyModel(config="OlmoConfig", settings=GQA),
    "olmo2": TinyModel(config="Olmo2Config", settings=GQA),
    "phi": TinyModel(config="PhiConfig", settings=GQA),
    "phi3": TinyModel(config="Phi3Config", settings=GQA),
    "gemma2": TinyModel(config="Gemma2Config", settings=HEAD_DIMS),
    "gemma3_text": TinyModel(config="Gemma3TextConfig", settings=HEAD_DIMS),
    "falcon": TinyModel(
        config="FalconConfig", settings=SIZES | {"multi_query": True, "new_decoder_architecture": False, "ffn_hidden_size": 48}
    ),
    "falcon_new_decoder": TinyModel(
        config="FalconConfig",
        settings=SIZES | {"new_decoder_architecture": True, "num_kv_heads": KV_HEADS, "ffn_hidden_size": 48},
    ),
    "bloom": TinyModel(config="BloomConfig", settings=BLOOM),
    "opt": TinyModel(
        config="OPTConfig",
        settings={
            "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "ffn_dim": 48,
            "max_position_embeddings": 64, "word_embed_proj_dim": WIDTH,
        },
    ),
    "bert": TinyModel(config="BertConfig", settings=SIZES | {"max_position_embeddings": 64}, head="AutoModelForMaskedLM"),
    "vit": TinyModel(
        config="ViTConfig",
        settings={**SIZES, "image_size": 32, "patch_size": 8},
        head="AutoModelForImageClassification",
    ),
    "deepseek_v3": TinyModel(
        config="DeepseekV3Config",
        settings=SIZES | {
            "num_key_value_heads": HEADS, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
            "n_shared_experts": 1, "first_k_dense_replace": 1, "moe_intermediate_size": 24, "q_lora_rank": 16,
            "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
        },
    ),
    "gpt_oss": TinyModel(config="GptOssConfig", settings=HEAD_DIMS | FULL_ATTENTION | {"num_local_experts": 4}),
    "qwen2_moe": TinyModel(
        config="Qwen2MoeConfig",
        settings=GQA | {
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24,
        },
    ),
    "qwen3_moe": TinyModel(
        config="Qwen3MoeConfig",
        settings=HEAD_DIMS | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    ),
    "mpt": TinyModel(config="MptConfig", settings=MPT),
    "mamba": TinyModel(
        config="MambaConfig",
        settings={"vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 8},
    ),
    "t5": TinyModel(
        config="T5Config",
        settings={
            "vocab_size": VOCAB, "d_model": WIDTH, "d_kv": HEAD_DIM, "d_ff": 48, "num_layers": 2, "num_heads": HEADS,
            "decoder_start_token_id": 0,
        },
        head="AutoModelForSeq2SeqLM",
    ),
}  # fmt: skip


def build(config_class: str, *, head: str = "AutoModelForCausalLM", **settings: Any) -> Any:
    """A random model with weights of order one and all biases zero."""
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**settings)
    auto = getattr(transformers, head)
    model = auto.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim > 1:
                parameter.normal_()
    return model


def build_tiny(arch: str, dtype: torch.dtype = torch.float32) -> Any:
    """The tiny model of an architecture of `TINY`."""
    made = TINY[arch]
    return build(made.config, head=made.head, **PAD, **made.settings).to(dtype)
