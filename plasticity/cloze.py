"""Cloze accuracy through lm-eval in this process: choices are scored by their likelihood, zero-shot. Source: docs/methods.

`cloze` scores the five tasks of ours on our own rows with lm-eval's prompts; `lm_eval_task` any task of lm-eval by name.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.errors import SpectraError, first_line

from .cloze_data import cloze_rows, write_task
from .cloze_lm import Say, Warnings, language_model, prepends_bos, quiet, seeded
from .scores import ScoreValue
from .tasks.base import Question, Task

_BOOTSTRAP = 1000  # draws of lm-eval's own standard errors, of scores that are not means


@dataclass(frozen=True, kw_only=True)
class ClozeResult:
    """What lm-eval found; everything can be written as JSON.

    Attributes:
        scores: `acc` (choice of greatest log-likelihood) and where lm-eval has it `acc_norm` (greatest per character), shares in
            [0, 1], with 95% bootstrap intervals over questions; of other tasks every metric, see `cloze_scores.found`.
        n_questions: documents scored, over all parts of a group.
        questions: a record each, in order: `task`, `id` (SHA-256 of the document: the same for every checkpoint), `metrics`; of
            choices also `chosen`, `chosen_norm` (with acc_norm), `gold` (indices) and `logprobs` (nats, summed over tokens).
        facts: what lm-eval was told and how it went: see the keys.
        asked: the questions, of a task of ours; empty of lm-eval's own.
    """

    scores: Mapping[str, ScoreValue]
    n_questions: int
    questions: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any]
    asked: tuple[Question, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """How lm-eval is run."""

    limit: int | None
    batch_size: int
    max_length: int | None
    seed: int


def cloze(  # noqa: PLR0913 -- flat: one argument an option of the command
    task: Task,
    model: Any,
    tokenizer: Any,
    *,
    data: Path | None,
    limit: int | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    seed: int = 0,
    work: Path,
    say: Say | None = None,
) -> ClozeResult:
    """Score a cloze task on its test split: local files `data`, else the hub data set at the header's commit.

    Args:
        model, tokenizer: a causal language model as it is (device, dtype), as `load_base` gives them; both are left unchanged.
        limit: the first so many questions.
        batch_size: choices at once; does not change scores but for rounding.
        max_length: window in tokens; None: what the model's configuration says. Longer contexts are cut from the left, and
            counted (`facts["truncated"]`).
        seed: of the intervals.
        work: folder for files of the run; nothing is left in it.
        say: where progress is said; None: nowhere.

    Raises:
        SpectraError: not a cloze task, unusable data, no network, a choice that does not fit into the window, a likelihood that is
            not finite, too little device memory.
    """
    header = task.header
    if header.kind != "cloze" or not header.lm_eval:
        raise SpectraError(
            f"{header.name} is a {header.kind} task{'' if header.lm_eval else ' without a name in lm-eval'}: expected a cloze "
            "task that names lm-eval's in its header. Evaluate it by generation."
        )
    _check(limit, batch_size)
    name = header.lm_eval
    setting = _Setting(limit=None, batch_size=batch_size, max_length=max_length, seed=seed)
    rows = cloze_rows(task, data, limit)
    work.mkdir(parents=True, exist_ok=True)
    with quiet(say) as aloud, tempfile.TemporaryDirectory(dir=work.resolve(), prefix="lm-eval-") as folder:
        from .cloze_index import manager

        write_task(name, rows.rows, Path(folder))
        left = f" ({sum(rows.dropped.values()):,} rows without an answer left out)" if rows.dropped else ""
        aloud(f"{name}: {len(rows.rows):,} questions through lm-eval, zero-shot{left}")
        result = _run(name, lambda: manager(Path(folder)), model, tokenizer, setting, aloud, shots=0)
    known = {
        "source": list(rows.source), "rows_read": rows.rows_read, "rows_dropped": dict(rows.dropped),
        "fingerprint": rows.fingerprint, "limit": limit,
    }  # fmt: skip
    return ClozeResult(
        scores=result.scores, n_questions=result.n_questions, questions=result.questions, facts={**result.facts, **known},
        asked=rows.questions,
    )  # fmt: skip


def lm_eval_task(  # noqa: PLR0913 -- flat: one argument an option of the command
    name: str,
    model: Any,
    tokenizer: Any,
    *,
    limit: int | None,
    batch_size: int,
    seed: int,
    say: Say | None,
    include_path: Path | None = None,
) -> ClozeResult:
    """Score any task, group or tag of lm-eval by name, with its own data and number of examples in the prompt.

    Args:
        limit: the first so many documents of every task.
        seed: added to lm-eval's own seeds (which examples go into a prompt, and sampling): 0 gives lm-eval's; and of intervals.
        include_path: folder with the user's own YAML files; these count before lm-eval's.
        model, tokenizer, batch_size, say: as of `cloze`.

    Raises:
        SpectraError: unknown name (near ones are given), data that cannot be had, a task that lm-eval refuses to run.
    """
    _check(limit, batch_size)
    setting = _Setting(limit=limit, batch_size=batch_size, max_length=None, seed=seed)
    with quiet(say) as aloud:
        from .cloze_index import manager_of

        return _run(name, lambda: manager_of(name, include_path, aloud), model, tokenizer, setting, aloud, shots=None)


def _check(limit: int | None, batch_size: int) -> None:
    if batch_size < 1 or (limit is not None and limit < 1):
        raise SpectraError(f"Batch size {batch_size} and limit {limit}: expected at least 1 each.")


def _run(
    name: str, index: Callable[[], Any], model: Any, tokenizer: Any, setting: _Setting, say: Say, *, shots: int | None
) -> ClozeResult:
    """Load, evaluate, read; inside `quiet`.

    As `lm_eval.simple_evaluate`, which is not called because it also starts git and pip to describe the machine: 2 seconds a
    call, and messages.
    """
    import torch
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED  # type: ignore[import-untyped]
    from lm_eval.evaluator import evaluate  # type: ignore[import-untyped]

    from .cloze_scores import found

    other = DEFAULT_OTHER_SEED + setting.seed
    seeds = {"random": DEFAULT_RANDOM_SEED + setting.seed, "numpy": other, "torch": other, "fewshot": other}
    heard = Warnings()
    with heard.listening():
        loaded = _load(name, index())
    for task in loaded["tasks"].values():
        if shots is not None or task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=shots or 0)
        task.set_fewshot_seed(seed=seeds["fewshot"])
    with seeded(seeds, model):
        lm = language_model(model, tokenizer, batch_size=setting.batch_size, max_length=setting.max_length, say=say)
        with heard.listening():
            try:
                results = evaluate(lm=lm, task_dict=loaded, limit=setting.limit, bootstrap_iters=_BOOTSTRAP)
            except torch.OutOfMemoryError as error:
                less = f"with --batch-size below {setting.batch_size}, or " if setting.batch_size > 1 else ""
                raise SpectraError(
                    f"Out of device memory with {setting.batch_size} texts at once. Evaluate again {less}with --device cpu."
                ) from error
            except (ValueError, AssertionError) as error:
                raise SpectraError(f"lm-eval cannot run {name}: {first_line(error)}") from error
    made = found(results, loaded, name, setting.seed)
    facts = _facts(name, lm, loaded, results) | {
        "limit": setting.limit, "batch_size": setting.batch_size, "seeds": seeds, "stderr": made.stderr,
        "higher_is_better": made.higher_is_better, "warnings": heard.kept,
        "fingerprint": hashlib.sha256("".join(one["id"] for one in made.questions).encode()).hexdigest(),
    }  # fmt: skip
    return ClozeResult(
        scores=made.scores, n_questions=len(made.questions), questions=tuple(made.questions), facts=facts
    )


def _load(name: str, index: Any) -> Any:
    """The tasks of a name, with their data.

    Raises:
        SpectraError: they cannot be had.
    """
    from datasets.exceptions import DatasetsError
    from jinja2 import TemplateError

    from alphadecay.data_hub import network_errors

    try:
        return index.load([name])
    except (TemplateError, LookupError, TypeError, AttributeError) as error:
        raise SpectraError(
            f"lm-eval cannot read the data of {name} ({_said(error)}). Expected the fields that the task's YAML reads."
        ) from error
    except (DatasetsError, ImportError, *network_errors()) as error:
        raise SpectraError(
            f"lm-eval cannot load {name} and its data ({_said(error)}). Check the network, or write a YAML of your own that "
            "includes the task's and names local data_files."
        ) from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300].rstrip('.')}"


def _facts(name: str, lm: Any, loaded: Any, results: Any) -> dict[str, Any]:
    """What a reader must know of the run; of a group version and number of examples by task."""
    import lm_eval  # type: ignore[import-untyped]

    tasks = list(loaded["tasks"])
    shots = {task: results["n-shot"].get(task) for task in tasks}
    versions = {task: results["versions"].get(task) for task in [*tasks, *loaded.get("groups", {})]}
    alone = tasks == [name]
    return {
        "task": name,
        "version": versions.get(name, versions),
        "versions": {} if alone else versions,
        "num_fewshot": shots[name] if alone else shots,
        "lm_eval": lm_eval.__version__,
        "max_length": lm.max_length,
        "add_bos_token": lm.add_bos_token,  # None: the tokenizer decides
        "prompts_begin_with_bos": prepends_bos(lm),
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "softmax_dtype": str(lm.softmax_dtype).removeprefix("torch."),
        "requests": lm.scored,
        "truncated": lm.truncated,
    }
