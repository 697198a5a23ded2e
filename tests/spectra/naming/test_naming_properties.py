"""plan() never raises and keeps its ledger, whatever names, shapes, dtypes and configs it is given; what cut() does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectra.naming import cut, plan, view_shape
from spectra.stored import Stored
from spectra.types import MatrixView, Plan, RowBlock, TensorInfo

Ledger = Callable[[Mapping[str, TensorInfo], Plan], None]


def words(text: str) -> list[str]:
    return text.split(" ")


_WORDS = st.sampled_from(
    words(
        "model layers h blk blocks 0 1 ² 99999999999 encoder decoder visual mtp attn attention self self_attn "
        "mlp experts expert_3 q_proj k_proj v_proj o_proj q k v o query key value c_attn c_proj c_fc "
        "query_key_value qkv qkv_proj Wqkv wqkv linear_qkv in_proj in_proj_weight kv_b_proj kv_proj gate "
        "gate_proj up_proj down_proj gate_up_proj w1 w2 v1 ff_proj ff_out dense_h_to_4h dense_4h_to_h ffn_up "
        "attn_k_b lm_head embed_tokens shared output wte cls_token conv parametrizations _orig_mod module "
        "weight bias gate_up_proj_bias scales qweight x[q] [expert 0] router"
    )
)
_NAMES = st.lists(_WORDS, min_size=1, max_size=6).map(".".join) | st.text(max_size=12)
_SIZES = st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96])
_SHAPES = st.lists(_SIZES, max_size=5).map(tuple)
_DTYPES = st.sampled_from(words("float32 bfloat16 float8_e4m3fn Q4_1 IQ3_XXS int8 uint8 bool I32 complex64 what"))
_KINDS = st.sampled_from(["", "Linear", "Conv1D", "Conv1d", "Conv2d", "Embedding"])
_KEYS = st.sampled_from(
    words(
        "model_type num_attention_heads n_head num_key_value_heads num_kv_heads head_dim d_kv hidden_size "
        "multi_query new_decoder_architecture text_config vision_config attn_config qk_nope_head_dim "
        "v_head_dim num_experts attn_output_gate encoder position_encoding_2d thinker_config"
    )
)
_SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.lists(st.integers(-1, 8), max_size=3)
    | st.sampled_from(["", "gpt2", "gpt_neox", "falcon", "chatglm", "codegen", "qwen3_next", "gpt_oss", "deberta"])
)  # fmt: skip
_CONFIGS = st.dictionaries(_KEYS, _SCALARS | st.dictionaries(_KEYS, _SCALARS, max_size=4), max_size=6)


@st.composite
def _tensors(draw: st.DrawFn) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(name=name, shape=draw(_SHAPES), dtype=draw(_DTYPES), kind=draw(_KINDS))
        for name in draw(st.lists(_NAMES, max_size=8, unique=True))
    }


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(tensors=_tensors(), config=_CONFIGS, source=st.sampled_from(["", "gguf", "safetensors"]), data=st.data())
def test_plan_takes_anything(
    tensors: dict[str, TensorInfo], config: dict[str, object], source: str, data: st.DataObject, ledger: Ledger
) -> None:
    names = st.sampled_from([*tensors, "not there"])
    aliases = data.draw(st.dictionaries(names, names, max_size=3))
    absorbed = data.draw(st.dictionaries(names, st.just("folded into another"), max_size=2))
    result = plan(tensors, config, format=source, aliases=aliases, absorbed=absorbed)
    ledger(tensors, result)
    for ref in result.matrices:
        assert (ref.rows, ref.cols) == view_shape(tensors[ref.tensor].shape, ref.view)
        stored = Stored(np.empty(tensors[ref.tensor].shape, np.float32), "float32")
        part = stored if ref.view.index is None else stored[ref.view.index]
        assert cut(part, ref.view).shape == (ref.rows, ref.cols)


def test_one_block_and_transposes_are_views() -> None:
    stored = Stored(np.arange(24, dtype=np.float32).reshape(4, 6), "float32")
    block = MatrixView(tensor="w", transpose=True, blocks=(RowBlock(start=1, stop=6, step=2),))
    matrix = cut(stored, block)
    assert np.shares_memory(matrix.raw, stored.raw)
    np.testing.assert_array_equal(matrix.decode(), stored.decode()[:, 1::2].T)


def test_blocks_are_gathered_in_their_order() -> None:
    stored = Stored(np.arange(12, dtype=np.uint16).reshape(6, 2), "bfloat16")
    view = MatrixView(tensor="w", blocks=(RowBlock(start=4, stop=6), RowBlock(start=0, stop=1)))
    assert cut(stored, view).raw.tolist() == [[8, 9], [10, 11], [0, 1]]
    assert cut(stored, view).dtype == "bfloat16"


def test_flattening_kernels_and_leading_ones() -> None:
    kernel = Stored(np.zeros((8, 3, 2, 2), np.float32), "float32")
    table = Stored(np.zeros((1, 17, 32), np.float32), "float32")
    view = MatrixView(tensor="w", flatten=True)
    assert cut(kernel, view).shape == (8, 12)
    assert cut(table, view).shape == (17, 32)


def test_cut_leaves_the_index_to_the_reader() -> None:
    expert = Stored(np.zeros((3, 4), np.float32), "float32")
    assert cut(expert, MatrixView(tensor="w", index=7)).shape == (3, 4)
