"""Writes docs/tasks.md from the headers in plasticity/tasks; a test checks that the file is up to date.

Run: python docs/generate_tasks.py
"""

from __future__ import annotations

from pathlib import Path

from plasticity.tasks import describe, registry
from plasticity.tasks.base import Task

TARGET = Path(__file__).parent / "tasks.md"

INTRO = """# Tasks

Generated from the headers in `plasticity/tasks/` by `docs/generate_tasks.py`; edit there.

A task is one file: where its data are from, how a row becomes a prompt and a response, how an answer is read and judged, how it
is scored, and a version that is raised whenever one of these changes. `plasticity tasks` lists them; `plasticity tasks NAME`
shows one with an example and its loss mask; `--data` takes your copy of the data in place of the hub's.

- **Template** (plasticity paper, C.1): `Human: {question}\\nAssistant: {response}`, then EOS. Prompt and response are tokenised
  apart, without BOS; the loss is on the response and EOS. Evaluation uses the same prompt ids.
- **Local data**: a file is the split that is asked for; in a folder, files are told apart by their names (`train.jsonl`,
  `test-000.parquet`, `validation/...`). Columns have the upstream names, or those of another layout where the task lists one.
- **Cleaning**: a row is left out for the reasons that a task lists, each counted. Examples longer than the window are left out
  when they are tokenised, not cut. Nothing else is filtered.
- **Overlap**: a training row whose question is also in the test split (same text but for case and spacing) is dropped and counted.
- **Your own task**: a `.py` file with a class like ours, in a folder that `--tasks-dir` names (experiments: the key `tasks_dir`).
  Nothing here needs to change. A header may name these kinds and scores, and no others (`k`: a number, as in `maj@16`):

KINDS
  No samples are drawn where no score is over them (`--samples` asks for them). An answer is the last `\\boxed{...}` of a
  response, else what follows its last `answer is`, unless the class has its own `extract(response)`; `equal(answer, gold)` judges
  it. `train=` and `test=` may be local alone: `--data` names your file or folder, the source says its columns, and its `hub` is any
  name, which is then not asked.

```python
from collections.abc import Mapping
from plasticity.tasks.base import Example, Header, Question, Source, Task


class Capitals(Task):
    header = Header(
        name="capitals",
        title="capitals of countries",
        version=1,
        kind="generation",
        train=(Source(hub="me/capitals", split="train", fields=("country", "capital")),),
        test=(Source(hub="me/capitals", split="test", fields=("country", "capital")),),
        paper="none",
        licence="CC0",
        scores=("greedy",),
        baseline={},
        answer="what follows `answer is`",
        recipe="as they are",
    )

    def example(self, row: Mapping, index: int) -> Example:
        asked = self.question(row, index, "")
        return Example(id=asked.id, question=asked.question, response=f"The answer is {asked.gold}.")

    def question(self, row: Mapping, index: int, part: str) -> Question:
        return Question(
            id=f"capitals-{index}", question=f"What is the capital of {row['country']}?", gold=row["capital"]
        )
```

| task | kind | train | test | main score | what |
|---|---|---:|---:|---|---|
"""


def section(task: type[Task]) -> str:
    """One task: every fact of its header, and its made-up example."""
    header = task.header
    lines = [f"## {header.name}", "", f"{header.title}; version {header.version}.", ""]
    lines += [f"- **{label}**: {text}" for label, text in describe.facts(header).items()]
    if task.sample is not None:
        made = task().example(task.sample, 0)
        lines += ["", "```", task().prompt(made.question) + task().completion(made.response), "```"]
    return "\n".join([*lines, ""])


def render() -> str:
    """The whole page."""
    found = registry.tasks()
    table = "".join(
        f"| [{name}](#{name}) | {task.header.kind} | {describe.rows(task.header.train)} | {describe.rows(task.header.test)} "
        f"| {task.header.scores[0]} | {task.header.title} |\n"
        for name, task in found.items()
    )
    kinds = {
        "generation": "a response is generated and its answer judged",
        "cloze": "choices are scored by likelihood",
        "safety": "a reward model judges a response",
    }
    known = "".join(
        f"  - `{kind}` ({kinds[kind]}): {', '.join(f'`{score}`' for score in registry.SCORES[kind])}\n"
        for kind in registry.KINDS
    )
    return f"{INTRO.replace('KINDS', known, 1)}{table}\n" + "\n".join(section(task) for task in found.values())


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
