"""Cloze tasks, and any other task of lm-eval: likelihoods of given answers, through lm-eval in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity.evaluate_config import EvaluateConfig, check_window
from plasticity.task_result import TaskResult, make_folder
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.tasks.base import Task

Say = Callable[[str], None]
BATCH_SIZE = 32


def evaluate(config: EvaluateConfig, task: Task | None, out: Path, say: Say) -> TaskResult:
    """Score one of our cloze tasks, or (task None) lm-eval's own `config.lm_eval`; see `plasticity.evaluate.evaluate`."""
    from plasticity import grading
    from plasticity.base_model import load_base
    from plasticity.cloze import cloze, lm_eval_task
    from plasticity.devices import chosen, put
    from plasticity.identity import identity
    from plasticity.trained_questions import with_seen
    from spectra.atomic import write_text

    _check(config, task)
    where, dtype = chosen(config.device, config.precision)
    base = load_base(config.model)
    check_window(config.window, getattr(base.model.config.get_text_config(), "max_position_embeddings", None))
    known = identity(base)
    model = put(base.model, where, dtype, name=config.model)
    size = config.batch_size or BATCH_SIZE
    version: int | str
    if task is not None:
        data = Path(config.data) if config.data else None
        found = cloze(
            task, model, base.tokenizer, data=data, limit=config.limit, batch_size=size, max_length=config.window,
            seed=config.seed, work=out, say=say,
        )  # fmt: skip
        name, version = task.header.name, task.header.version
        known["trained"] = with_seen(known["trained"], config.model, found.asked)
    else:
        assert config.lm_eval is not None
        found = lm_eval_task(
            config.lm_eval, model, base.tokenizer, limit=config.limit, batch_size=size, seed=config.seed, say=say,
            include_path=Path(config.tasks_dir) if config.tasks_dir else None,
        )  # fmt: skip
        name, version = config.task, str(found.facts.get("version"))
    make_folder(out)
    write_text(out / grading.NAME, "".join(json.dumps(one, allow_nan=False) + "\n" for one in found.questions))
    baseline = task.header.baseline if task is not None else {}
    return TaskResult(
        checkpoint=known, task=name, task_version=version, profile=config.profile, seed=config.seed,
        n_questions=found.n_questions, scores=found.scores,
        data=_data(found.facts, found.n_questions) if task is not None else {},
        baseline={score: value for score, value in baseline.items() if score in found.scores},
        counts={"likelihoods": {"scored": found.facts["requests"], "contexts_cut": found.facts["truncated"]}},
        settings={"lm_eval": dict(found.facts)}, files=(grading.NAME,), provenance={"device": where, "dtype": str(dtype)},
    )  # fmt: skip


def _data(facts: Mapping[str, Any], kept: int) -> dict[str, Any]:
    """What came of loading the rows, under the names that `LoadReport` has."""
    names = {"source": "source", "rows_read": "rows_read", "rows_dropped": "dropped", "fingerprint": "fingerprint"}
    made = {ours: facts[theirs] for theirs, ours in names.items()} | {"kept": kept}
    first = f"the first {kept:,} rows, as lm-eval's --limit"
    return made | {"remarks": (first,)} if facts["limit"] is not None and kept == facts["limit"] else made


def _check(config: EvaluateConfig, task: Task | None) -> None:
    """Refuse what has no meaning here, rather than ignore it."""
    name = config.task
    if config.engine != "hf":
        raise SpectraError(
            f"{name} is scored by likelihoods of whole answers, which completions of a server do not give. Use --engine hf."
        )
    config.refuse(("profile",), f"{name} is scored by lm-eval's own rules: there is no profile {config.profile}")
    rewards = ("reward_model", "reward_template", "reward_logit")
    config.refuse(
        ("samples", "temperature", "max_tokens", *rewards), f"{name} is scored by likelihoods, not by responses"
    )
    if task is None and config.window is not None:
        raise SpectraError(f"--window does not go with {name}: lm-eval's tasks take the model's own. Leave it out.")
    if task is None and config.data is not None:
        raise SpectraError(
            f"--data does not go with {name}: lm-eval's tasks name their data. A YAML of yours with local data_files in "
            "--tasks-dir is found by its name."
        )
