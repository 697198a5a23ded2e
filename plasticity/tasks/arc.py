"""What the two ARC tasks share: school science questions, mostly with four choices."""

from __future__ import annotations

from .base import Drop, Example, Header, Question, Row, Source, Task

NO_CHOICE = "the answer is not one of the choices"
_REVISION = "210d026faf9955653af8916fad021475a3f00453"


def header(name: str, title: str, subset: str, rows: tuple[int, int], baseline: float) -> Header:
    """The header of one of the two; `rows` of train and test."""
    sources = tuple(
        Source(
            hub="allenai/ai2_arc", subset=subset, split=split, revision=_REVISION, rows=count,
            fields=("question", "choices", "answerKey"), layouts=(("query", "choices", "gold"),),
        )
        for split, count in zip(("train", "test"), rows, strict=True)
    )  # fmt: skip
    return Header(
        name=name,
        title=title,
        version=1,
        kind="cloze",
        train=sources[:1],
        test=sources[1:],
        paper="Clark et al. 2018 (arXiv 1803.05457)",
        licence="CC BY-SA 4.0",
        paper_rows={"train": rows[0], "test": rows[1]},
        scores=("acc", "acc_norm"),
        baseline={"acc": baseline, "acc_norm": baseline},
        answer="the choice of greatest likelihood (acc), and of greatest likelihood a character (acc_norm), through lm-eval",
        recipe="Trained in the paper's template on question -> text of the right choice; scored by lm-eval's own prompts. "
        "The validation split is not used. A few questions have three or five choices. Also read: llm-foundry's "
        "`query`, `choices`, `gold`.",
        cleaning=(NO_CHOICE,),
        lm_eval=name,
    )


class Arc(Task):
    """question -> text of the right choice."""

    def upstream(self, row: Row) -> Row:
        """`query` (Question: ...), `choices`, `gold` -> question, choices {text, label}, answerKey."""
        if "question" in row:
            return row
        labels = [chr(ord("A") + i) for i in range(len(row["choices"]))]
        question = str(row["query"]).removeprefix("Question: ").strip()
        return {
            "question": question,
            "choices": {"text": row["choices"], "label": labels},
            "answerKey": labels[row["gold"]],
        }

    def example(self, row: Row, index: int) -> Example:
        """The right choice."""
        asked = self.question(row, index, "")
        return Example(id=asked.id, question=asked.question, response=asked.choices[int(asked.gold)])

    def question(self, row: Row, index: int, part: str) -> Question:
        """Labels are A to E, or 1 to 4."""
        choices, labels = tuple(str(text) for text in row["choices"]["text"]), list(row["choices"]["label"])
        if row["answerKey"] not in labels:
            raise Drop(NO_CHOICE)
        gold = str(labels.index(row["answerKey"]))
        name = type(self).header.name
        return Question(
            id=f"{name}-{index}", question=str(row["question"]).strip(), gold=gold, choices=choices, part=part
        )
