"""Loading a checkpoint: all of its weights or a refusal; adapters that went in whole; GGUF files; damaged files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plasticity.base_model import load_base, load_tokenizer
from plasticity.identity import identity
from spectra.errors import SpectraError
from tests.plasticity.reward_checkpoints import BOS, CLS, EOS, MARKS, tiny, write, write_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
IDS = torch.tensor([[1, 40, 50, 60, 70]])
COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write(folder / "llama", tiny("causal"))
    write(folder / "tied", tiny("causal", tie_word_embeddings=True))
    write(folder / "classifier", tiny())
    write(folder / "tied_classifier", tiny(tie_word_embeddings=True))
    return folder


def changed(folder: Path, to: Path, change: Callable[[dict[str, Any]], Any], name: str = "model.safetensors") -> Path:
    """A copy whose weights are other ones."""
    shutil.copytree(folder, to)
    weights = load_file(to / name)
    change(weights)
    save_file(weights, to / name, metadata={"format": "pt"})
    return to


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


def lora(base: Path, to: Path, **settings: Any) -> tuple[Path, torch.Tensor]:
    """An adapter with weights that matter, and what peft gives with it."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, task_type="CAUSAL_LM", **settings)
    made = peft.get_peft_model(load_base(str(base)).model, config)
    generator = torch.Generator().manual_seed(0)
    for value in made.parameters():
        if value.requires_grad:
            value.data.add_(torch.randn(value.shape, generator=generator))
    config.base_model_name_or_path = str(base)
    made.save_pretrained(to)
    write_tokenizer(to)
    return to, logits(made)


@pytest.fixture(scope="module")
def adapter(shelf: Path) -> Path:
    """LoRA on `llama`."""
    folder, wanted = lora(shelf / "llama", shelf / "adapter", target_modules=["q_proj", "down_proj"])
    torch.save(wanted, shelf / "adapted.pt")
    return folder


def test_whole_checkpoints_load_with_their_own_weights(shelf: Path) -> None:
    for name in ("llama", "tied"):
        stored = load_file(shelf / name / "model.safetensors")
        assert ("lm_head.weight" in stored) == (name == "llama")
        found = load_base(str(shelf / name))
        assert all(torch.equal(found.model.state_dict()[key], value) for key, value in stored.items())
        assert torch.equal(found.model.lm_head.weight, found.model.model.embed_tokens.weight) == (name == "tied")
        assert (found.base, found.revision, found.window) == (None, None, 512)


def test_weights_that_are_missing_or_of_another_shape_are_refused(shelf: Path, tmp_path: Path) -> None:
    one = changed(shelf / "llama", tmp_path / "one", lambda w: w.pop("model.layers.1.mlp.down_proj.weight"))
    with pytest.raises(
        SpectraError, match=r"\(LlamaForCausalLM\) has no model\.layers\.1\.mlp\.down_proj\.weight, and .* random"
    ):
        load_base(str(one))
    both = changed(shelf / "tied", tmp_path / "both", lambda w: w.pop("model.embed_tokens.weight"))
    with pytest.raises(SpectraError, match=r"has no .*embed_tokens"):
        load_base(str(both))
    cut = changed(shelf / "llama", tmp_path / "cut", lambda w: w.update({"model.norm.weight": torch.ones(5)}))
    with pytest.raises(SpectraError, match=r"model\.norm\.weight \(5,\) there, \(32,\) by its configuration"):
        load_base(str(cut))
    assert load_base(str(one), from_scratch=True).model is not None  # its weights do not matter there


def test_a_sequence_classifier_is_refused_with_and_without_a_head_to_tie(shelf: Path) -> None:
    with pytest.raises(SpectraError, match=r"\(LlamaForSequenceClassification\) has no lm_head\.weight"):
        load_base(str(shelf / "classifier"))
    with pytest.raises(SpectraError, match="was saved as LlamaForSequenceClassification, which does not continue"):
        load_base(str(shelf / "tied_classifier"))


def test_gpt2_loads_as_old_checkpoints_have_it(tmp_path: Path) -> None:
    """Without the prefix of newer ones, and with the masks that were buffers once."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=261, n_embd=32, n_layer=2, n_head=4, n_positions=64)).eval()
    new = write(tmp_path / "new", model)

    def older(weights: dict[str, Any]) -> None:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        for layer in range(2):
            weights[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
            weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)

    for folder in (new, changed(new, tmp_path / "old", older)):
        assert torch.allclose(logits(load_base(str(folder)).model), logits(model))


def test_an_adapter_is_its_base_and_all_of_its_weights(shelf: Path, adapter: Path) -> None:
    found = load_base(str(adapter))
    assert torch.allclose(logits(found.model), torch.load(shelf / "adapted.pt"), atol=1e-5)
    assert not torch.allclose(logits(load_base(str(shelf / "llama")).model), logits(found.model), atol=1e-2)
    assert (found.base, found.base_revision) == (str(shelf / "llama"), None)
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("base", ["llama", "tied"])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj", "embed_tokens"], "use_rslora": True},
    ],
)
@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_adapters_of_other_layers_are_not_refused(
    shelf: Path, tmp_path: Path, base: str, settings: dict[str, Any]
) -> None:
    folder, wanted = lora(shelf / base, tmp_path / "adapter", **settings)
    assert torch.allclose(logits(load_base(str(folder)).model), wanted, atol=1e-5)


def test_an_adapter_that_does_not_fit_is_refused(shelf: Path, adapter: Path, tmp_path: Path) -> None:
    name = "adapter_model.safetensors"

    def renamed(weights: dict[str, Any]) -> None:
        for key in list(weights):
            weights[key.replace(".layers.", ".blocks.")] = weights.pop(key)

    none = changed(adapter, tmp_path / "none", renamed, name)
    with pytest.raises(
        SpectraError, match=r"does not fit its base: it has no .*lora_A.* the base has no place for its .*blocks"
    ):
        load_base(str(none))
    key = next(key for key in load_file(adapter / name) if "lora_B" in key)
    for word, change in (
        ("it has no", lambda w: w.pop(key)),
        ("no place for its", lambda w: w.update({key.replace(".0.", ".7."): w[key].clone()})),
        ("other shapes for its", lambda w: w.update({key: torch.ones(3, 2)})),
    ):
        one = changed(adapter, tmp_path / word.replace(" ", "-"), change, name)
        with pytest.raises(SpectraError, match=f"does not fit its base: .*{word} .*lora_B"):
            load_base(str(one))


def based_on(adapter: Path, to: Path, base: object) -> Path:
    shutil.copytree(adapter, to)
    settings = json.loads((to / "adapter_config.json").read_text())
    (to / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": base}))
    return to


def test_the_base_of_an_adapter_must_be_there_whole_and_no_adapter(shelf: Path, adapter: Path, tmp_path: Path) -> None:
    one = changed(shelf / "llama", tmp_path / "one", lambda w: w.pop("model.layers.0.mlp.up_proj.weight"))
    for base, said in (
        (str(one), r"one is no whole causal language model.*up_proj"),
        (str(adapter), "is an adapter too"),
        ("/no/such/base", "its base None|its base '/no/such/base' is not there"),
        (None, "its base None is not there"),
    ):
        with pytest.raises(SpectraError, match=said):
            load_base(str(based_on(adapter, tmp_path / f"on{hash(base)}", base)))
    (tmp_path / "on").mkdir()
    shutil.copytree(adapter, tmp_path / "on", dirs_exist_ok=True)
    (tmp_path / "on" / "adapter_config.json").write_text("{")
    with pytest.raises(SpectraError, match="its base None is not there"):
        load_base(str(tmp_path / "on"))
    assert load_tokenizer(str(tmp_path / "on")).model is None


def test_an_adapter_beside_a_whole_model_is_put_on_that_one(shelf: Path, adapter: Path, tmp_path: Path) -> None:
    both = shutil.copytree(shelf / "llama", tmp_path / "both")
    shutil.copytree(based_on(adapter, tmp_path / "on", "/no/such/base"), both, dirs_exist_ok=True)
    found = load_base(str(both))
    assert torch.allclose(logits(found.model), torch.load(shelf / "adapted.pt"), atol=1e-5) and found.base is None
    (both / "model.safetensors").unlink()  # a configuration alone is no model: its named base is
    with pytest.raises(SpectraError, match="'/no/such/base' is not there"):
        load_base(str(both))


def test_damaged_files_have_one_message(shelf: Path, adapter: Path, tmp_path: Path) -> None:
    for number, (source, file, content) in enumerate(
        (
            ("llama", "model.safetensors", lambda was: was[: len(was) // 2]),
            ("llama", "model.safetensors", lambda was: b""),
            ("llama", "config.json", lambda was: b"[]"),
            ("llama", "config.json", lambda was: b'{"model_type": 5}'),
            ("llama", "config.json", lambda was: was.replace(b'"hidden_size": 32', b'"hidden_size": "x"')),
            ("llama", "tokenizer.json", lambda was: was[:1000]),
            (
                "llama",
                "tokenizer.json",
                lambda was: was.replace(b'"type":"BPE"', b'"type":"X"').replace(b'"type": "BPE"', b'"type": "X"'),
            ),
            ("adapter", "adapter_model.safetensors", lambda was: was[:100]),
        )
    ):
        folder = shutil.copytree(shelf / source, tmp_path / str(number))
        (folder / file).write_bytes(content((folder / file).read_bytes()))
        with pytest.raises(
            SpectraError, match=r"cannot be loaded as a causal language model|no tokenizer that can be loaded"
        ):
            load_base(str(folder))
    empty = tmp_path / "empty"
    write_tokenizer(empty)
    with pytest.raises(SpectraError, match="no architecture that a causal language model can be made of"):
        load_base(str(empty), from_scratch=True)


def write_gguf(path: Path, model: Any, *, without: str = "") -> Path:
    """A llama with a byte-level tokenizer, in float32."""
    gguf = pytest.importorskip("gguf")
    config, letters = model.config, json.loads((path.parent / "llama" / "tokenizer.json").read_text())["model"]["vocab"]
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in (
        (writer.add_context_length, 512), (writer.add_embedding_length, config.hidden_size),
        (writer.add_block_count, config.num_hidden_layers), (writer.add_feed_forward_length, config.intermediate_size),
        (writer.add_head_count, config.num_attention_heads), (writer.add_head_count_kv, config.num_key_value_heads),
        (writer.add_layer_norm_rms_eps, config.rms_norm_eps), (writer.add_vocab_size, config.vocab_size),
        (writer.add_rope_dimension_count, config.hidden_size // config.num_attention_heads),
        (writer.add_tokenizer_model, "gpt2"), (writer.add_bos_token_id, BOS), (writer.add_eos_token_id, EOS),
    ):  # fmt: skip
        add(value)
    tokens = sorted(letters, key=letters.__getitem__)
    assert tokens[: len(MARKS)] == list(MARKS) and len(tokens) == 261
    tokens[CLS] = "Ġt"
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in MARKS else 1 for token in tokens])
    writer.add_token_merges(["Ġ t"])
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "model.layers.": "blk.",
    }  # fmt: skip
    tied = model.config.tie_word_embeddings
    for key, value in model.state_dict().items():
        name = key
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        if name == without or (tied and name == "output.weight"):
            continue
        found = value.numpy()
        if name.endswith(("attn_q.weight", "attn_k.weight")):  # llama.cpp interleaves the halves of rotary dimensions
            heads = config.num_attention_heads if "attn_q" in name else config.num_key_value_heads
            found = found.reshape(heads, 2, -1, found.shape[1]).swapaxes(1, 2).reshape(found.shape)
        writer.add_tensor(name, found)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf_files_load_whole_or_not_at_all(shelf: Path, adapter: Path, tmp_path: Path) -> None:
    for name in ("llama", "tied"):
        model = load_base(str(shelf / name)).model
        found = load_base(str(write_gguf(shelf / f"{name}.gguf", model)))
        assert torch.allclose(logits(found.model), logits(model), atol=1e-4)
        assert identity(found)["weights_sha256"] and identity(found)["config_sha256"] is None
    on = based_on(adapter, tmp_path / "on", str(shelf / "llama.gguf"))
    assert torch.allclose(logits(load_base(str(on)).model), torch.load(shelf / "adapted.pt"), atol=1e-4)
    without = write_gguf(shelf / "without.gguf", model, without="blk.1.ffn_down.weight")
    with pytest.raises(SpectraError, match=r"without\.gguf is no whole causal language model.*down_proj"):
        load_base(str(without))
    whole = (shelf / "llama.gguf").read_bytes()
    (shelf / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpectraError, match=r"cut\.gguf"):
        load_base(str(shelf / "cut.gguf"))


def test_a_hub_id_is_read_from_one_commit_that_is_recorded(
    shelf: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    on = based_on(adapter, tmp_path / "on", "me/base")
    for name, source, commit in (("base", shelf / "llama", COMMIT), ("adapter", on, OTHER)):
        cache = tmp_path / f"models--me--{name}"
        shutil.copytree(source, cache / "snapshots" / commit)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text(commit)
        (cache / ".no_exist" / commit).mkdir(parents=True)  # what the hub has said it does not have
        for file in {"adapter_config.json", "config.json"} - {path.name for path in source.iterdir()}:
            (cache / ".no_exist" / commit / file).touch()
    plain, adapted = load_base("me/base"), load_base("me/adapter")
    assert (plain.revision, plain.base) == (COMMIT, None)
    assert (adapted.revision, adapted.base, adapted.base_revision) == (OTHER, "me/base", COMMIT)
    assert torch.allclose(logits(adapted.model), torch.load(shelf / "adapted.pt"), atol=1e-5)
    local = load_base(str(on))  # an adapter on disk, its base on the hub
    known = identity(local)
    assert known["revision"] is None and known["weights_sha256"]
    assert known["base"] == {"source": "me/base", "weights_sha256": None, "config_sha256": None, "revision": COMMIT}


def test_paths_that_are_no_checkpoint_say_what_they_are(shelf: Path, tmp_path: Path) -> None:
    for load in (load_base, load_tokenizer):
        for path in (str(tmp_path / "nothing"), "./nothing", "~/no/such/folder", "a/b/c", "no.gguf"):
            with pytest.raises(SpectraError, match=rf"^{re.escape(path)}: no such folder or file"):
                load(path)
        run = tmp_path / load.__name__
        for step in (9, 100):
            (run / f"checkpoint-{step}").mkdir(parents=True)
        with pytest.raises(SpectraError, match=rf"is a run: its newest checkpoint is {run}/checkpoint-100; name that"):
            load(str(run))
        with pytest.raises(SpectraError, match=r"checkpoint-100 has no tokenizer that can be loaded\. Expected"):
            load(str(run / "checkpoint-100"))
    beside = shutil.copytree(shelf / "llama", tmp_path / "beside")  # a model with checkpoints beside it is a model
    (beside / "checkpoint-1").mkdir()
    assert load_tokenizer(str(beside)).window == 512


def test_without_a_network_a_hub_id_is_refused_at_once_and_found_in_the_cache(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging
    import socket

    from huggingface_hub import constants

    def unknown(host: str, *_: object) -> None:
        assert host == "hub.test"
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.test")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    level = logging.getLogger("huggingface_hub").level
    for load in (load_base, load_tokenizer):
        with pytest.raises(SpectraError, match=r"me/base is no folder here .*hub\.test has no address .*--model"):
            load("me/base")
    cache = tmp_path / "models--me--base"
    shutil.copytree(shelf / "llama", cache / "snapshots" / COMMIT)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    assert load_base("me/base").revision == COMMIT
    assert not constants.HF_HUB_OFFLINE and logging.getLogger("huggingface_hub").level == level
