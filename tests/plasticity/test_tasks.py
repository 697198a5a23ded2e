"""Tasks on made-up rows and on real ones: mapping, drops, golden examples. Headers against the paper: test_task_paper.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from plasticity.tasks import choices, registry
from plasticity.tasks.base import Drop, Source, Task
from plasticity.tasks.loading import load, upstream_rows
from plasticity.tasks.rows import read

SHARED = Path(__file__).resolve().parents[3] / "shared"
NAMES = list(registry.tasks())

# One formatted example a task, from its made-up row: the prompt up to its last line, and the response.
GOLDEN = {
    "arc_challenge": (
        "Human: A pond freezes over. Why do the fish in it live on?\nAssistant:",
        " water under the ice stays liquid",
    ),
    "arc_easy": ("Human: Which of these gives off its own light?\nAssistant:", " the Sun"),
    "hellaswag": (
        "Human: Making tea: A woman fills a kettle and waits until the water boils. She\nAssistant:",
        " pours the water over the tea leaves.",
    ),
    "medmcqa": (
        "Human: Which vitamin does the skin make in sunlight?\nA. Vitamin A\nB. Vitamin C\nC. Vitamin D\nD. Vitamin K\nAssistant:",
        " Ultraviolet light turns 7-dehydrocholesterol in the skin into vitamin D3.\nThe answer is C.",
    ),
    "metamathqa": (
        "Human: A box holds 12 pens. How many pens do 4 boxes hold?\nAssistant:",
        " Each box holds 12 pens.\n4 boxes hold 4 * 12 = 48 pens.\n#### 48\nThe answer is: 48",
    ),
    "mmluprocot": (
        "Human: A coin is thrown three times. What is the chance of three heads?\nA. 1/2\nB. 1/4\nC. 1/8\nD. 1/3\nAssistant:",
        " Each throw is heads with chance 1/2.\n1/2 * 1/2 * 1/2 = 1/8.\nThe answer is C.",
    ),
    "piqa": ("Human: Keep bread fresh overnight.\nAssistant:", " Wrap it in a cloth."),
    "pubmedqa": (
        "Human: Twenty adults walked for ten minutes after one of two equal meals.\nGlucose was measured.\n\n"
        "Does a short walk after a meal lower blood glucose?\nAnswer yes, no or maybe.\nAssistant:",
        " Glucose rose less after the meal that was followed by a walk.\nThe answer is yes.",
    ),
    "race": (
        "Human: Nora keeps bees behind her house. In winter she reads about them; in spring she opens the hives.\n\n"
        "When does Nora open the hives?\nA. In winter.\nB. In spring.\nC. At night.\nD. Never.\nAssistant:",
        " The answer is B.",
    ),
    "simplescaling": (
        "Human: What is the sum of the first five odd numbers?\nAssistant:",
        " The sum of the first n odd numbers is n^2. For n = 5 it is 5^2 = \\boxed{25}.",
    ),
    "toy_arithmetic": (
        "Human: Tom has 3 apples. He buys 4 more. How many apples does Tom have?\nAssistant:",
        " 3 + 4 = 7. So Tom has 7 apples. The answer is 7.",
    ),
    "winogrande": ("Human: The vase did not fit into the bag because the\nAssistant:", " bag was too small."),
} | dict.fromkeys(
    ("safety", "safety_300", "safety_500", "safety_1000"),
    ("Human: Name a fruit of this colour.\nyellow\nAssistant:", " A banana."),
)

# task, split, file, rows read, kept, dropped
REAL: tuple[tuple[str, Any, str, int, int, dict[str, int]], ...] = (
    ("metamathqa", "train", "metamathqa/sample_7.jsonl", 7, 7, {}),
    ("metamathqa", "test", "gsm8k_platinum/test.jsonl", 1209, 1209, {}),
    ("metamathqa", "test", "gsm8k/test.jsonl", 1319, 1319, {}),
    ("simplescaling", "test", "math500/test.jsonl", 500, 500, {}),
    ("medmcqa", "train", "medmcqa/cot_sample_500.jsonl", 500, 500, {}),
    ("medmcqa", "test", "medmcqa/validation_2816.jsonl", 2816, 2816, {}),
    ("pubmedqa", "train", "pubmedqa/pqal.jsonl", 1000, 1000, {}),
    ("pubmedqa", "test", "pubmedqa/pqal.jsonl", 1000, 1000, {}),
    ("race", "train", "race/sample_1000.jsonl", 1000, 1000, {}),
    ("race", "test", "race/sample_1000.jsonl", 1000, 1000, {}),
    ("mmluprocot", "train", "mmlu_pro/validation_cot_70.jsonl", 70, 63, {"held out for testing": 7}),
    ("mmluprocot", "test", "mmlu_pro/validation_cot_70.jsonl", 70, 7, {"not held out for testing": 63}),
    (
        "mmluprocot", "train", "mmlu_pro/test_cot_mistral7b_600.jsonl", 600, 156,
        {"the chain of thought ends at a wrong answer": 427, choices.NO_OPTIONS: 1, "held out for testing": 16},
    ),
    ("mmluprocot", "test", "mmlu_pro/Biology.jsonl", 717, 71, {"not held out for testing": 646}),
    ("hellaswag", "test", "hellaswag/validation_1000.jsonl", 1000, 1000, {}),
    ("hellaswag", "train", "hellaswag/validation_1000.jsonl", 1000, 1000, {}),
    ("piqa", "test", "icl/piqa", 1838, 1838, {}),
    ("winogrande", "test", "icl/winogrande", 1267, 1267, {}),
    ("winogrande", "train", "icl/winogrande/validation.jsonl", 1267, 1267, {}),
    ("arc_easy", "test", "icl/arc_easy", 2376, 2376, {}),
    ("arc_challenge", "test", "icl/arc_challenge", 1172, 1172, {}),
    ("safety", "train", "instruct/alpaca_small.jsonl", 2000, 2000, {}),
)  # fmt: skip


def made(name: str) -> Task:
    return registry.get(name)


def test_every_task_of_the_paper_is_there() -> None:
    wanted = {
        "metamathqa", "simplescaling", "medmcqa", "pubmedqa", "mmluprocot", "race", "hellaswag", "winogrande", "piqa",
        "arc_easy", "arc_challenge", "safety", "toy_arithmetic",
    }  # fmt: skip
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_golden_example(name: str) -> None:
    task = made(name)
    assert task.sample is not None
    example = task.example(task.upstream(task.sample), 0)
    assert (task.prompt(example.question), task.completion(example.response)) == GOLDEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_headers_are_whole(name: str) -> None:
    header = made(name).header
    assert (
        header.name == name
        and header.version >= 1
        and header.title
        and header.licence
        and header.recipe
        and header.answer
    )
    assert header.scores[0] in header.baseline
    for score, guess in header.baseline.items():
        assert score in header.scores and (guess is None or 0 <= guess <= 1)
    for source in (*header.train, *header.test):
        assert source.revision is None or re.fullmatch("[0-9a-f]{40}", source.revision)
        if source.hub and source.revision is None and not source.url:
            assert "not pinned" in header.recipe
    assert (header.kind == "cloze") == bool(header.lm_eval)


def test_upstream_sizes_are_those_that_are_known() -> None:
    """METHODS.md section 3 has them; the paper's kept rows are never more than there are."""
    for name in ("medmcqa", "pubmedqa", "race", "metamathqa", "hellaswag"):
        header = made(name).header
        for split, sources in (("train", header.train), ("test", header.test)):
            assert sum(source.rows or 0 for source in sources) >= header.paper_rows[split]


@pytest.mark.parametrize(("name", "split", "file", "read", "kept", "dropped"), REAL)
def test_real_rows(name: str, split: Any, file: str, read: int, kept: int, dropped: dict[str, int]) -> None:
    path = SHARED / "data" / file
    if not path.exists():
        pytest.skip("needs ../shared/data")
    task = made(name)
    found = load(task, split, path)
    report = found.report
    assert (report.rows_read, report.kept, dict(report.dropped)) == (read, kept, dropped)
    assert report.rows_read == report.kept + sum(report.dropped.values()) and len(found.items) == kept
    for item in found.items:
        assert item.question.strip()
        if split == "test":
            assert not item.choices or item.choices[int(item.gold)]
        else:
            assert item.response.strip()


def test_real_responses_are_read_as_their_gold_answers() -> None:
    """What a model is trained to say is what the task's own extraction reads."""
    for name, file in (
        ("medmcqa", "medmcqa/cot_sample_500.jsonl"),
        ("pubmedqa", "pubmedqa/pqal.jsonl"),
        ("race", "race/sample_1000.jsonl"),
    ):
        path = SHARED / "data" / file
        if not path.exists():
            pytest.skip("needs ../shared/data")
        task = made(name)
        for example, asked in zip(load(task, "train", path).items, load(task, "test", path).items, strict=True):
            answer = task.extract(example.response)
            assert answer is not None and task.equal(answer, asked.gold), example


def test_other_layouts_become_upstream_rows() -> None:
    row = {
        "context_options": ["Sarah was kinder than Maria so Sarah", "Sarah was kinder than Maria so Maria"],
        "continuation": "smiled.",
        "gold": 1,
    }
    assert made("winogrande").upstream(row) == {
        "sentence": "Sarah was kinder than Maria so _ smiled.", "option1": "Sarah", "option2": "Maria", "answer": "2",
    }  # fmt: skip
    arc = made("arc_easy").upstream({"query": "Question: Why?", "choices": ["a", "b", "c"], "gold": 2})
    assert arc == {"question": "Why?", "choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}, "answerKey": "C"}
    piqa = made("piqa").upstream({"query": "Question: Do it.\n", "choices": ["x", "y"], "gold": 0})
    assert piqa == {"goal": "Do it.", "sol1": "x", "sol2": "y", "label": 0}


BAD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("metamathqa", {"query": " "}),
    ("metamathqa", {"response": ""}),
    ("simplescaling", {"attempt": None}),
    ("medmcqa", {"cop": 4}),
    ("medmcqa", {"opb": ""}),
    ("medmcqa", {"question": ""}),
    ("pubmedqa", {"final_decision": "perhaps"}),
    ("pubmedqa", {"context": {"contexts": []}}),
    ("race", {"answer": "E"}),
    ("race", {"article": ""}),
    ("race", {"options": ["one"]}),
    ("mmluprocot", {"parsed_answer": "A"}),
    ("mmluprocot", {"cot": []}),
    ("mmluprocot", {"answer": "J"}),
    ("hellaswag", {"label": ""}),
    ("winogrande", {"answer": ""}),
    ("winogrande", {"sentence": "No blank."}),
    ("piqa", {"label": -1}),
    ("arc_easy", {"answerKey": "E"}),
    ("safety", {"instruction": ""}),
    ("safety", {"output": ""}),
    ("toy_arithmetic", {"response": ""}),
    ("medmcqa", {"cop": ""}),
    *(
        (name, {field: None})
        for name, fields in {
            "toy_arithmetic": "question response answer", "metamathqa": "query response", "simplescaling": "question attempt",
            "pubmedqa": "question context final_decision", "race": "article question answer", "medmcqa": "question opa cop",
            "mmluprocot": "question answer cot", "safety": "instruction output", "hellaswag": "label",
        }.items()
        for field in fields.split()
    ),
)  # fmt: skip


@pytest.mark.parametrize(("name", "change"), BAD)
def test_rows_are_dropped_for_reasons_that_the_header_lists(name: str, change: dict[str, Any]) -> None:
    task = made(name)
    assert task.sample is not None
    with pytest.raises(Drop) as reason:
        task.example({**task.sample, **change}, 0)
    assert str(reason.value) in task.header.cleaning


def test_nulls_are_no_text() -> None:
    """A null is nothing, not the word None: in answers, options, contexts and reasoning."""
    toy = made("toy_arithmetic")
    with pytest.raises(Drop):
        toy.question({"question": None, "answer": "3"}, 0, "")
    for row in ({"question": "q", "answer": None}, {"problem": "p", "solution": None}, {"query": "q", "answer": None}):
        with pytest.raises(Drop):
            made("metamathqa").question(row, 0, "math")
    race = dict(made("race").sample or {})
    with pytest.raises(Drop):
        made("race").question({**race, "options": ["In winter.", None, "Never."]}, 0, "")
    pubmed = dict(made("pubmedqa").sample or {})
    found = made("pubmedqa").example({**pubmed, "context": {"contexts": ["One.", None]}, "long_answer": None}, 0)
    assert "None" not in found.question + found.response and found.response == "The answer is yes."
    hella = dict(made("hellaswag").sample or {})
    assert "None" not in made("hellaswag").question({**hella, "ctx_b": None}, 0, "").question
    swapped = {"question": "q", "options": {"A": "a", "B": "b", "C": "c", "D": "d"}, "answer_idx": ""}
    with pytest.raises(Drop, match="the answer is not one of the options"):  # once: the first option
        made("medmcqa").question(made("medmcqa").upstream(swapped), 0, "")


@pytest.mark.parametrize("k", [3, 16])
def test_guessing_agrees_with_drawing(k: int) -> None:
    """A slow reference: four options, k draws, 20,000 questions."""
    import numpy as np

    right = (np.random.default_rng(0).integers(0, 4, (20_000, k)) == 0).sum(1)
    formula = choices.guessing(0.25, k)
    assert formula["greedy"] == 0.25 == formula[f"maj@{k}"]
    assert formula[f"pass@{k}"] == pytest.approx((right > 0).mean(), abs=0.01)
    assert formula["correct_ratio"] == pytest.approx((right[right > 0] / k).mean(), abs=0.01)
    assert choices.baseline_of(made("race").header, k) == formula


def test_a_baseline_that_is_not_known_stays_unknown() -> None:
    assert choices.baseline_of(made("metamathqa").header, 4) == {"greedy": None, "maj@4": None, "pass@4": None}
    assert choices.baseline_of(made("hellaswag").header, 4) == {"acc": 0.25, "acc_norm": 0.25}


def test_a_source_is_data_only() -> None:
    assert Source(hub="a/b", split="train", fields=("x",)) == Source(hub="a/b", split="train", fields=("x",))
    assert len({Source(hub="a/b", split="train", fields=("x",)), Source(hub="a/b", split="test", fields=("x",))}) == 2


def test_hellaswag_is_cleaned_as_lm_eval_does() -> None:
    utils = pytest.importorskip("lm_eval.tasks.hellaswag.utils")
    path = SHARED / "data" / "hellaswag"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    task = made("hellaswag")
    for row, asked in zip(upstream_rows(task, "test", path), load(task, "test", path).items, strict=True):
        theirs = utils.preprocess(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
        assert asked.question == theirs.strip()
        assert list(asked.choices) == [utils.preprocess(ending).strip() for ending in row["endings"]]


def test_winogrande_contexts_come_back() -> None:
    """lm-eval scores the rest of the sentence after `sentence up to the blank + option`."""
    path = SHARED / "data" / "icl" / "winogrande" / "validation.jsonl"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    for row, ours in zip(read(path), upstream_rows(made("winogrande"), "test", path), strict=True):
        before, _, after = ours["sentence"].partition("_")
        assert [before + ours["option1"], before + ours["option2"]] == row["context_options"]
        assert after.strip() == row["continuation"] and ours["option1"] != ours["option2"]
