"""The cheap signals of one candidate: probes, spectra, train-val gap and loss of its run, a short fine-tuning scored greedily."""

from __future__ import annotations

import dataclasses
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import rank_folder
from plasticity.finetune_config import DEFAULT_RECIPE
from plasticity.rank_result import SHORT
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.experiment_answers import Table
    from plasticity.finetune_config import FinetuneConfig

Say = Callable[[str], None]
TUNED, SCORES = "tuned", "scores"


@dataclass(frozen=True, kw_only=True)
class RankConfig:
    """What is ranked, for which task, and what it may cost.

    Attributes:
        models: candidates: folders, hub ids; with an experiment its bases by name, too.
        task: what they are to be fine-tuned on.
        budget: share of the fine-tuning steps that each candidate gets; 0: no fine-tuning.
        limit: questions at most on which it is scored.
        probes: probe tasks; empty: no probes.
        probe_limit: texts a probe task and seed at most.
        data, tasks_dir, recipe, changes: of the fine-tuning, as `plasticity finetune` has them.
        max_tokens: most tokens of a response.
        reward_model: what judges the responses of a task of safety.
        seed: of the fine-tuning, and of the draws.
    """

    models: tuple[str, ...]
    task: str
    budget: float = 0.05
    limit: int = 200
    probes: tuple[str, ...] = ("corpus_kinds",)
    probe_limit: int = 2000
    data: str | None = None
    tasks_dir: str | None = None
    recipe: str = DEFAULT_RECIPE
    changes: tuple[str, ...] = ()
    max_tokens: int = 1024
    reward_model: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.models) < 2 or len(set(self.models)) < len(self.models):
            raise SpectraError(
                f"Got the candidates {', '.join(self.models) or '(none)'}; expected at least two, all different."
            )
        if not 0 <= self.budget <= 1:
            raise SpectraError(
                f"--budget {self.budget:g}: expected a share of the fine-tuning steps, such as 0.05; 0 for none."
            )
        for name, value, least in (
            ("limit", self.limit, 2),
            ("probe-limit", self.probe_limit, 4),
            ("max-tokens", self.max_tokens, 1),
        ):
            if value < least:
                raise SpectraError(f"--{name} {value}: expected at least {least}.")
        if not self.budget and (self.changes or self.recipe != DEFAULT_RECIPE or self.reward_model):
            raise SpectraError(
                "--set, --recipe and --reward-model are of the fine-tuning, and --budget 0 asks for none. Leave them out."
            )


@dataclass(kw_only=True)
class Measured:
    """Signals of one candidate by name; `why` some are not known; `table`: its answers by question after fine-tuning."""

    values: dict[str, float | None] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    tokenizer: str | None = None
    validation: Any = None
    table: Table | None = None
    score: str = ""
    steps: int = 0


def check_task(config: RankConfig) -> None:
    """Refuse a task that cannot be scored as asked, before any work is done.

    Raises:
        SpectraError: no such task; safety without a reward model, or another task with one.
    """
    if not config.budget:
        return
    from plasticity.tasks.registry import get

    kind = get(config.task, Path(config.tasks_dir) if config.tasks_dir else None).header.kind
    if (kind == "safety") != (config.reward_model is not None):
        raise SpectraError(
            f"{config.task} is scored by a harmfulness model: name one with --reward-model, such as "
            "safepaca/absolute-harmfulness-predictor-redteam."
            if kind == "safety"
            else f"--reward-model is for tasks of safety; {config.task} is scored by its answers. Leave it out."
        )


def measure(model: str, config: RankConfig, out: Path, say: Say) -> Measured:
    """Every signal of a candidate; what is measured lies in `out`.

    A candidate that was finished in `out` is not measured again, nor what was finished of one that was not.

    Raises:
        SpectraError: the checkpoint cannot be read, or not be fine-tuned on the task. A gap that cannot be measured (no run of ours
            around the checkpoint) is not known, and no error.
    """
    known = rank_folder.measured(out)
    if known is not None:
        made = Measured(**known)
        made.table = _table(out, made) if made.score else None
        return made
    made = Measured()
    _spectra(model, out, made)
    if config.probes:
        _probe(model, config, out, made, say)
    else:
        made.why["probe"] = "not asked for"
    _gap(model, out, made, say)
    if config.budget:
        _short(model, config, out, made, say)
    else:
        made.why[SHORT] = "no budget"
    rank_folder.finish(out, {name: value for name, value in vars(made).items() if name != "table"})
    shutil.rmtree(out / TUNED, ignore_errors=True)
    return made


def _spectra(model: str, out: Path, made: Measured) -> None:
    import spectra
    from plasticity.spectra_numbers import spectra_numbers

    path = out / "analysis.json"
    if not path.exists():
        spectra.write_json(spectra.analyze(model), path)
    analysis = spectra.read_json(path)
    found = {name: value for name, value in spectra_numbers(analysis).items() if name in ("pseudo_rank_qk", "alpha_sd")}
    made.values |= found
    made.why |= {name: "the checkpoint has no such matrices" for name, value in found.items() if value is None}


def _probe(model: str, config: RankConfig, out: Path, made: Measured, say: Say) -> None:
    from plasticity.probe import probe
    from plasticity.probe_config import ProbeConfig
    from plasticity.probe_result import NAME, read_result

    asked, path = ProbeConfig(model=model, tasks=config.probes, limit=config.probe_limit), out / "probe" / NAME
    result = read_result(path) if path.exists() else probe(asked, path.parent, message=say)
    made.values["probe"] = statistics.fmean(task.best_layer.test_accuracy for task in result.tasks)
    made.tokenizer = result.checkpoint.get("tokenizer_sha256")


def _gap(model: str, out: Path, made: Measured, say: Say) -> None:
    from plasticity.gap import GapConfig, gap

    try:
        found = gap(GapConfig(model=model), out / "gap", replace=True, message=say)
    except SpectraError as error:
        made.why |= dict.fromkeys(("gap", "loss"), str(error))
        return
    made.values |= {"gap": found.gap, "loss": found.val_loss}
    made.tokenizer = found.checkpoint.get("tokenizer_sha256") or made.tokenizer
    made.validation = [found.data[name] for name in ("fingerprint", "window", "packing")]


def _short(model: str, config: RankConfig, out: Path, made: Measured, say: Say) -> None:
    """Fine-tune with a share of the steps, one at least, the schedule drawn together; score."""
    from alphadecay import runs
    from plasticity.evaluate import evaluate
    from plasticity.evaluate_config import EvaluateConfig
    from plasticity.finetune import finetune
    from plasticity.tasks.registry import get

    task = get(config.task, Path(config.tasks_dir) if config.tasks_dir else None)
    whole = tuning(model, config, task)
    done = finetune(
        shortened(whole, config.budget), out / TUNED, resume=runs.holds_run(out / TUNED), message=say, least=1
    )
    asked = EvaluateConfig.applying(
        task=config.task, model=str(done.checkpoint), data=config.data, tasks_dir=config.tasks_dir, limit=config.limit,
        samples=0, max_tokens=config.max_tokens, reward_model=config.reward_model,
    )  # fmt: skip
    result = evaluate(asked, out / SCORES, resume=(out / SCORES).exists(), message=say)
    made.score, made.steps = task.header.scores[0], done.steps
    made.table = _table(out, made)
    made.values[SHORT] = result.scores[made.score].value
    made.tokenizer = result.checkpoint.get("tokenizer_sha256") or made.tokenizer


def tuning(model: str, config: RankConfig, task: Any) -> FinetuneConfig:
    """A candidate's fine-tuning in full, of which it gets a share.

    Raises:
        SpectraError: a recipe, a key or a value that there is not.
    """
    from plasticity.finetune_options import configure

    given = {"task": config.task, "model": model, "data": config.data, "tasks_dir": config.tasks_dir}
    words = config.changes if any(word.startswith(("train.seed=", "seed=")) for word in config.changes) else (
        *config.changes, f"train.seed={config.seed}",
    )  # fmt: skip
    return configure(given, words, task.training, config.recipe)


def _table(out: Path, made: Measured) -> Table | None:
    """The answers by question, as `evaluate` left them in a candidate's folder."""
    from plasticity import experiment_answers
    from plasticity.task_result import read_result

    scores = {
        name: dataclasses.asdict(score) for name, score in read_result(out / SCORES / "result.json").scores.items()
    }
    tables = experiment_answers.tables(experiment_answers.read(out / SCORES / "answers.jsonl"), [made.score])
    return experiment_answers.checked(tables, scores).get(made.score)


def shortened(config: Any, budget: float) -> Any:
    """A fine-tuning configuration with a share of its steps or epochs; of steps at least one."""
    train = config.train
    changed: Mapping[str, Any] = (
        {"steps": max(1, round(budget * train.steps))} if train.steps is not None else {"epochs": budget * train.epochs}
    )
    return dataclasses.replace(config, train=dataclasses.replace(train, **changed))
