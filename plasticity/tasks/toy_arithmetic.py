"""toy_arithmetic: word problems of one and two steps with worked solutions, from our own seeded generator; no network.

The language is that of the embedded corpus (`alphadecay.corpus`), whose people and things are used here, so that a model that was
pretrained on it for a minute can learn to answer. Random numbers come from `random.Random(seed).random()` alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, TypeVar

from alphadecay.corpus import Person, world

from .base import Drop, Example, Header, Question, Row, Source, Task, text
from .maths import SCORES

Item = TypeVar("Item")
TRAIN, TEST = 8_000, 500
NOT_WHOLE = "an empty question, response or answer"
_SEED = 20_260
_THINGS = ("apple", "book", "coin", "pen", "egg", "stone", "card", "ball", "shell", "cake")
_BOXES = (("box", "boxes"), ("bag", "bags"), ("basket", "baskets"), ("shelf", "shelves"))
_FIELDS = ("question", "response", "answer")


class ToyArithmetic(Task):
    """problem -> steps, then `The answer is 12.`"""

    header: ClassVar = Header(
        name="toy_arithmetic",
        title="made-up word problems of one or two steps over numbers from 1 to 10",
        version=1,
        kind="generation",
        train=(Source(hub="", split="train", fields=_FIELDS, rows=TRAIN),),
        test=(Source(hub="", split="test", fields=("question", "answer"), rows=TEST),),
        paper="none: ours, for trying everything out without a network",
        licence="that of this package",
        scores=SCORES,
        baseline=dict.fromkeys(SCORES[:3]),
        answer="the number after the last `answer is`",
        recipe="Five kinds of problem of equal share: one gets more, one loses some, boxes that hold things, more and then "
        "fewer, two counts together. A problem is a test problem if the hash of its text says so (one in 16), so no "
        "text is in both splits; the same numbers in other words may be. No text comes twice. With --data: `question`, `answer`, "
        "and to train on `response`. Fine-tuned with 400 steps of 32 at lr 2e-3 in float32: it is made for models of half a "
        "million parameters, which the paper's 1e-5 would hardly move.",
        cleaning=(NOT_WHOLE,),
    )
    training: ClassVar = {"steps": 400, "batch_size": 32, "lr": 2e-3, "precision": "fp32"}
    sample: ClassVar = {
        "question": "Tom has 3 apples. He buys 4 more. How many apples does Tom have?",
        "response": "3 + 4 = 7. So Tom has 7 apples. The answer is 7.",
        "answer": "7",
    }

    def generated(self, split: str) -> Iterator[Row]:
        """The rows of `train` or `test`, always the same."""
        dice, people, seen = _Dice(_SEED), world(0).people, set[str]()
        wanted = TEST if split == "test" else TRAIN
        while wanted:
            row = dice.pick(_KINDS)(dice, dice.pick(people))
            asked = row["question"]
            if asked not in seen and _is_test(asked) == (split == "test"):
                seen.add(asked)
                wanted -= 1
                yield row

    def example(self, row: Row, index: int) -> Example:
        """`question`, `response`."""
        asked = self.question(row, index, "")
        if not text(row["response"]):
            raise Drop(NOT_WHOLE)
        return Example(id=asked.id, question=asked.question, response=text(row["response"]))

    def question(self, row: Row, index: int, part: str) -> Question:
        """`question`, `answer`."""
        asked, gold = text(row["question"]), text(row["answer"])
        if not asked or not gold:
            raise Drop(NOT_WHOLE)
        return Question(id=f"toy_arithmetic-{index}", question=asked, gold=gold, part=part)


def _is_test(question: str) -> bool:
    return hashlib.sha256(question.encode()).digest()[0] < 16


class _Dice:
    """Choices from one stream of uniform numbers, which Python guarantees."""

    def __init__(self, seed: int) -> None:
        self._next = random.Random(seed).random

    def pick(self, pool: Sequence[Item]) -> Item:
        return pool[int(self._next() * len(pool))]

    def number(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self._next() * (high - low + 1))


def _row(question: str, steps: Sequence[str], conclusion: str, answer: int) -> dict[str, str]:
    return {
        "question": question,
        "response": f"{' '.join(f'{step}.' for step in steps)} {conclusion} The answer is {answer}.",
        "answer": str(answer),
    }


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'s' if n != 1 else ''}"


def _gain(dice: _Dice, p: Person) -> dict[str, str]:
    a, b, thing, verb = dice.number(1, 10), dice.number(1, 10), dice.pick(_THINGS), dice.pick(("buys", "finds", "gets"))
    asked = f"{p.name} has {_count(a, thing)}. {p.he} {verb} {b} more. How many {thing}s does {p.name} have?"
    return _row(asked, [f"{a} + {b} = {a + b}"], f"So {p.name} has {_count(a + b, thing)}.", a + b)


def _loss(dice: _Dice, p: Person) -> dict[str, str]:
    a, thing, verb = dice.number(2, 10), dice.pick(_THINGS), dice.pick(("gives away", "loses", "sells"))
    b = dice.number(1, a - 1)
    asked = f"{p.name} has {_count(a, thing)}. {p.he} {verb} {b}. How many {thing}s does {p.name} have left?"
    return _row(asked, [f"{a} - {b} = {a - b}"], f"So {p.name} has {_count(a - b, thing)} left.", a - b)


def _groups(dice: _Dice, p: Person) -> dict[str, str]:
    a, b, thing, (box, boxes) = dice.number(2, 10), dice.number(2, 10), dice.pick(_THINGS), dice.pick(_BOXES)
    asked = f"{p.name} has {a} {boxes}. Each {box} holds {_count(b, thing)}. How many {thing}s does {p.name} have?"
    return _row(asked, [f"{a} * {b} = {a * b}"], f"So {p.name} has {_count(a * b, thing)}.", a * b)


def _two_steps(dice: _Dice, p: Person) -> dict[str, str]:
    a, b, thing = dice.number(1, 10), dice.number(1, 10), dice.pick(_THINGS)
    c = dice.number(1, min(10, a + b - 1))
    start = f"{p.name} has {_count(a, thing)}. {p.he} finds {b} more. Then {p.he.lower()} gives away {c}."
    steps = [f"{a} + {b} = {a + b}", f"{a + b} - {c} = {a + b - c}"]
    asked = f"{start} How many {thing}s does {p.name} have left?"
    return _row(asked, steps, f"So {p.name} has {_count(a + b - c, thing)} left.", a + b - c)


def _together(dice: _Dice, p: Person) -> dict[str, str]:
    a, b, thing, town = dice.number(1, 10), dice.number(1, 10), dice.pick(_THINGS), p.town
    asked = f"In {town} {p.name} sees {_count(a, thing)} and then {b} more. How many {thing}s are there?"
    return _row(asked, [f"{a} + {b} = {a + b}"], f"There are {a + b}.", a + b)


_KINDS: tuple[Callable[[_Dice, Person], dict[str, str]], ...] = (_gain, _loss, _groups, _two_steps, _together)
