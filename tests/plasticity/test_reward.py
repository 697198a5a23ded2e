"""Reward models: equal to the model run on one text at a time, whatever the batch; templates, limits, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticity.reward import RewardModel, load_reward
from plasticity.reward_templates import HUMAN_ASSISTANT
from spectra.errors import SpectraError

from .reward_checkpoints import BOS, CLS, DATED_CHAT, EOS, LLAMA_CHAT, PAD, SEP, tiny, write, write_tokenizer

HARMFUL = "absolute-harmfulness-predictor-redteam"


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rewards")
    write(folder / "llama", tiny())
    write(folder / "three", tiny(labels=3, id2label={0: "bad", 1: "fair", 2: "good"}))
    write(folder / HARMFUL, tiny("deberta"), kind="bert", chat=None)
    write(folder / "bert", tiny("bert", labels=2), kind="bert", chat=None)
    write(folder / "xlnet", tiny("xlnet"), kind="bare", chat=None)
    write(folder / "causal", tiny("causal"))
    return folder


def pairs(n: int = 33) -> list[tuple[str, str]]:
    """Of many lengths, an empty response among them."""
    rng = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 60, (n, 2), generator=rng).tolist()
    return [(f"{'Why? ' * a}"[:a], f"{'Because. ' * b}"[: b if i else 0]) for i, (a, b) in enumerate(lengths)]


def alone(folder: Path, ids: list[list[int]], logit: int = 0) -> list[float]:
    """What transformers gives for each text by itself, without padding."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return [float(model(input_ids=torch.tensor([one])).logits[0, logit]) for one in ids]


def ids_of(folder: Path, asked: list[tuple[str, str]]) -> list[list[int]]:
    """Tokens by way of transformers alone: the chat template where there is one, else Human and Assistant, cut at 512."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        texts = [f"\n\nHuman: {q}\n\nAssistant: {r}" for q, r in asked]
        return [list(tokenizer(text, truncation=True, max_length=512)["input_ids"]) for text in texts]
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": r}] for q, r in asked]
    return [list(tokenizer.apply_chat_template(one, tokenize=True, return_dict=False)) for one in turns]


def values(model: RewardModel, asked: list[tuple[str, str]]) -> list[float]:
    return [reward.value for reward in model.score(asked)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {}),
        ("three", {"logit": 2}),
        (HARMFUL, {}),
        ("bert", {"template": "human_assistant", "logit": 1}),
        ("xlnet", {"template": "human_assistant"}),
    ],
)
def test_batches_equal_one_at_a_time(shelf: Path, name: str, options: dict[str, Any]) -> None:
    asked = pairs()
    ids = ids_of(shelf / name, asked)
    wanted = alone(shelf / name, ids, options.get("logit", 0))
    assert max(wanted) - min(wanted) > 0.1  # else the comparison says nothing
    for size in (1, 7, 32):
        model = load_reward(str(shelf / name), device="cpu", batch_size=size, **options)
        found = model.score(asked)
        assert [r.value for r in found] == pytest.approx(wanted, abs=1e-5)
        assert [r.tokens for r in found] == [len(one) for one in ids] and not any(r.truncated for r in found)
    expected = "none: only texts of equal length together" if name == "xlnet" else "right"
    assert model.describe()["padding"] == expected


@pytest.mark.parametrize("named", [None, -1, EOS, PAD])
def test_pooling_does_not_depend_on_the_padding(tmp_path: Path, named: int | None) -> None:
    """The tokenizer pads with EOS and every text ends with EOS; the configuration names nothing, nonsense, EOS, another."""
    model = tiny(pad=named)
    folder = write(tmp_path / "m", model, pad="</s>")
    asked = pairs(12)
    ids = ids_of(folder, asked)
    assert all(one[-1] == EOS for one in ids)
    wanted = alone(folder, ids)
    made = load_reward(str(folder), device="cpu", batch_size=5)
    assert values(made, asked) == pytest.approx(wanted, abs=1e-5)
    assert made.model.config.pad_token_id == named
    assert made.describe()["pad_token_id"] == (None if named in (None, -1) else named)

    longest = max(map(len, ids))  # what is usually done, and off
    padded = torch.tensor([one + [EOS] * (longest - len(one)) for one in ids])
    model.config.pad_token_id = PAD if named == PAD else EOS
    with torch.no_grad():
        usual = model(input_ids=padded).logits[:, 0].tolist()  # a decoder: no token sees what follows it
    assert (max(abs(a - b) for a, b in zip(usual, wanted, strict=True)) > 0.01) == (named != EOS)


def test_templates_as_text(shelf: Path) -> None:
    chat = load_reward(str(shelf / "llama"), device="cpu")
    assert chat.reader.text("Why {x}?", " So. ") == "<|user|>\nWhy {x}?</s><|assistant|>\nSo.</s>"
    [read] = chat.reader.read([("q", "r")])
    assert read.ids[0] == BOS and read.ids.count(BOS) == 1  # the template has one, and the tokenizer adds one
    harm = load_reward(str(shelf / HARMFUL), device="cpu")
    assert harm.reader.text("Why {x}?", "{response}") == "\n\nHuman: Why {x}?\n\nAssistant: {response}"
    mine = load_reward(str(shelf / "llama"), device="cpu", template="{{Q}} {question} A {response}!")
    assert mine.reader.text("a", "b") == "{Q} a A b!"
    assert (
        load_reward(str(shelf / "llama"), device="cpu", template="human_assistant").reader.template == HUMAN_ASSISTANT
    )


def test_a_bos_of_the_template_stays_where_the_tokenizer_adds_none(shelf: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shelf / "llama", tmp_path / "m")
    write_tokenizer(folder, kind="bare")
    model = load_reward(str(folder), device="cpu", max_tokens=40)
    short, long = model.reader.read([("q", "r"), ("q", "r" * 99)])
    assert short.ids[0] == long.ids[0] == BOS and long.cut and len(long.ids) == 40


def test_a_template_with_the_date_gives_the_same_text_every_day(shelf: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shelf / "llama", tmp_path / "m")
    write_tokenizer(folder, chat=DATED_CHAT)
    model = load_reward(str(folder), device="cpu")
    assert model.reader.text("q", "r") == "\n26 Jul 2024<s><|user|>\nq</s><|assistant|>\nr</s>"
    assert model.describe()["chat_day"] == "2024-07-26"


def test_what_is_too_long_is_cut_on_the_stated_side_and_counted(shelf: Path) -> None:
    asked = [("q", "r"), ("question " * 90, "the end"), ("q", "response " * 90)]
    chat = load_reward(str(shelf / "llama"), device="cpu", batch_size=2)
    harm = load_reward(str(shelf / HARMFUL), device="cpu", batch_size=2)
    assert (chat.describe()["max_tokens"], chat.describe()["cut"]) == (
        512,
        "left",
    )  # the model was made for less than 4096
    assert (harm.describe()["max_tokens"], harm.describe()["cut"]) == (512, "right")
    for model, name in ((chat, "llama"), (harm, HARMFUL)):
        found = model.score(asked)
        assert [r.truncated for r in found] == [False, True, True]
        assert [r.tokens for r in found][1:] == [512, 512]
        assert [r.value for r in found] == pytest.approx(
            alone(shelf / name, [list(t.ids) for t in model.reader.read(asked)]), abs=1e-5
        )
    whole = ids_of(shelf / "llama", asked)[1]
    assert list(chat.reader.read(asked)[1].ids) == [BOS, *whole[-511:]]
    cut = harm.reader.read(asked)[1].ids
    assert list(cut) == ids_of(shelf / HARMFUL, asked)[1]
    assert (cut[0], cut[-1]) == (CLS, SEP)
    assert [r.tokens for r in load_reward(str(shelf / "llama"), device="cpu", max_tokens=100).score(asked)][1:] == [
        100,
        100,
    ]
    own = load_reward(str(shelf / "llama"), device="cpu", template="{question}{response}", max_tokens=50)
    assert own.describe()["cut"] == "right"  # the tokenizer's own side


def test_what_is_recorded(shelf: Path) -> None:
    found = load_reward(str(shelf / "three"), device="cpu", logit=1, dtype="bfloat16").describe()
    assert found["model"] == str(shelf / "three") and found["family"] == "outcome"
    assert found["family_by"] == "its tokenizer has a chat template"
    assert (found["logit"], found["logits"], found["dtype"], found["device"]) == (1, 3, "bfloat16", "cpu")
    assert json.loads(json.dumps(found)) == found and "batch_size" not in found
    harm = load_reward(str(shelf / HARMFUL), device="cpu").describe()
    assert (harm["family"], harm["template"], harm["logit"], harm["dtype"]) == (
        "harmfulness",
        HUMAN_ASSISTANT,
        0,
        "float32",
    )
    assert load_reward(str(shelf / "llama"), device="cpu", template="chat").describe()["family_by"] == "asked for"


def test_bfloat16_is_near(shelf: Path) -> None:
    asked = pairs(6)
    exact, half = (
        values(load_reward(str(shelf / "llama"), device="cpu", dtype=d), asked) for d in ("float32", "bfloat16")
    )
    assert exact != half and half == pytest.approx(exact, abs=0.1)


def test_a_head_that_was_never_trained_is_refused(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SpectraError, match=r"no sequence classifier: its checkpoint \(LlamaForCausalLM\) has no score\.weight"
    ):
        load_reward(str(shelf / "causal"), device="cpu")
    folder = shutil.copytree(shelf / "llama", tmp_path / "two")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "a", "1": "b"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpectraError, match=r"score\.weight \(1, 32\) there, \(2, 32\) by its configuration.*2 labels"):
        load_reward(str(folder), device="cpu")


def test_the_logit_must_be_there_and_named(shelf: Path) -> None:
    with pytest.raises(SpectraError, match=r"has 3 logits \(bad, fair, good\).*--reward-logit 0 to 2"):
        load_reward(str(shelf / "three"), device="cpu")
    for logit in (3, -1):
        with pytest.raises(SpectraError, match=rf"no logit {logit}: it has 3"):
            load_reward(str(shelf / "three"), device="cpu", logit=logit)


def test_templates_that_cannot_be_used(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="of no known family, and its tokenizer has no chat template"):
        load_reward(str(shelf / "bert"), device="cpu")
    with pytest.raises(SpectraError, match="chat template of its tokenizer, and its tokenizer has no chat template"):
        load_reward(str(shelf / "bert"), device="cpu", template="chat")
    for template in (
        "alpaca",
        "{question}",
        "{question} {response} {x}",
        "{question",
        "{question!r}{response}",
        "{}{}",
    ):
        with pytest.raises(SpectraError, match="Expected chat, human_assistant, or a text with"):
            load_reward(str(shelf / "llama"), device="cpu", template=template)
    folder = shutil.copytree(shelf / "llama", tmp_path / "m")
    for chat, said in (
        ("{{ messages[0]['content'] }}", "leaves the response out"),
        (LLAMA_CHAT + "{{ raise_exception('no assistant here') }}", "refuses .*no assistant here"),
    ):
        write_tokenizer(folder, chat=chat)
        with pytest.raises(SpectraError, match=said):
            load_reward(str(folder), device="cpu")


def test_sources_that_cannot_be_had(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SpectraError, match=r"nobody/nothing has no tokenizer that can be loaded .* without a network"):
        load_reward("nobody/nothing", device="cpu")
    with pytest.raises(SpectraError, match=r"There is no .*missing"):
        load_reward(str(tmp_path / "missing"), device="cpu")
    tiny().save_pretrained(tmp_path / "bare")
    with pytest.raises(SpectraError, match="has no tokenizer"):
        load_reward(str(tmp_path / "bare"), device="cpu")
    damaged = shutil.copytree(shelf / "llama", tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(SpectraError, match="cannot be loaded as a sequence classifier"):
        load_reward(str(damaged), device="cpu")
    write_tokenizer(tmp_path / "words")
    with pytest.raises(SpectraError, match="cannot be loaded as a sequence classifier"):
        load_reward(str(tmp_path / "words"), device="cpu")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_tokens": 513}, "made for 1 to 512"),
        ({"max_tokens": 0}, "made for 1 to 512"),
        ({"max_tokens": 9}, "less than the template has"),
        ({"device": "toaster"}, "expected auto, cpu, cuda"),
        ({"device": "meta"}, "expected auto, cpu, cuda"),
    ],
)
def test_options_out_of_range(shelf: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        load_reward(str(shelf / "llama"), **({"device": "cpu"} | options))


def test_a_reward_that_is_not_finite_is_refused_by_name(shelf: Path) -> None:
    model = load_reward(str(shelf / "llama"), device="cpu")
    with torch.no_grad():
        model.model.score.weight.fill_(float("nan"))
    with pytest.raises(SpectraError, match="The reward of pair 0 is nan"):
        model.score([("q", "r")])
    with pytest.raises(SpectraError, match="The reward of the second is nan"):
        model.score([("q", "r")], ["the second"])
    assert model.score([]) == []


def test_too_little_memory_is_said(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = load_reward(str(shelf / "llama"), device="cpu", batch_size=3)
    monkeypatch.setattr(model.model, "forward", fail)
    with pytest.raises(
        SpectraError, match=r"with 3 texts of up to .* tokens for the reward model; resume with --batch-size below 3"
    ):
        model.score(pairs(9))


def test_an_adapter_is_refused(shelf: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    settings = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": str(shelf / "llama"), "r": 2}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(SpectraError, match=r"is an adapter\. Merge it"):
        load_reward(str(tmp_path), device="cpu")


@pytest.mark.gpu
def test_on_a_gpu(shelf: Path) -> None:
    asked = pairs()
    exact = values(load_reward(str(shelf / "llama"), device="cpu"), asked)
    model = load_reward(str(shelf / "llama"))
    assert (model.describe()["device"], model.describe()["dtype"]) == ("cuda", "bfloat16")
    assert values(model, asked) == pytest.approx(exact, abs=0.1)
    assert values(load_reward(str(shelf / "llama"), dtype="float32"), asked) == pytest.approx(exact, abs=1e-4)
    assert load_reward(str(shelf / HARMFUL)).describe()["dtype"] == "float32"


def test_a_local_model_that_is_overwritten_in_place_is_another(shelf: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shelf / "llama", tmp_path / "m")
    described = []
    for change in (None, "model.safetensors", "config.json", "tokenizer.json"):
        path = folder / str(change)
        if change == "model.safetensors":
            path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
        if change == "config.json":
            path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 1e-3}))
        if change == "tokenizer.json":
            write_tokenizer(folder, kind="bare")
        described.append(load_reward(str(folder), device="cpu").describe())
    assert all(described[i] != described[j] for i in range(4) for j in range(i))
    assert described[0] | {"model": 0} == load_reward(str(shelf / "llama"), device="cpu").describe() | {"model": 0}


def test_a_model_waits_on_the_cpu_and_says_where_it_will_run(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not there: moves are only noted."""
    from plasticity import devices

    moves: list[tuple[str, torch.dtype]] = []
    monkeypatch.setattr(devices, "placed", lambda name: "cuda:0" if name == "cuda" else name)
    monkeypatch.setattr(devices, "put", lambda model, where, dtype, name: moves.append((where, dtype)))
    waiting = load_reward(str(shelf / "llama"), device="cuda", wait=True)
    assert (
        moves == [] and waiting.model.score.weight.dtype == torch.bfloat16
    )  # looked at in the precision that it will have
    assert (waiting.describe()["device"], waiting.describe()["dtype"]) == ("cuda", "bfloat16")
    moved = waiting.to()
    assert moves == [("cuda:0", torch.bfloat16)] and moved.describe() == waiting.describe()
    assert [r.tokens for r in moved.score([("q", "r")])] == [r.tokens for r in waiting.score([("q", "r")])]
    for source, asked, dtype in (
        ("llama", "auto", torch.bfloat16),
        ("llama", "float16", torch.float16),
        (HARMFUL, "auto", torch.float32),
    ):
        on_cpu = load_reward(str(shelf / source), device="cpu", dtype=asked)
        assert on_cpu.describe()["device"] == "cpu"
        there = on_cpu.to("cuda").describe()
        assert moves[-1] == ("cuda:0", dtype)
        assert (there["device"], there["dtype"]) == ("cuda", str(dtype).removeprefix("torch."))
        assert set(there) == set(on_cpu.describe())
