"""Loading: files told apart, overlap dropped, held-out questions, samples, limits, and what a user is told when it fails."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from plasticity.tasks import registry
from plasticity.tasks.loading import OVERLAP, first_example, load, upstream_rows
from plasticity.tasks.report import question_key
from spectra.errors import SpectraError


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def toy(n: int, start: int = 0) -> list[dict[str, str]]:
    return [
        {"question": f"What is {i} + 1?", "response": f"The answer is {i + 1}.", "answer": str(i + 1)}
        for i in range(start, start + n)
    ]


def refused(*words: str) -> Any:
    return pytest.raises(SpectraError, match="(?s)" + ".*".join(words))


def test_generated_problems_are_right_and_disjoint() -> None:
    task = registry.get("toy_arithmetic")
    train, test = load(task, "train"), load(task, "test")
    assert (train.report.kept, test.report.kept, train.report.overlap) == (8000, 500, 0)
    assert not {question_key(item) for item in train.items} & {question_key(item) for item in test.items}
    assert len({item.question for item in train.items}) == 8000
    assert train.report.fingerprint == load(task, "train").report.fingerprint
    for item in train.items[:2000]:
        steps = [step for step in item.response.split(".")[:-1] if " = " in step]
        for step in steps:
            left, right = step.split(" = ")
            assert eval(left) == int(right), item  # the generator's own digits
        assert item.response.endswith(f"The answer is {steps[-1].split(' = ')[1]}.")
        assert item.question.isascii() and len(item.question) < 130


def test_overlap_is_dropped_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [*toy(5), {**toy(1)[0], "question": "what  IS 7 + 1? "}])
    write(tmp_path / "test.jsonl", toy(3, start=5))
    found = load(registry.get("toy_arithmetic"), "train", tmp_path)
    assert (found.report.overlap, found.report.dropped, found.report.kept) == (1, {OVERLAP: 1}, 5)
    found = load(registry.get("toy_arithmetic"), "train", tmp_path / "train.jsonl")
    assert found.report.overlap is None and "not checked" in found.report.remarks[0]


def test_files_of_a_folder_are_told_apart(tmp_path: Path) -> None:
    task = registry.get("hellaswag")
    row = dict(task.sample or {})
    write(tmp_path / "data" / "train-00000.jsonl", [row | {"ctx_a": str(i)} for i in range(4)])
    write(tmp_path / "data" / "validation-00000.jsonl", [row | {"ctx_a": "v"}] * 2)
    write(tmp_path / "data" / "test-00000.jsonl", [row | {"label": ""}] * 3)
    assert load(task, "train", tmp_path).report.kept == 4
    assert load(task, "test", tmp_path).report.rows_read == 2  # validation, as upstream
    race = registry.get("race")
    for split in ("train", "validation", "test"):
        write(tmp_path / "race" / f"{split}.jsonl", [{**(race.sample or {}), "article": split}])
    assert load(race, "train", tmp_path / "race").report.kept == 2  # the paper trains on both
    write(tmp_path / "plain" / ".cache" / "notes.jsonl", [{"x": 1}])  # what hub downloads leave beside the data
    write(tmp_path / "plain" / "MetaMathQA-395K.jsonl", [registry.get("metamathqa").sample or {}])
    assert load(registry.get("metamathqa"), "train", tmp_path / "plain").report.kept == 1
    with refused("no files of the test split", "test.jsonl"):
        load(registry.get("metamathqa"), "test", tmp_path / "plain")


def test_formats(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    task, rows = registry.get("toy_arithmetic"), toy(6)
    expected = load(task, "test", write(tmp_path / "a.jsonl", rows)).report.fingerprint
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)
    for name in ("a.json", "a.parquet", "a.jsonl.gz"):
        assert load(task, "test", tmp_path / name).report.fingerprint == expected, name
    (tmp_path / "I-Malicious.json").write_text(json.dumps({"instructions": ["one", "two"]}))
    assert [item.question for item in load(registry.get("safety"), "test", tmp_path / "I-Malicious.json").items] == [
        "one",
        "two",
    ]
    pubmed = {"QUESTION": "Q?", "CONTEXTS": ["c"], "LONG_ANSWER": "l", "final_decision": "no"}
    (tmp_path / "ori_pqal.json").write_text(json.dumps({"1": pubmed, "2": pubmed}))
    assert load(registry.get("pubmedqa"), "test", tmp_path / "ori_pqal.json").report.kept == 2


def test_safety_takes_its_samples(tmp_path: Path) -> None:
    def instruct(word: str, n: int) -> list[dict[str, str]]:
        return [{"instruction": f"{word} {i}", "input": "", "output": "x"} for i in range(n)]

    write(tmp_path / "alpaca_small.jsonl", instruct("do", 20_100))
    write(tmp_path / "safety_only_data_Instructions.jsonl", instruct("hurt", 600))
    few = load(registry.get("safety_300"), "train", tmp_path)
    more = load(registry.get("safety_500"), "train", tmp_path)
    assert few.report.parts == {"general": 20_000, "safety": 300} and few.report.dropped == {"not in the sample": 400}
    safe = [{item.question for item in found.items if item.part == "safety"} for found in (few, more)]
    assert safe[0] < safe[1] and len(safe[1]) == 500
    all_of_it = load(registry.get("safety"), "train", tmp_path)
    assert "600 rows of safety, expected 2000" in all_of_it.report.remarks


def test_held_out_questions_are_the_same_from_both_sides(tmp_path: Path) -> None:
    """Every chain of a held-out question stays out of training, also where chains are dropped for other reasons."""
    rows = [
        {"question": f"Question {i}?\nA. x\nB. y", "answer": "A", "cot": [f"{k}"], "parsed_answer": "A" if (i + k) % 3 else "B"}
        for i in range(200) for k in range(3)
    ]  # fmt: skip
    task = registry.get("mmluprocot")
    path = write(tmp_path / "all.jsonl", rows)
    train, test = load(task, "train", path), load(task, "test", path)
    assert test.report.kept == 20 and train.report.overlap == 0
    trained, asked = {item.question for item in train.items}, {item.question for item in test.items}
    assert not trained & asked and len(trained | asked) == 200
    assert train.report.rows_read == 600 == train.report.kept + sum(train.report.dropped.values())
    assert "20 of 200 questions" in test.report.remarks[0]


def test_a_limit_is_a_random_sample_of_the_pooled_set(tmp_path: Path) -> None:
    """Each part with about its share, from all over it, in order; a larger limit holds a smaller one; always the same."""
    write(tmp_path / "gsm" / "test.jsonl", [{"question": f"q{i}", "answer": f"#### {i}"} for i in range(200)])
    write(tmp_path / "math" / "test.jsonl", [{"problem": f"p{i}", "solution": f"\\boxed{{{i}}}"} for i in range(800)])
    task = registry.get("metamathqa")
    found = load(task, "test", tmp_path, limit=200)
    assert 25 <= found.report.parts["gsm8k_platinum"] <= 55  # 40 expected; 3 standard errors are 16
    ids = [int(item.id.rsplit("-", 1)[1]) for item in found.items]
    assert len(set(ids)) == 200 and ids == sorted(ids) and max(ids) > 950 and min(ids) < 50
    assert found.report.remarks == ("a random sample, always the same: 200 of 1,000",)
    assert found.report.dropped == {"beyond the limit of 200": 800} and found.report.rows_read == 1000
    assert load(task, "test", tmp_path, limit=200).report.fingerprint == found.report.fingerprint
    more = load(task, "test", tmp_path, limit=300)
    assert {item.id for item in found.items} < {item.id for item in more.items}
    assert load(task, "test", tmp_path, limit=2000).report.remarks == ()


def test_a_limit_does_not_prefer_a_part_that_is_a_sample_itself(tmp_path: Path) -> None:
    """300 of 3,000 safety instructions are those of least hash; the limit must not find them first."""
    rows = [{"instruction": f"do {i}", "input": "", "output": "x"} for i in range(1000)]
    write(tmp_path / "alpaca_small.jsonl", rows)
    rows = [{"instruction": f"hurt {i}", "input": "", "output": "x"} for i in range(3000)]
    write(tmp_path / "safety_only_data_Instructions.jsonl", rows)
    found = load(registry.get("safety_300"), "train", tmp_path, limit=260)
    assert 35 <= found.report.parts["safety"] <= 85  # 60 expected of 300 in 1,300


def test_rows_for_lm_eval_have_the_upstream_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"query": "Question: Why?", "choices": ["a", "b"], "gold": 1}])
    assert list(upstream_rows(registry.get("arc_easy"), "test", path)) == [
        {"question": "Why?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}
    ]


def test_what_a_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = registry.get("metamathqa")
    with refused("no such file or folder"):
        load(task, "train", tmp_path / "none.jsonl")
    with refused("suffix is '.csv'", ".jsonl"):
        (tmp_path / "a.csv").write_text("x")
        load(task, "train", tmp_path / "a.csv")
    with refused("Row 2 of .*b.jsonl has the fields problem, answer; expected query, response or question, answer"):
        load(
            task,
            "train",
            write(tmp_path / "b.jsonl", [{"query": "q", "response": "r"}, {"problem": "q", "answer": "a"}]),
        )
    with refused("Nothing is left of the train split of metamathqa: 2 rows read, dropped: no response \\(2\\)"):
        load(task, "train", write(tmp_path / "c.jsonl", [{"query": "q", "response": ""}] * 2))
    with refused("The file is empty: .*d.jsonl .the train split of metamathqa.. Name other data"):
        load(task, "train", write(tmp_path / "d.jsonl", []))
    (tmp_path / "e.jsonl").write_text('{"query": "q", "response": "r"}\n{"query": "q"\n')
    with refused("Line 2 of .*e.jsonl is not JSON"):
        load(task, "train", tmp_path / "e.jsonl")
    (tmp_path / "f.jsonl").write_text("[1]\n")
    with refused("Line 1 of .*f.jsonl is a list"):
        load(task, "train", tmp_path / "f.jsonl")
    with refused("Row 1 of .*g.jsonl is not a row of race", "TypeError"):
        race = {**(registry.get("race").sample or {}), "options": None}
        load(registry.get("race"), "train", write(tmp_path / "g.jsonl", [race]))
    with refused("I-MaliciousInstructions.json is not a hub data set", "--data"):
        load(registry.get("safety"), "test")


def test_the_hub_is_read_at_the_pinned_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[tuple[Any, ...]] = []

    def hub(source: str, subset: str | None, *, split: str, revision: str, streaming: bool) -> list[dict[str, str]]:
        asked.append((source, subset, split, revision, streaming))
        if source == "meta-math/MetaMathQA":
            return [
                {"query": "q0", "response": "r"},
                {"query": "Q 1", "response": "r"},
                {"query": "q2", "response": "r"},
            ]
        if subset == "main":
            return [{"question": "q  1", "answer": "#### 3"}]
        return [{"problem": f"{subset} {i}", "solution": "\\boxed{1}", "level": "Level 1"} for i in range(2)]

    monkeypatch.setattr(datasets, "load_dataset", hub)
    task = registry.get("metamathqa")
    found = load(task, "train")
    assert (found.report.rows_read, found.report.kept, found.report.overlap) == (3, 2, 1)
    assert found.report.source == ("meta-math/MetaMathQA@aa4f34d3d2d3231299b5b03d9b3e5a20da45aa18 train",)
    assert asked[0] == ("meta-math/MetaMathQA", None, "train", "aa4f34d3d2d3231299b5b03d9b3e5a20da45aa18", False)
    assert len(asked) == 1 + 8 and all(len(revision) == 40 for *_, revision, _ in asked)
    assert load(task, "test").report.parts == {"gsm8k_platinum": 1, "math": 14}
    asked.clear()
    assert load(task, "test", limit=4).report.kept == 4
    assert not any(streaming for *_, streaming in asked)  # a sample of all rows needs all rows
    asked.clear()
    assert first_example(task).question == "q0" and all(streaming for *_, streaming in asked)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with refused("Cannot read the hub data set meta-math/MetaMathQA", "--data", "fields query, response"):
        load(registry.get("metamathqa"), "train")


def test_half_a_surrogate_pair_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(toy(1)[0]) + '\n{"question": "a \\ud83d b", "response": "3", "answer": "3"}\n')
    for split in ("train", "test"):
        with refused("Row 2 of .*a.jsonl: the question has .*ud83d' at character 3"):
            load(registry.get("toy_arithmetic"), split, path)  # type: ignore[call-overload]
    cut = registry.get("mmluprocot")
    row = dict(cut.sample or {}) | {"question": "\ud83d?\nA. x\nB. y", "answer": "A"}
    with refused("half of a surrogate pair"):
        load(cut, "test", write(tmp_path / "b.jsonl", [row]))


def test_the_toy_is_tested_without_responses(tmp_path: Path) -> None:
    rows = [{"question": row["question"], "answer": row["answer"]} for row in toy(3)]
    path = write(tmp_path / "a.jsonl", rows)
    assert load(registry.get("toy_arithmetic"), "test", path).report.kept == 3
    with refused("expected question, response, answer"):
        load(registry.get("toy_arithmetic"), "train", path)


OWN = """
from plasticity.tasks.base import Example, Header, Question, Source, Task

class Capitals(Task):
    header = Header(
        name="capitals", title="capitals", version=1, kind="generation",
        train=(Source(hub="me/capitals", split="train", fields=("country", "capital")),),
        test=(Source(hub="me/capitals", split="test", fields=("country", "capital")),),
        paper="none", licence="CC0", scores=("greedy",), baseline={}, answer="last", recipe="none",
    )

    def example(self, row, index):
        return Example(id=str(index), question=row["country"], response=row["capital"])

    def question(self, row, index, part):
        return Question(id=str(index), question=row["country"], gold=row["capital"])
"""


def test_a_users_own_task(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "capitals.py").write_text(OWN)
    task = registry.get("capitals", folder)
    found = load(task, "train", write(tmp_path / "x.jsonl", [{"country": "Veloria", "capital": "Oster"}]))
    assert found.items[0].response == "Oster"
    rows = write(tmp_path / "y.jsonl", [{"country": "Veloria", "capital": 7}])
    for split in ("train", "test"):
        with refused("capitals.py: .*capitals gave 7 .int. for .* of Row 1 of .*y.jsonl; expected a text"):
            load(task, split, rows)  # type: ignore[call-overload]
    (folder / "capitals.py").write_text(OWN.replace('response=row["capital"]', "response=1 / 0"))
    with refused("Row 1 of .*x.jsonl is not a row of capitals: ZeroDivisionError", "capitals.py"):
        load(registry.get("capitals", folder), "train", tmp_path / "x.jsonl")
    (folder / "capitals.py").write_text(OWN)
    with refused("Unknown task 'capitls'. Did you mean 'capitals'"):
        registry.get("capitls", folder)
    (folder / "again.py").write_text(OWN)
    with refused("there is a task 'capitals' already"):
        registry.tasks(folder)
    (folder / "again.py").write_text("import nothing_of_that_name")
    with refused("again.py fails when imported", "nothing_of_that_name"):
        registry.tasks(folder)
    for was, is_, said in (
        (
            'kind="generation"',
            'kind="gen"',
            "header of Capitals has kind='gen', expected one of generation, cloze, safety",
        ),
        ('scores=("greedy",)', 'scores=("gredy", "maj@8")', "expected a tuple of greedy, maj@k, .*, not gredy"),
        ('scores=("greedy",)', 'scores=("acc",)', "of kind='generation'.*, not acc"),
        ('scores=("greedy",)', 'scores="greedy"', "has scores='greedy', expected a tuple"),
        ('scores=("greedy",)', "scores=()", r"has scores=\(\), expected a tuple"),
    ):
        (folder / "again.py").write_text(OWN.replace(was, is_))
        with refused("again.py", said):
            registry.tasks(folder)
    (folder / "again.py").write_text("x = 1")
    with refused("again.py defines no task"):
        registry.tasks(folder)
    with refused("--tasks-dir .*, found none"):
        registry.tasks(tmp_path / "nowhere")
    with refused("Unknown task 'zzz'. Known: arc_challenge"):
        registry.get("zzz")
