"""Responses of a model to prompts, on disk as they come.

The engine is a model in this process (`generate_hf.HuggingFaceEngine`) or any OpenAI-compatible server
(`generate_server.ServerEngine`). What is recorded does not depend on where an earlier run was killed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from plasticity.generate_options import Prompt, SamplingOptions, fingerprint
from plasticity.responses import Answers, Response, ResponseFile
from spectra.errors import SpectraError


class Engine(Protocol):
    """Whatever turns prompts into responses."""

    @property
    def window(self) -> int | None:
        """Most tokens of prompt and response together; None: not known."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the responses depend on, for the header of their file: resuming with anything else is refused."""
        ...

    def run(self, prompts: Sequence[Prompt], options: SamplingOptions, done: Set[str]) -> Iterator[Answers]:
        """Answers to the prompts that are not `done`, in any order. All prompts have room for at least one token."""
        ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A question was answered: how many are done, of how many, and seconds since this run began."""

    done: int
    total: int
    answers: Answers
    seconds: float


Listener = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """All answers, in the order of the prompts.

    Attributes:
        answers: one entry a prompt.
        finishes: responses by how they ended; `too_long` among them.
        notes: questions by what was odd about them (the first word of each note).
        too_long: ids of prompts that did not fit and were skipped.
    """

    answers: tuple[Answers, ...]
    finishes: Mapping[str, int]
    notes: Mapping[str, int]
    too_long: tuple[str, ...]


def generate(
    prompts: Sequence[Prompt],
    engine: Engine,
    options: SamplingOptions,
    out: Path,
    *,
    task: Mapping[str, Any],
    resume: bool = False,
    listener: Listener | None = None,
) -> Generation:
    """Answer every prompt and record the answers in `out` (`responses.jsonl`), each as soon as it is there.

    Args:
        task: what identifies the task in the file's header (name, version, revision of the data).
        resume: go on with `out` where it exists; otherwise an existing file is refused.
        listener: told of every question answered in this run.

    Raises:
        SpectraError: duplicate or empty prompts, a prompt too long under `refuse`, a file of something else, a failing engine.
    """
    _check(prompts)
    windows = [w for w in (options.window, engine.window) if w is not None]
    options = replace(options, window=min(windows) if windows else None)
    long = _too_long(prompts, options)
    header = {
        "engine": dict(engine.describe()), "options": asdict(options), "task": dict(task),
        "prompts": fingerprint(prompts), "questions": len(prompts),
    }  # fmt: skip
    began = time.monotonic()
    with ResponseFile(out, header, resume=resume) as file:
        for answers in _new(prompts, engine, options, file):
            file.append(answers)
            if listener is not None:
                seconds = time.monotonic() - began
                listener(Progress(done=len(file.answers), total=len(prompts), answers=answers, seconds=seconds))
        missing = [p.id for p in prompts if p.id not in file.answers]
        if missing:
            raise SpectraError(
                f"The engine left {len(missing)} of {len(prompts)} questions without an answer ({missing[0]!r} first). "
                "Resume to ask them again."
            )
        file.finish([p.id for p in prompts])
        return summarize([file.answers[p.id] for p in prompts], long)


def summarize(answers: Sequence[Answers], too_long: Sequence[str]) -> Generation:
    """Answers with their counts."""
    return Generation(
        answers=tuple(answers),
        finishes=dict(sorted(Counter(r.finish for a in answers for r in a.responses).items())),
        notes=dict(sorted(Counter(name for a in answers for name in {n.split()[0] for n in a.notes}).items())),
        too_long=tuple(too_long),
    )


def _new(prompts: Sequence[Prompt], engine: Engine, options: SamplingOptions, file: ResponseFile) -> Iterator[Answers]:
    """Answers that the file does not have yet."""
    for prompt in prompts:
        if not options.room(prompt) and prompt.id not in file.answers:
            yield Answers(
                question_id=prompt.id,
                responses=tuple(
                    Response(question_id=prompt.id, sample=i, text="", tokens=0, finish="too_long")
                    for i in range(options.samples)
                ),
            )
    fitting = [p for p in prompts if options.room(p)]
    if any(p.id not in file.answers for p in fitting):
        yield from engine.run(fitting, options, frozenset(file.answers))


def _check(prompts: Sequence[Prompt]) -> None:
    if not prompts:
        raise SpectraError("There are no prompts to answer: the task has no question left. Look at its cleaning rules.")
    twice = [id_ for id_, n in Counter(p.id for p in prompts).items() if n > 1]
    if twice:
        raise SpectraError(f"Question id {twice[0]!r} occurs more than once; ids must be unique.")
    empty = [p.id for p in prompts if not p.ids]
    if empty:
        raise SpectraError(f"The prompt of question {empty[0]!r} has no tokens; give at least one.")


def _too_long(prompts: Sequence[Prompt], options: SamplingOptions) -> list[str]:
    """Ids of prompts without room for a response."""
    long = [p for p in prompts if not options.room(p)]
    if long and options.too_long == "refuse":
        raise SpectraError(
            f"{len(long)} of {len(prompts)} prompts leave no room in a window of {options.window} tokens ({long[0].id!r} has "
            f"{len(long[0].ids)}). Widen the window, or use too_long=skip to record them as unanswered."
        )
    return [p.id for p in long]
