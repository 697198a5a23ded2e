"""What `spectra.analyze` has to find in each model of `tiny_models.TINY`: roles by layer, heads, ties, exceptions."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from tests.spectra.tiny_models import HEADS, KV_HEADS

At = tuple[str, int | None]  # (stack, layer)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Roles of the matrices outside the layers and in each layer, and the attention modules of a layer.

    `covered`: least share of the parameters that lies in matrices. At width 32, biases and gains take the rest.
    """

    top: str
    layers: dict[At, str]
    attention: int = 1
    kv_heads: int = HEADS
    covered: float = 0.99

    def roles(self) -> dict[At, Counter[str]]:
        """Counts of roles at each place, as `(stack, layer)`."""
        return {at: _roles(text) for at, text in {("", None): self.top, **self.layers}.items()}


def _roles(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word in text.split():
        role = word.lstrip("0123456789")
        counts[role] += int(word[: len(word) - len(role)] or 1)
    return counts


def _both(roles: str) -> dict[At, str]:
    return {("", 0): roles, ("", 1): roles}


GATED = _both("q k v o gate up down")
PLAIN = _both("q k v o up down")
MOE = _both("q k v o router 4gate 4up 4down")
LATENT = "2qkv_in q k v o "
SEPARATE_HEAD, TIED_HEAD = "embed lm_head", "embed"

EXPECTED: dict[str, Expected] = {
    **dict.fromkeys(
        ("llama", "qwen3", "mistral", "olmo", "phi3"), Expected(top=SEPARATE_HEAD, layers=GATED, kv_heads=KV_HEADS)
    ),
    # biases of q, k, v; norms of q and k
    **dict.fromkeys(
        ("qwen2", "olmo2"), Expected(top=SEPARATE_HEAD, layers=GATED, kv_heads=KV_HEADS, covered=0.98)
    ),
    # four norms a layer, and no lm_head to make up for them
    **dict.fromkeys(
        ("gemma2", "gemma3_text"), Expected(top=TIED_HEAD, layers=GATED, kv_heads=KV_HEADS, covered=0.98)
    ),
    **dict.fromkeys(("mixtral", "qwen3_moe"), Expected(top=SEPARATE_HEAD, layers=MOE, kv_heads=KV_HEADS)),
    # a bias for every expert
    "gpt_oss": Expected(top=SEPARATE_HEAD, layers=MOE, kv_heads=KV_HEADS, covered=0.97),
    # the second router is the gate of the shared expert, the fifth of gate, up, down the shared expert
    "qwen2_moe": Expected(top=SEPARATE_HEAD, layers=_both("q k v o 2router 5gate 5up 5down"), kv_heads=KV_HEADS),
    "deepseek_v3": Expected(
        top=SEPARATE_HEAD,
        layers={("", 0): LATENT + "gate up down", ("", 1): LATENT + "router 5gate 5up 5down"},
        attention=0,
    ),
    # a bias for every Linear
    "phi": Expected(top=SEPARATE_HEAD, layers=PLAIN, kv_heads=KV_HEADS, covered=0.96),
    **dict.fromkeys(("gpt_neox", "gptj"), Expected(top=SEPARATE_HEAD, layers=PLAIN, covered=0.96)),
    **dict.fromkeys(("gpt2", "gpt_neo", "opt"), Expected(top="2embed", layers=PLAIN, covered=0.96)),
    "bloom": Expected(top=TIED_HEAD, layers=PLAIN, covered=0.96),
    "mpt": Expected(top=TIED_HEAD, layers=PLAIN),
    # only norms and their biases, but a small model
    "falcon": Expected(top=TIED_HEAD, layers=PLAIN, kv_heads=1, covered=0.98),
    "falcon_new_decoder": Expected(top=TIED_HEAD, layers=PLAIN, kv_heads=KV_HEADS, covered=0.97),
    # other: the dense layer before the masked-token head
    "bert": Expected(top="3embed other", layers=PLAIN, covered=0.95),
    "vit": Expected(top="conv embed lm_head", layers=PLAIN, covered=0.96),
    # other: A_log, and in_proj, x_proj, dt_proj, out_proj of the mixer, which are no attention
    "mamba": Expected(top=TIED_HEAD, layers=_both("conv 5other"), attention=0, covered=0.97),
    # embed in a layer: the relative position bias, which layer 0 holds for its stack
    "t5": Expected(
        top="embed",
        layers={
            ("encoder", 0): "q k v o up down embed", ("encoder", 1): "q k v o up down",
            ("decoder", 0): "2q 2k 2v 2o up down embed", ("decoder", 1): "2q 2k 2v 2o up down",
        },
    ),
}  # fmt: skip

# What a live module holds twice; in the file it stands once.
TIED: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("gpt2", "gpt_neo", "gemma2", "gemma3_text", "falcon", "falcon_new_decoder", "bloom", "opt", "mpt", "mamba"),
        frozenset({"lm_head.weight"}),
    ),
    "bert": frozenset({"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}),
    "t5": frozenset({"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}),
}

# Tensors of two dimensions that are no matrices.
EXPERT_BIASES = re.compile(r"model\.layers\.[01]\.mlp\.experts\.(?:gate_up|down)_proj_bias")

# Role of a tensor that is one matrix, or a stack of one role, by the end of its name; fused ones are not here.
BY_NAME: dict[str, str] = {
    "q": r"q_proj|q_b_proj|query|Attention\.q",
    "k": r"k_proj|key|Attention\.k",
    "v": r"v_proj|value|Attention\.v",
    "o": r"o_proj|attn\.out_proj|attention\.out_proj|attn\.c_proj|att(?:n|ention)\.(?:output\.)?dense|Attention\.o",
    "gate": r"gate_proj|experts\.\d\.w1",
    "up": r"up_proj|experts\.\d\.w3|fc1|fc_in|c_fc|dense_h_to_4h|intermediate\.dense|\.wi",
    "down": r"down_proj|experts\.\d\.w2|fc2|fc_out|mlp\.c_proj|dense_4h_to_h|layer\.\d\.output\.dense|\.wo",
    "qkv_in": r"q_a_proj|kv_a_proj_with_mqa",
    "router": r"mlp\.gate|moe\.gate|router|shared_expert_gate",
    "embed": r"relative_attention_bias|embed_tokens|wte|wpe|word_embeddings|embed_in|embed_positions|shared|"
    r"embeddings\.\w+_embeddings|backbone\.embeddings",
    "lm_head": r"lm_head|embed_out|classifier",
    "conv": r"conv1d|patch_embeddings\.projection",
    "other": r"A_log|mixer\.\w+_proj|transform\.dense",
}
FUSED = re.compile(r"c_attn|query_key_value|qkv_proj|Wqkv|gate_up_proj|kv_b_proj")
