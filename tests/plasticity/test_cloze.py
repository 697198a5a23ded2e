"""Cloze accuracy: against likelihoods computed slowly by hand, and against lm-eval's own command line."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plasticity import cloze_index
from plasticity.cloze import ClozeResult, cloze, lm_eval_task
from plasticity.tasks.arc_challenge import ArcChallenge
from plasticity.tasks.arc_easy import ArcEasy
from plasticity.tasks.base import Task
from plasticity.tasks.hellaswag import HellaSwag
from plasticity.tasks.metamathqa import MetaMathQA
from plasticity.tasks.piqa import PIQA
from plasticity.tasks.winogrande import WinoGrande
from spectra.errors import SpectraError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "warm",
    "mat",
    "while",
    "rain",
    "fell",
    "over",
    "grey",
    "hills",
    "until",
    "noon",
]


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    """A random model of some contrast, and a tokenizer of bytes that puts BOS first and has no pad token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1, **{letter: index for index, letter in enumerate(letters, 2)}}
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=320, initializer_range=0.3, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()
    return model, PreTrainedTokenizerFast(tokenizer_object=built, bos_token="<s>", eos_token="</s>")


def phrase(rng: random.Random, low: int = 1, high: int = 7) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def hellaswag_rows(count: int) -> list[dict[str, Any]]:
    rng = random.Random(12)
    return [
        {
            "ind": index, "activity_label": "Making tea", "ctx_a": f"The {phrase(rng)}.", "ctx_b": rng.choice(["she", ""]),
            "endings": [f"{'[title] ' if i == 1 else ''}{phrase(rng)}." for i in range(4)], "label": str(rng.randrange(4)),
        }
        for index in range(count)
    ]  # fmt: skip


def winogrande_rows(count: int) -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [
        {
            "sentence": f"The {phrase(rng)} _ {phrase(rng)}.", "option1": phrase(rng, high=2), "option2": phrase(rng, high=2),
            "answer": str(rng.randint(1, 2)),
        }
        for _ in range(count)
    ]  # fmt: skip


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def log_likelihood(tiny: tuple[Any, Any], context: str, continuation: str, window: int = 320) -> float:
    """Sum of ln p of the tokens after the context, one pass a choice, in float64."""
    model, tokenizer = tiny
    whole, before = tokenizer.encode(context + continuation), len(tokenizer.encode(context))
    assert whole[0] == tokenizer.bos_token_id and (not context or whole[1] != tokenizer.bos_token_id)
    kept = torch.tensor(whole[-(window + 1) :])
    count = len(whole) - before
    with torch.no_grad():
        logprobs = model(kept[None, :-1]).logits[0].double().log_softmax(-1)
    return float(sum(logprobs[i, kept[i + 1]] for i in range(len(kept) - 1 - count, len(kept) - 1)))


def hellaswag_expected(tiny: tuple[Any, Any], rows: list[dict[str, Any]], window: int = 320) -> list[dict[str, Any]]:
    expected = []
    for row in rows:
        context = f"Making tea: {row['ctx_a']} {row['ctx_b'].capitalize()}".strip()
        endings = [ending.replace("[title] ", " ") for ending in row["endings"]]  # lm-eval keeps that space
        values = [log_likelihood(tiny, context, f" {ending}", window) for ending in endings]
        best = max(range(4), key=lambda i: values[i])
        norm = max(range(4), key=lambda i: values[i] / len(endings[i]))
        expected.append({"logprobs": values, "chosen": best, "chosen_norm": norm, "gold": int(row["label"])})
    return expected


def check(found: ClozeResult, expected: list[dict[str, Any]]) -> None:
    assert found.n_questions == len(found.questions) == len(expected)
    for got, want in zip(found.questions, expected, strict=True):
        assert got["logprobs"] == pytest.approx(want["logprobs"], abs=1e-3)
        assert {name: got[name] for name in want if name != "logprobs"} == {
            k: v for k, v in want.items() if k != "logprobs"
        }
        assert got["metrics"]["acc"] == float(want["chosen"] == want["gold"])
    names = {"acc": "chosen", "acc_norm": "chosen_norm"}
    assert set(found.scores) == {score for score, name in names.items() if name in expected[0]}
    for score, value in found.scores.items():
        right = [float(want[names[score]] == want["gold"]) for want in expected]
        assert value.value == pytest.approx(np.mean(right), abs=1e-12) and value.n == len(expected)
        assert value.ci95 is not None and value.ci95[0] <= np.mean(right) <= value.ci95[1]


def test_hellaswag_by_hand(
    tiny: tuple[Any, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = hellaswag_rows(17)
    rows[3]["label"] = ""
    data = written(tmp_path / "validation.jsonl", rows)
    kept = rows[:3] + rows[4:]
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    model, tokenizer = tiny
    before, environment = (random.getstate(), torch.get_rng_state()), dict(os.environ)
    heard: list[str] = []
    found = cloze(HellaSwag(), model, tokenizer, data=data, work=tmp_path / "work", batch_size=16, say=heard.append)
    check(found, hellaswag_expected(tiny, kept))
    differ = [one for one in found.questions if one["chosen"] != one["chosen_norm"]]
    assert differ, "the rows must tell acc from acc_norm"
    for value in found.scores.values():
        assert value.value and value.ci95 and value.ci95[0] < value.value < value.ci95[1], (
            "the rows must have hits and misses"
        )
    facts = found.facts
    assert (facts["rows_read"], facts["rows_dropped"]) == (17, {"no label": 1})
    assert (facts["task"], facts["version"], facts["num_fewshot"], facts["truncated"]) == ("hellaswag", 1.0, 0, 0)
    assert facts["requests"] == 64 and facts["max_length"] == 320 and facts["batch_size"] == 16
    assert facts["add_bos_token"] is None and facts["prompts_begin_with_bos"] is True
    assert heard == ["hellaswag: 16 questions through lm-eval, zero-shot (1 rows without an answer left out)"]
    json.dumps([found.questions, facts], allow_nan=False)
    # Nothing around it has changed.
    assert capfd.readouterr().out == ""
    assert not list(here.iterdir()) and not list((tmp_path / "work").iterdir())
    assert tokenizer.pad_token is None and model.training and dict(os.environ) == environment
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    # The batch changes no choice, the number of questions none of those before.
    single = cloze(HellaSwag(), model, tokenizer, data=data, work=tmp_path / "work", batch_size=1, limit=9)
    for one, other in zip(single.questions, found.questions, strict=False):
        assert (one["id"], one["chosen"], one["chosen_norm"]) == (other["id"], other["chosen"], other["chosen_norm"])
    assert single.n_questions == 9 and single.facts["rows_read"] == 10
    assert single.facts["fingerprint"] != facts["fingerprint"]


def test_winogrande_by_hand(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    rows = winogrande_rows(12)
    rows[0]["answer"] = ""
    data = written(tmp_path / "validation.jsonl", rows)
    found = cloze(WinoGrande(), *tiny, data=data, work=tmp_path / "work")
    expected = []
    for row in rows[1:]:
        before, _, after = row["sentence"].partition("_")
        values = [log_likelihood(tiny, f"{before}{row[option]}", after) for option in ("option1", "option2")]
        expected.append({"logprobs": values, "chosen": int(values[1] > values[0]), "gold": int(row["answer"]) - 1})
    check(found, expected)
    assert found.facts["rows_dropped"] == {"no answer": 1}


def test_long_contexts_are_cut_and_counted(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    rows = hellaswag_rows(6)
    rows[2]["ctx_a"] = "A word. " * 30
    data = written(tmp_path / "validation.jsonl", rows)
    found = cloze(HellaSwag(), *tiny, data=data, work=tmp_path, max_length=120)
    check(found, hellaswag_expected(tiny, rows, window=120))
    assert found.facts["truncated"] == 4 and found.facts["max_length"] == 120
    with pytest.raises(SpectraError, match=r"A continuation of \d+ tokens cannot be scored .* 1 to 12, the window"):
        cloze(HellaSwag(), *tiny, data=data, work=tmp_path, max_length=12)


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_likelihoods_that_are_not_finite_are_refused(tiny: tuple[Any, Any], tmp_path: Path, damage: float) -> None:
    import copy

    broken = copy.deepcopy(tiny[0])
    broken.lm_head.weight.data[7] = damage
    data = written(tmp_path / "validation.jsonl", hellaswag_rows(3))
    with pytest.raises(SpectraError, match=r"log-likelihoods are not finite .* in float32.* --precision fp32"):
        cloze(HellaSwag(), broken, tiny[1], data=data, work=tmp_path)


def test_too_little_memory_says_what_to_do(
    tiny: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(type(tiny[0]), "forward", full)
    data = written(tmp_path / "validation.jsonl", hellaswag_rows(3))
    with pytest.raises(SpectraError, match=r"with 8 texts at once.* --batch-size below 8"):
        cloze(HellaSwag(), *tiny, data=data, work=tmp_path, batch_size=8)


def test_equal_documents_have_equal_ids_whatever_the_file(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    rows = [{"goal": f"Goal {i}", "sol1": "Do it", "sol2": "Leave it", "label": i % 2} for i in range(3)]
    foundry = [
        {"query": f"Question: {row['goal']}", "choices": [row["sol1"], row["sol2"]], "gold": row["label"]} for row in rows
    ]  # fmt: skip
    one = cloze(PIQA(), *tiny, data=written(tmp_path / "validation.jsonl", rows), work=tmp_path)
    other = cloze(PIQA(), *tiny, data=written(tmp_path / "dev.jsonl", foundry), work=tmp_path)
    assert [q["id"] for q in one.questions] == [q["id"] for q in other.questions]
    assert one.facts["fingerprint"] == other.facts["fingerprint"]
    assert len({q["id"] for q in one.questions}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "4"}, r"Row 2 .* choice 4 of 4, counted from 0"),
        ({"label": "x"}, r"Row 2 .* cannot be read \(ValueError"),
        ({"endings": None}, r"Row 2 .* cannot be read \(TypeError"),
    ],
)
def test_rows_that_cannot_be_read(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = hellaswag_rows(3)
    rows[1] |= change
    data = written(tmp_path / "validation.jsonl", rows)
    with pytest.raises(SpectraError, match=message):
        cloze(HellaSwag(), None, None, data=data, work=tmp_path)


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    unlabelled = [row | {"label": ""} for row in hellaswag_rows(2)]
    with pytest.raises(SpectraError, match=r"Nothing is left .* 2 rows read, dropped: no label \(2\)"):
        cloze(HellaSwag(), None, None, data=written(tmp_path / "validation.jsonl", unlabelled), work=tmp_path)
    with pytest.raises(SpectraError, match="metamathqa is a generation task"):
        cloze(MetaMathQA(), None, None, data=None, work=tmp_path)
    with pytest.raises(SpectraError, match="Batch size 0"):
        cloze(HellaSwag(), None, None, data=None, work=tmp_path, batch_size=0)

    def offline(*args: Any, **options: Any) -> None:
        assert options["revision"] == HellaSwag.header.test[0].revision
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(SpectraError, match=r"Cannot read the hub data set Rowan/hellaswag: .* Check the network"):
        cloze(HellaSwag(), None, None, data=None, work=tmp_path)


def own_tasks(folder: Path) -> Path:
    """A group of two tasks of choices (of different size), and one of perplexity, all on local files."""
    folder.mkdir()
    rng = random.Random(4)
    for name, count in (("short", 4), ("long", 9)):
        rows = [
            {"q": phrase(rng), "options": [phrase(rng) for _ in range(2)], "gold": rng.randrange(2)}
            for _ in range(count)
        ]
        settings = {
            "task": f"own_{name}", "dataset_path": "json", "output_type": "multiple_choice", "test_split": "test",
            "dataset_kwargs": {"data_files": {"test": str(written(folder / f"{name}.jsonl", rows))}},
            "doc_to_text": "{{q}}", "doc_to_target": "gold", "doc_to_choice": "options", "metadata": {"version": 3},
            "metric_list": [{"metric": m, "aggregation": a, "higher_is_better": True} for m, a in (("acc", "mean"), ("f1", "f1"))],
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(json.dumps(settings))
    group = {
        "group": "own", "task": ["own_short", "own_long"], "metadata": {"version": 2},
        "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}],
    }  # fmt: skip
    (folder / "group.yaml").write_text(json.dumps(group))
    texts = written(folder / "texts.jsonl", [{"text": phrase(rng, 5, 20)} for _ in range(5)])
    settings = {
        "task": "own_text", "dataset_path": "json", "output_type": "loglikelihood_rolling", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(texts)}}, "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "byte_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}],
    }  # fmt: skip
    (folder / "text.yaml").write_text(json.dumps(settings))
    settings = {
        "task": "own_answer", "dataset_path": "json", "output_type": "generate_until", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(texts)}}, "doc_to_text": "{{text}}", "doc_to_target": "noon",
        "generation_kwargs": {"max_gen_toks": 3, "do_sample": False, "until": ["zzz"]},
        "filter_list": [
            {"name": name, "filter": [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]}
            for name, pattern in (("never", "^(never)$"), ("fallback", "^(also never)$"))
        ],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
    }  # fmt: skip
    (folder / "answer.yaml").write_text(json.dumps(settings))
    (folder / "broken.yaml").write_text("task: [unclosed")
    return folder


@pytest.fixture
def few_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of lm-eval's in the place of all: reading all takes 15 s."""
    shipped = tmp_path / "shipped"
    for name in ("arc", "piqa"):
        shutil.copytree(cloze_index.shipped_folder() / name, shipped / name)
    monkeypatch.setattr(cloze_index, "shipped_folder", lambda: shipped)
    return shipped


def test_group_of_tasks_of_the_user(
    tiny: tuple[Any, Any],
    tmp_path: Path,
    few_tasks: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = own_tasks(tmp_path / "own")
    monkeypatch.setattr("plasticity.cloze._BOOTSTRAP", 20)  # F1 is slow
    found = lm_eval_task("own", *tiny, limit=None, batch_size=8, seed=0, say=None, include_path=own)
    assert list(found.scores) == ["acc", "own_short/acc", "own_short/f1", "own_long/acc", "own_long/f1"]
    right = [question["metrics"]["acc"] for question in found.questions]
    for score, values in (("acc", right), ("own_short/acc", right[:4]), ("own_long/acc", right[4:])):
        value = found.scores[score]
        assert value.value == pytest.approx(np.mean(values)) and value.n == len(values) and value.ci95 is not None
    corpus = found.scores["own_long/f1"]
    assert corpus.ci95 is None and corpus.n == 9 and found.facts["stderr"]["own_long/f1"] > 0
    assert [question["task"] for question in found.questions] == ["own_short"] * 4 + ["own_long"] * 9
    for question in found.questions:
        assert question["metrics"] == {"acc": float(question["chosen"] == question["gold"])}
    assert found.facts["version"] == "2" and found.facts["versions"]["own_long"] == 3
    assert capfd.readouterr() == ("", "")


def test_one_task_of_the_user(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    own = own_tasks(tmp_path / "own")
    found = lm_eval_task("own_text", *tiny, limit=3, batch_size=8, seed=7, say=None, include_path=own)
    texts = [json.loads(line)["text"] for line in (own / "texts.jsonl").read_text().splitlines()[:3]]
    total = sum(
        log_likelihood(tiny, "", f"<s>{text}") for text in texts
    )  # lm-eval scores the tokenizer's BOS after its own
    expected = np.exp(-total / sum(len(text.encode()) for text in texts))
    assert found.scores["byte_perplexity"].value == pytest.approx(expected, rel=1e-5)
    assert found.scores["byte_perplexity"].ci95 is None and found.n_questions == 3
    assert found.facts["seeds"]["fewshot"] == 1241 and found.facts["num_fewshot"] == 0
    assert found.facts["higher_is_better"] == {"byte_perplexity": False}


def test_generation_with_filters(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    own = own_tasks(tmp_path / "own")
    heard: list[str] = []
    found = lm_eval_task("own_answer", *tiny, limit=None, batch_size=2, seed=0, say=heard.append, include_path=own)
    assert list(found.scores) == ["exact_match,never", "exact_match,fallback"]
    assert found.scores["exact_match,never"].value == 0.0 and found.scores["exact_match,never"].n == 5
    assert found.n_questions == 5
    for question in found.questions:
        assert question["metrics"] == {"exact_match,never": 0.0, "exact_match,fallback": 0.0}
        assert question["gold"] == "noon"
    assert heard == []
    assert len(found.facts["warnings"]) == 1 and "higher_is_better is not" in found.facts["warnings"][0]


def test_a_bfloat16_model_is_summed_in_float32(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    import copy

    rows = hellaswag_rows(4)
    coarse = copy.deepcopy(tiny[0]).to(torch.bfloat16)
    found = cloze(HellaSwag(), coarse, tiny[1], data=written(tmp_path / "validation.jsonl", rows), work=tmp_path)
    values = torch.tensor([one["logprobs"] for one in found.questions], dtype=torch.float64)
    exact = torch.tensor([one["logprobs"] for one in hellaswag_expected((coarse, tiny[1]), rows)], dtype=torch.float64)
    torch.testing.assert_close(values, exact, rtol=5e-3, atol=0.0)
    assert not torch.equal(values, values.to(torch.bfloat16).double())
    assert (found.facts["dtype"], found.facts["softmax_dtype"]) == ("bfloat16", "float32")


def test_task_that_cannot_be_had(
    tiny: tuple[Any, Any], tmp_path: Path, few_tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked: dict[str, Any] = {"limit": 1, "batch_size": 1, "seed": 0, "say": None}
    with pytest.raises(SpectraError, match=r"lm-eval has no task, group or tag 'arc_hard'\. Did you mean arc_"):
        lm_eval_task("arc_hard", *tiny, **asked)
    own = own_tasks(tmp_path / "own")
    with pytest.raises(
        SpectraError, match=r"'own_test', nor has .*own\. Did you mean own_text.*broken.yaml cannot be read"
    ):
        lm_eval_task("own_test", *tiny, **asked, include_path=own)
    with pytest.raises(SpectraError, match="none is not a folder"):
        lm_eval_task("piqa", *tiny, **asked, include_path=tmp_path / "none")

    written(own / "texts.jsonl", [{"words": "no text here"}])
    with pytest.raises(SpectraError, match=r"cannot read the data of own_text \(UndefinedError.*Expected the fields"):
        lm_eval_task("own_text", *tiny, **asked, include_path=own)

    def offline(*args: Any, **options: Any) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        SpectraError, match=r"lm-eval cannot load piqa and its data \(ConnectionError.*Check the network"
    ):
        lm_eval_task("piqa", *tiny, **asked)


FILES: dict[str, tuple[type[Task], str]] = {
    "hellaswag": (HellaSwag, "hellaswag/validation_1000.jsonl"),
    "winogrande": (WinoGrande, "icl/winogrande/validation.jsonl"),
    "piqa": (PIQA, "icl/piqa/validation.jsonl"),
    "arc_easy": (ArcEasy, "icl/arc_easy/test.jsonl"),
    "arc_challenge": (ArcChallenge, "icl/arc_challenge/test.jsonl"),
}
YAML = {"hellaswag": "hellaswag/hellaswag", "winogrande": "winogrande/default", "piqa": "piqa/piqa"}


def command_line(tasks: list[str], include: Path, out: Path) -> tuple[dict[str, Any], dict[str, list[list[float]]]]:
    """Scores, and log-likelihoods of the choices, of `python -m lm_eval`, by task."""
    model = f"pretrained={SHARED / 'models' / 'stories260k'},dtype=float32"
    subprocess.run(
        [
            sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", model, "--tasks", ",".join(tasks), "--limit", "40",
            "--include_path", str(include), "--batch_size", "8", "--device", "cpu", "--output_path", str(out), "--log_samples",
        ],
        check=True, capture_output=True, cwd=include, env=os.environ | {"HF_DATASETS_CACHE": str(out / "cache")}, timeout=900,
    )  # fmt: skip
    (written_file,) = out.rglob("results_*.json")
    results = json.loads(written_file.read_text())["results"]
    scores = {task: {key.split(",")[0]: value for key, value in results[task].items() if "," in key} for task in tasks}
    logprobs = {}
    for task in tasks:
        (samples,) = out.rglob(f"samples_{task}_*.jsonl")
        documents = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda sample: sample["doc_id"])
        logprobs[task] = [[float(pair[0]) for pair in document["filtered_resps"]] for document in documents]
    return scores, logprobs


@pytest.mark.slow
def test_equals_the_command_line_of_lm_eval(tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip("../shared/data is absent")
    from plasticity.base_model import load_base

    include = tmp_path / "yaml"
    include.mkdir()
    for name, (task, file) in FILES.items():
        rows = [json.loads(line) for line in (SHARED / file).read_text().splitlines()[:40]]
        local = written(include / f"{name}.jsonl", [dict(task().upstream(row)) for row in rows])
        shipped = cloze_index.shipped_folder() / f"{YAML.get(name, f'arc/{name}')}.yaml"
        split = "test" if name.startswith("arc") else "validation"
        (include / f"local_{name}.yaml").write_text(
            f"include: {shipped}\ntask: local_{name}\ntag: []\ndataset_path: json\ndataset_name: null\ntraining_split: null\n"
            f"validation_split: null\ntest_split: {split}\ndataset_kwargs:\n  data_files:\n    {split}: {local}\n"
        )
    theirs, logprobs = command_line([f"local_{name}" for name in FILES], include, tmp_path / "out")
    base = load_base(str(SHARED / "models" / "stories260k"))
    for name, (task, file) in FILES.items():
        ours = cloze(
            task(), base.model, base.tokenizer, data=SHARED / file, limit=40, work=tmp_path / "work", batch_size=16
        )  # fmt: skip
        expected = theirs[f"local_{name}"]
        sys.stderr.write(f"{name}: ours { ({k: v.value for k, v in ours.scores.items()}) }, lm-eval {expected}\n")
        assert set(ours.scores) == {score for score in expected if not score.endswith("_stderr")}
        for question, values in zip(ours.questions, logprobs[f"local_{name}"], strict=True):
            assert question["logprobs"] == pytest.approx(values, rel=1e-5)
        for score, value in ours.scores.items():
            assert value.value == pytest.approx(expected[score], abs=1e-6)
            assert ours.facts["stderr"][score] == pytest.approx(expected[f"{score}_stderr"], abs=1e-6)


@pytest.mark.slow
def test_unknown_name_among_all_of_lm_evals() -> None:
    with pytest.raises(SpectraError, match=r"no task, group or tag 'helaswag'\. Did you mean .*hellaswag"):
        lm_eval_task("helaswag", None, None, limit=1, batch_size=1, seed=0, say=None)
