"""Names outside arch_params.json: GGUF, Meta, OLMo, timm, CLIP, Whisper, Qwen-v1, ChatGLM, and what is skipped."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from spectra.naming import plan
from spectra.types import Plan, TensorInfo

PlanOf = Callable[..., Plan]


Q = (32, 32)
KV = (16, 32)


def roles(result: Plan) -> dict[str, str]:
    return {ref.name.removesuffix(".weight"): ref.role for ref in result.matrices}


def dispositions(result: Plan) -> dict[str, tuple[str, str]]:
    return {line.tensor: (line.disposition, line.reason) for line in result.coverage}


def test_openai_gpt2_without_config(plan_of: PlanOf) -> None:
    result = plan_of(
        {
            "wte.weight": (96, 32), "h.0.attn.c_attn.weight": (32, 96), "h.0.attn.c_proj.weight": Q,
            "h.0.mlp.c_fc.weight": (32, 128), "h.0.mlp.c_proj.weight": (128, 32), "h.0.attn.bias": (1, 1, 64, 64),
        }
    )  # fmt: skip
    by_name = {ref.name: ref for ref in result.matrices}
    assert by_name["h.0.mlp.c_proj.weight"].view.transpose
    assert (by_name["h.0.mlp.c_fc.weight"].rows, by_name["h.0.mlp.c_fc.weight"].cols) == (128, 32)
    assert by_name["h.0.attn.c_attn.weight[k]"].role == "k"
    assert dispositions(result)["h.0.attn.bias"][1].startswith("causal mask")
    assert result.attention == ()
    assert any("number of attention heads" in note for note in result.notes)


def test_linear_c_attn_is_not_transposed(plan_of: PlanOf) -> None:
    result = plan_of({"h.0.attn.c_attn.weight": (96, 32), "h.0.attn.c_proj.weight": Q})
    assert not any(ref.view.transpose for ref in result.matrices)


def test_gguf(plan_of: PlanOf) -> None:
    b = "blk.1."
    shapes = {
        "token_embd.weight": (96, 32), "position_embd.weight": (8, 32), "token_types.weight": (2, 32),
        "output.weight": (96, 32), "rope_freqs.weight": (4,), b + "attn_q.weight": Q, b + "attn_k.weight": KV,
        b + "attn_v.weight": KV, b + "attn_output.weight": Q, b + "ffn_gate_inp.weight": (4, 32),
        b + "ffn_gate_exps.weight": (4, 48, 32), b + "ffn_up_exps.weight": (4, 48, 32),
        b + "ffn_down_exps.weight": (4, 32, 48), b + "ffn_gate_shexp.weight": (48, 32), b + "ssm_in.weight": (64, 32),
        b + "ssm_conv1d.weight": (64, 4), b + "ffn_gate_exps.bias": (4, 48),
    }  # fmt: skip
    result = plan_of({k: (v, "Q4_1") for k, v in shapes.items()}, {"num_attention_heads": 4}, format="gguf")
    found = roles(result)
    assert found["token_embd"] == found["position_embd"] == found["token_types"] == "embed"
    assert found["output"] == "lm_head"
    assert found["blk.1.ffn_gate_inp"] == "router"
    assert found["blk.1.ffn_down_exps.weight[expert 3]"] == "down"
    assert found["blk.1.ffn_gate_shexp"] == "gate"
    assert (found["blk.1.ssm_conv1d"], found["blk.1.ssm_in"]) == ("conv", "other")
    assert dispositions(result)["blk.1.ffn_gate_exps.bias"] == ("skipped", "bias of stacked experts")
    [circuit] = result.attention
    assert (circuit.module, circuit.layer, circuit.kv_heads) == ("blk.1.attn", 1, 2)
    assert result.tie_candidates == (("output.weight", "token_embd.weight"),)


def test_gguf_fused_qkv_is_concatenated_and_fused_up_is_split(plan_of: PlanOf) -> None:
    result = plan_of(
        {"blk.0.attn_qkv.weight": (96, 32), "blk.0.attn_output.weight": Q, "blk.0.ffn_up.weight": (96, 32),
         "blk.0.ffn_down.weight": (32, 48)},
        {"num_attention_heads": 4, "model_type": "gpt_neox"}, format="gguf",
    )  # fmt: skip
    views = {ref.name: ref.view.blocks for ref in result.matrices}
    assert [(b.start, b.stop) for b in views["blk.0.attn_qkv.weight[k]"]] == [(32, 64)]
    assert [(b.start, b.stop) for b in views["blk.0.ffn_up.weight[gate]"]] == [(0, 48)]
    assert len(result.attention) == 1


def test_gguf_multi_head_latent_attention(plan_of: PlanOf) -> None:
    b = "blk.0."
    result = plan_of(
        {b + "attn_q_a.weight": (16, 32), b + "attn_q_b.weight": (48, 16), b + "attn_kv_a_mqa.weight": (20, 32),
         b + "attn_k_b.weight": (4, 16, 8), b + "attn_v_b.weight": (4, 8, 16), b + "attn_output.weight": Q},
        {"num_attention_heads": 4}, format="gguf",
    )  # fmt: skip
    heads = [ref for ref in result.matrices if ref.tensor == b + "attn_k_b.weight"]
    assert [(ref.rows, ref.cols, ref.role) for ref in heads] == [(8, 16, "k")] * 4
    assert result.attention == ()
    assert any("latent attention" in note for note in result.notes)


def test_meta_llama(plan_of: PlanOf) -> None:
    a, f = "layers.0.attention.", "layers.0.feed_forward."
    result = plan_of(
        {"tok_embeddings.weight": (96, 32), "output.weight": (96, 32), a + "wq.weight": Q, a + "wk.weight": KV,
         a + "wv.weight": KV, a + "wo.weight": Q, f + "w1.weight": (48, 32), f + "w2.weight": (32, 48),
         f + "w3.weight": (48, 32)},
        {"n_heads": 4, "n_kv_heads": 2, "dim": 32},
    )  # fmt: skip
    assert [ref.role for ref in result.matrices] == ["embed", "lm_head", "q", "k", "v", "o", "gate", "down", "up"]
    assert [c.kv_heads for c in result.attention] == [2]


def test_first_olmo(plan_of: PlanOf) -> None:
    t = "model.transformer."
    result = plan_of(
        {t + "wte.weight": (96, 32), t + "ff_out.weight": (96, 32), t + "blocks.0.att_proj.weight": (96, 32),
         t + "blocks.0.attn_out.weight": Q, t + "blocks.0.ff_proj.weight": (96, 32), t + "blocks.0.ff_out.weight": (32, 48)},
        {"n_heads": 4},
    )  # fmt: skip
    found = roles(result)
    assert (found[t + "ff_out"], found[t + "blocks.0.ff_out"]) == ("lm_head", "down")
    views = {ref.name: ref.view.blocks[0].start for ref in result.matrices if ref.view.blocks}
    assert views[t + "blocks.0.ff_proj.weight[gate]"] == 48  # `x, gate = x.chunk(2)`
    assert len(result.attention) == 1


def test_timm_and_multihead_attention(plan_of: PlanOf) -> None:
    result = plan_of(
        {"cls_token": (1, 1, 32), "pos_embed": (1, 17, 32), "patch_embed.proj.weight": (32, 3, 8, 8),
         "blocks.0.attn.qkv.weight": (96, 32), "blocks.0.attn.proj.weight": Q, "blocks.0.mlp.fc1.weight": (48, 32),
         "blocks.0.mlp.fc2.weight": (32, 48), "head.weight": (10, 32), "pool.attn.in_proj_weight": (96, 32),
         "pool.attn.out_proj.weight": Q},
        {"num_heads": 4},
    )  # fmt: skip
    by_name = {ref.name: ref for ref in result.matrices}
    assert (by_name["patch_embed.proj.weight"].role, by_name["patch_embed.proj.weight"].cols) == ("conv", 192)
    assert (by_name["pos_embed"].rows, by_name["pos_embed"].role) == (17, "embed")
    assert by_name["head.weight"].role == "lm_head"
    assert {c.module for c in result.attention} == {"blocks.0.attn", "pool.attn"}
    assert dispositions(result)["cls_token"] == ("skipped", "vector (1-D)")


def _projections(prefix: str, size: int, out: str = "out_proj") -> dict[str, tuple[int, int]]:
    return {f"{prefix}.{name}.weight": (size, size) for name in ("q_proj", "k_proj", "v_proj", out)}


def test_clip_takes_heads_from_nested_configs(plan_of: PlanOf) -> None:
    result = plan_of(
        {**_projections("text_model.encoder.layers.0.self_attn", 32),
         **_projections("vision_model.encoder.layers.0.self_attn", 48)},
        {"text_config": {"num_attention_heads": 4}, "vision_config": {"num_attention_heads": 6}},
    )  # fmt: skip
    assert [(c.stack, c.heads) for c in result.attention] == [("", 4), ("vision", 6)]


def test_whisper_stacks(plan_of: PlanOf) -> None:
    result = plan_of(
        {"model.encoder.conv1.weight": (32, 8, 3), **_projections("model.encoder.layers.0.self_attn", 32),
         **_projections("model.decoder.layers.0.encoder_attn", 32), "proj_out.weight": (96, 32)},
        {"encoder_attention_heads": 2, "decoder_attention_heads": 4},
    )  # fmt: skip
    assert [(c.stack, c.heads) for c in result.attention] == [("encoder", 2), ("decoder", 4)]
    assert (result.matrices[0].role, result.matrices[0].cols) == ("conv", 24)
    assert result.matrices[-1].role == "lm_head"


@pytest.mark.parametrize(("name", "role"), [
    ("model.layers.0.mlp.gate.weight", "router"), ("model.layers.0.mlp.gate_proj.weight", "gate"),
    ("model.layers.0.mlp.shared_expert_gate.weight", "router"), ("model.layers.0.mlp.router.gate.weight", "router"),
    ("model.layers.0.mlp.gate.wg.weight", "router"), ("layers.0.feed_forward.router.weight", "router"),
    ("model.layers.0.block_sparse_moe.experts.3.w1.weight", "gate"), ("model.layers.0.self_attn.gate_proj.weight", "other"),
    ("encoder.block.1.layer.1.mlp.experts.expert_2.wo.weight", "down"), ("rwkv.blocks.0.attention.key.weight", "k"),
    ("model.layers.0.mlp.shared_experts.up_proj.weight", "up"), ("foo.bar.weight", "other"),
    ("score.weight", "lm_head"), ("classifier.weight", "lm_head"), ("cls.predictions.decoder.weight", "lm_head"),
    ("lm_head.decoder.weight", "lm_head"), ("classifier.dense.weight", "other"), ("generator_lm_head.weight", "lm_head"),
    ("model.layers.61.shared_head.head.weight", "lm_head"), ("embeddings_project.weight", "other"),
    ("blocks.0.attn.rel_pos_h", "embed"), ("distilbert.transformer.layer.0.attention.q_lin.weight", "q"),
    ("distilbert.transformer.layer.0.ffn.lin2.weight", "down"),
    ("encoder.layers.0.feed_forward.intermediate_dense.weight", "up"),
    ("vision_model.encoder.layers.0.self_attn.projection.weight", "o"),
    ("mask_decoder.iou_prediction_head.proj_out.weight", "other"), ("model.layers.0.conv.in_proj.weight", "other"),
])  # fmt: skip
def test_role_of_one_name(plan_of: PlanOf, name: str, role: str) -> None:
    assert [ref.role for ref in plan_of({name: (8, 16)}).matrices] == [role]


def test_xlnet_attention_of_three_dimensions(plan_of: PlanOf) -> None:
    names = [f"transformer.layer.0.rel_attn.{role}" for role in "qkvo"]
    result = plan_of(dict.fromkeys(names, (32, 4, 8)), {"n_head": 4})
    assert [(ref.role, ref.view.transpose) for ref in result.matrices] == [
        ("q", True), ("k", True), ("v", True), ("o", False)
    ]  # fmt: skip
    assert len(result.attention) == 1


def test_towers_take_no_heads_from_the_text_config(plan_of: PlanOf) -> None:
    shapes = {
        **_projections("qformer.encoder.layer.0.attention", 32),
        **_projections("audio_tower.layers.0.self_attn", 32),
    }
    result = plan_of(shapes, {"num_attention_heads": 4, "qformer_config": {"num_attention_heads": 8}})
    assert [(c.stack, c.heads) for c in result.attention] == [("qformer", 8)]


def test_experts_by_index(plan_of: PlanOf) -> None:
    result = plan_of({f"model.layers.2.mlp.experts.{e}.down_proj.weight": (8, 16) for e in (0, 11)})
    assert [(ref.expert, ref.layer) for ref in result.matrices] == [(0, 2), (11, 2)]


def test_qwen_v1_and_chatglm(plan_of: PlanOf) -> None:
    m = "transformer.h.0.mlp."
    qwen = plan_of({m + "w1.weight": (48, 32), m + "w2.weight": (48, 32), m + "c_proj.weight": (32, 48)})
    assert [ref.role for ref in qwen.matrices] == ["up", "gate", "down"]
    g = "transformer.encoder.layers.0."
    glm = plan_of(
        {g + "self_attention.query_key_value.weight": (64, 32), g + "self_attention.dense.weight": Q,
         g + "mlp.dense_h_to_4h.weight": (96, 32), g + "mlp.dense_4h_to_h.weight": (32, 48)},
        {"model_type": "chatglm", "num_attention_heads": 4, "multi_query_attention": True, "multi_query_group_num": 2},
    )  # fmt: skip
    assert [ref.role for ref in glm.matrices] == ["q", "k", "v", "o", "gate", "up", "down"]
    assert [(c.heads, c.kv_heads) for c in glm.attention] == [(4, 2)]


def test_layers_with_their_own_heads(plan_of: PlanOf) -> None:
    shapes = {}
    for layer, (heads, kv) in enumerate([(4, 2), (8, 4)]):
        shapes[f"transformer.layers.{layer}.attn.qkv_proj.weight"] = ((heads + 2 * kv) * 8, 32)
        shapes[f"transformer.layers.{layer}.attn.out_proj.weight"] = (32, heads * 8)
    config = {"model_type": "openelm", "num_query_heads": [4, 8], "num_kv_heads": [2, 4], "head_dim": 8}
    assert [(c.heads, c.kv_heads) for c in plan_of(shapes, config).attention] == [(4, 2), (8, 4)]


def test_global_layers_with_another_head_dim(plan_of: PlanOf) -> None:
    shapes = {}
    for layer, dim in enumerate([8, 16]):
        a = f"model.layers.{layer}.self_attn."
        shapes |= {a + "q_proj.weight": (4 * dim, 32), a + "k_proj.weight": (2 * dim, 32),
                   a + "v_proj.weight": (2 * dim, 32), a + "o_proj.weight": (32, 4 * dim)}  # fmt: skip
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 16}
    assert [c.head_dim for c in plan_of(shapes, config).attention] == [8, 16]


def test_wrong_heads_give_one_note_and_no_circuits(plan_of: PlanOf) -> None:
    shapes = {}
    for layer in range(3):
        shapes |= _projections(f"model.layers.{layer}.self_attn", 32, "o_proj")
    result = plan_of(shapes, {"num_attention_heads": 5})
    assert result.attention == ()
    assert len(result.notes) == 1
    assert "5 attention heads" in result.notes[0]
    assert "2 more" in result.notes[0]


@pytest.mark.parametrize("config", [{}, {"model_type": "gpt_neox"}, {"model_type": "gpt_neox", "num_attention_heads": 5},
                                    {"num_attention_heads": 4}])  # fmt: skip
def test_unsplittable_qkv_stays_whole(plan_of: PlanOf, config: dict[str, object]) -> None:
    result = plan_of({"gpt_neox.layers.0.attention.query_key_value.weight": (96, 32)}, config)
    assert [(ref.role, ref.name) for ref in result.matrices] == [
        ("qkv_in", "gpt_neox.layers.0.attention.query_key_value.weight")
    ]
    assert len(result.notes) == 1


def test_skipped_tensors(plan_of: PlanOf) -> None:
    e = "model.layers.0.mlp.experts."
    result = plan_of(
        {"a.q_proj.qweight": ((4, 32), "int32"), "a.q_proj.scales": ((4, 32), "float16"), "b.weight": ((512, 1), "uint8"),
         e + "gate_up_proj_blocks": ((4, 96, 1, 16), "uint8"), e + "gate_up_proj_bias": ((4, 96), "bfloat16"),
         "rotary_emb.inv_freq": (4,), "h.0.attn.masked_bias": (), "empty": (0, 4), "index": ((4, 4), "int64"),
         "norm.weight": (8,), "temperature": (), "scale_1": (8, 8)},
        absorbed={"scale_1": "float8 scale of w"},
    )  # fmt: skip
    reasons = {name: reason for name, (_, reason) in dispositions(result).items()}
    assert result.matrices == ()
    assert reasons["a.q_proj.qweight"].startswith("packed quantised")
    assert reasons["b.weight"].startswith("packed quantised")
    assert reasons[e + "gate_up_proj_blocks"].startswith("packed quantised")
    assert reasons[e + "gate_up_proj_bias"] == "bias of stacked experts"
    assert reasons["rotary_emb.inv_freq"].startswith("rotary")
    assert reasons["h.0.attn.masked_bias"].startswith("causal mask")
    assert (reasons["empty"], reasons["index"]) == ("empty tensor", "integer tensor")
    assert (reasons["norm.weight"], reasons["temperature"]) == ("vector (1-D)", "scalar")
    assert reasons["scale_1"] == "float8 scale of w"


def test_thin_matrices_and_unknown_stacks(plan_of: PlanOf) -> None:
    result = plan_of({"a.weight": (1, 8), "b.weight": (8, 1), "mystery": (3, 4, 5), "deep": (2, 3, 4, 5)})
    assert [(ref.name, ref.rows, ref.cols, ref.role) for ref in result.matrices] == [
        ("a.weight", 1, 8, "other"), ("b.weight", 8, 1, "other"), ("mystery[slice 0]", 4, 5, "other"),
        ("mystery[slice 1]", 4, 5, "other"), ("mystery[slice 2]", 4, 5, "other"), ("deep", 2, 60, "other"),
    ]  # fmt: skip


def test_aliases_keep_the_embedding(plan_of: PlanOf) -> None:
    shapes = {"model.embed_tokens.weight": (96, 32), "lm_head.weight": (96, 32), "a.weight": Q, "b.weight": Q}
    result = plan_of(shapes, aliases={"model.embed_tokens.weight": "lm_head.weight", "a.weight": "b.weight"})
    found = dispositions(result)
    assert found["lm_head.weight"] == ("tied", "shares storage with model.embed_tokens.weight")
    assert found["a.weight"] == ("tied", "shares storage with b.weight")
    assert result.tie_candidates == ()


def test_encoder_decoder_ties(plan_of: PlanOf) -> None:
    names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]
    result = plan_of(dict.fromkeys(names, (96, 32)))
    assert result.tie_candidates == tuple((name, "shared.weight") for name in names[1:])


def test_hundred_thousand_experts_are_planned_in_seconds() -> None:
    names = (
        f"model.layers.{layer}.mlp.experts.{e}.{part}.weight"
        for layer in range(64) for e in range(520) for part in ("gate_proj", "up_proj", "down_proj")
    )  # fmt: skip
    tensors = {name: TensorInfo(name=name, shape=(64, 32), dtype="bfloat16") for name in names}
    start = time.process_time()
    assert len(plan(tensors, {"num_attention_heads": 4}).matrices) == len(tensors)
    assert time.process_time() - start < 15  # 2 s alone; a quadratic loop would take hours
