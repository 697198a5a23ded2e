"""The table: what the last parts of a module path say about a tensor.

One row is (context, own, label): `own` is matched against the last parts of the path, `context` against the part
before. The first row that matches wins, so the special ones stand first. Digits between dots are `N` here
(`layers.3.mlp` is `layers.N.mlp`). Sources: modeling files of transformers 5.23, `gguf.constants`, the reference
code of Llama, OLMo, DINO, timm, Megatron-core, Qwen-v1, Baichuan, InternLM2 and ChatGLM.
"""

from __future__ import annotations

import re

# Labels are roles, or one of these, which need shapes and the config to become roles:
#   token_embed   a token embedding (role embed) that an lm_head may be tied to
#   qkv, kv       fused projections;  kv_b  the second factor of multi-head latent attention
#   k_heads, v_heads   kv_b as GGUF splits it: one matrix a head, (H, in, out) and (H, out, in)
#   gate_up       fused, always;  up_gated / up_gated_last  fused when twice as tall as `down` is wide
#   patch         a patch embedding: conv if it has three or more dimensions
_ATT = r"(?:\w*[aA]tt(?:n|ention)s?\d?\w*(?:\.N)?|att|mha)"
_MLP = r"\w*(?:mlp|moe|ffn|feed_forward|mixer|experts?)\w*"
_TOP = "TOP"  # anywhere before or after the numbered layers
_BARE_TOP = "BARE_TOP"  # at most one name before it

_ROWS: tuple[tuple[str, str, str], ...] = (
    # Convolutions and embeddings
    ("", r"patch_emb(?:ed|edding|eddings|d)s?(?:\.N)?(?:\.(?:proj|projection))?", "patch"),
    (_TOP, r"shared|tok_embeddings|embeddings?|emb", "token_embed"),
    ("", r"embed_tokens|wte|word_embeddings?|tokens_embed|token_embd|token_embeddings?|tok_embed", "token_embed"),
    ("", r"embed_in|nextn\.embed_tokens", "token_embed"),
    ("", r"wpe|embed_positions|relative_attention_bias|\w*attn_rel_b|relative_position_bias_table", "embed"),
    ("", r"token_types|pos(?:ition)?s?_embed|embed_tokens_per_layer|rel_pos_[hw]", "embed"),
    ("", r"\w*_(?:embd|embed|embedding|embeddings)", "embed"),
    # Output heads
    ("", r"lm_head(?:\.decoder)?|embed_out|\w*_lm_head|shared_head\.head|nextn\.shared_head_head", "lm_head"),
    ("", r"vocab_projector|qa_outputs|predictions\.decoder|classification_head\.out_proj", "lm_head"),
    (_TOP, r"classifier(?:\.out_proj)?|score|head(?:\.fc)?|heads\.head|fc|ff_out|output_layer", "lm_head"),
    (_TOP, r"lm_loss|pred_layer\.proj|cls\.output", "lm_head"),
    (_BARE_TOP, r"output|proj_out", "lm_head"),
    # Routers. `mlp.gate` routes, `mlp.gate_proj` does not; a gate on the attention output is neither.
    (_ATT, r"gate|gate_proj|g_proj|up_proj|down_proj", "other"),
    ("", r"shared_expert_gate|ffn_gate_inp(?:_shexp)?", "router"),
    ("", r"router(?:\.(?:layer|classifier|gate|linear|wg))?", "router"),
    (_MLP, r"gate(?:\.(?:wg|layer))?", "router"),
    # Multi-head latent attention (DeepSeek)
    ("", r"q_a_proj|kv_a_proj(?:_with_mqa)?|wq_a|wkv_a", "qkv_in"),
    ("", r"attn_q_a|attn_kv_a(?:_mqa)?", "qkv_in"),
    ("", r"q_b_proj|wq_b|attn_q_b", "q"),
    ("", r"kv_b_proj|wkv_b|attn_kv_b", "kv_b"),
    ("", r"attn_k_b", "k_heads"),
    ("", r"attn_v_b", "v_heads"),
    # Fused projections
    (r"(?:\w*cross\w*|\w*encdec\w*)", r"c_attn", "kv"),
    (_ATT, r"self\.in_proj|in_proj|attention\.qkv", "qkv"),
    ("", r"query_key_value|c_attn|qkv|qkv_proj|Wqkv|wqkv|W_pack|att_proj|attn_qkv|vis_attn_qkv", "qkv"),
    ("", r"in_proj_weight|linear_qkv|qkv_linear|to_qkv", "qkv"),
    ("", r"in_proj_qkvz?", "qkv_in"),
    (_ATT, r"kv_proj|key_value|to_kv|kv", "kv"),
    # q, k, v. BERT and ViT nest them one module deeper than the output: their module is `...attention`.
    *(
        row
        for role, word in (("q", "query"), ("k", "key"), ("v", "value"))
        for row in (
            (_ATT, rf"(?:self|attention)\.{word}(?:_proj)?", role),
            (_ATT, rf"{word}(?:_proj)?|{role}(?:_proj|_lin)?", role),
            ("", rf"{role}_proj(?:_weight)?|w{role}|{role}_lin|{role}_attn|to_{role}|linear_{role}", role),
            ("", rf"(?:cross_|self_)?attn_{role}", role),
        )
    ),
    # o
    (_ATT, r"output\.dense|out_proj|dense|c_proj|proj|projection(?:_layer)?|[wW]?o|out|output", "o"),
    ("", r"o_proj|out_lin|(?:cross_|self_|vis_)?attn_o(?:ut(?:put)?)?|to_out(?:\.N)?|linear_proj", "o"),
    # Feed-forward
    ("", r"gate_up_proj|ffn_gate_up_exps|gate_and_up_proj|input_linear|w12|weights_in", "gate_up"),
    ("", r"dense_h_to_4h|linear_fc1|ffn_up|Wi", "up_gated"),
    ("", r"ff_proj", "up_gated_last"),
    ("", r"gate_proj|ffn_gate(?:_exps|_shexp|_chexps)?|w1|wi_0", "gate"),
    ("", r"up_proj|ffn_up_(?:exps|shexp|chexps)|c_fc|fc1|fc_in|w3|v1|wi|wi_1|lin1|linear1", "up"),
    ("", r"intermediate(?:_query)?[._]dense|ff\.layer_1|feed_forward\.key|albert_layers\.N\.ffn", "up"),
    ("", r"down_proj|ffn_down(?:_exps|_shexp|_chexps)?|c_proj|fc2|fc_out|dense_4h_to_h|w2|[wW]o", "down"),
    ("", r"lin2|linear2|linear_fc2|ff_out|ffn_output|output_linear|weights_out", "down"),
    ("", r"output(?:_query)?[._]dense|ff\.layer_2|feed_forward\.value", "down"),
)  # fmt: skip

# GGUF and the first OLMo give attention no module of its own; the tensors of one layer's attention belong together,
# self and cross apart: `blk.3.attn_q` is the `q` of the module `blk.3.attn`.
_FLAT = re.compile(r"((?:cross_|self_|vis_)?attn)_[a-z_]+")


def _compile(context: str, own: str) -> re.Pattern[str]:
    if context == _TOP:
        before = r"(?:(?!N\.)[^.]+\.)*"
    elif context == _BARE_TOP:
        before = r"(?:[^.]+\.)?"
    elif context:
        before = rf"(?:.*\.)?{context}\."
    else:
        before = r"(?:.*\.)?"
    return re.compile(rf"{before}(?P<own>{own})")


_RULES = tuple((_compile(context, own), label) for context, own, label in _ROWS)
_DIGITS = re.compile(r"(?<![^.])(\d+)(?![^.])|(?<![^.])expert_\d+(?![^.])")


def pattern_of(path: str) -> str:
    """The path with its numbers replaced: `layers.3.mlp.experts.expert_7` -> `layers.N.mlp.experts.expert_N`."""
    return _DIGITS.sub(lambda found: "N" if found[1] else "expert_N", path)


def match(pattern: str) -> tuple[str, int, str]:
    """What the table says about a path without numbers: (label, own, suffix).

    `label` is '' if no row matches; `own` counts the last parts that are the tensor's own name; `suffix` is what
    the module's name needs besides the parts before it ('.attn').
    """
    label, own_parts = "", 1
    for rule, rule_label in _RULES:
        if found := rule.fullmatch(pattern):
            label, own_parts = rule_label, found["own"].count(".") + 1
            break
    before, own = pattern.split(".")[:-own_parts], ".".join(pattern.split(".")[-own_parts:])
    if flat := _FLAT.fullmatch(own):
        return label, own_parts, f".{flat[1]}"
    if own == "att_proj" and before and before[-1] == "N":
        return label, own_parts, ".attn"  # OLMo: `blocks.3.att_proj` and `blocks.3.attn_out`
    return label, own_parts, ""
