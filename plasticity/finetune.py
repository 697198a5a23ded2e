"""Fine-tune a base checkpoint on a task: the plasticity paper's recipe (table 6) unless told otherwise, on `alphadecay.train`.

Template, and loss on response and EOS only, are the task's (`plasticity.tasks.encoding`): evaluation sees the same prompt ids.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay import launch
from alphadecay.config import TrainConfig
from plasticity import adapters, finetune_folder
from plasticity.finetune_config import FinetuneConfig, LoraConfig, paper
from plasticity.finetune_folder import CONFIG
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from alphadecay.objective import Objective
    from alphadecay.train import TrainResult
    from plasticity.tasks.base import Example, Task
    from plasticity.tasks.report import LoadReport

__all__ = ["CONFIG", "FinetuneConfig", "LoraConfig", "finetune", "make_objective", "paper"]

Say = Callable[[str], None]


def finetune(
    config: FinetuneConfig, out: Path, *, resume: bool = False, message: Say | None = None, least: int = 0
) -> TrainResult:
    """Fine-tune, and leave a checkpoint that `plasticity evaluate` and `spectra analyze` read.

    Args:
        resume: go on from the newest whole checkpoint; from the start where there is none yet.
        least: so many steps at least, where `train.epochs` are fewer; 0: those are refused.

    Raises:
        SpectraError: the folder cannot be made, or holds a run that this is not; model, task and data do not go together; or
            whatever stops training.
    """
    from alphadecay.train import fit

    say = message or (lambda _: None)
    finetune_folder.check(config, out, resume=resume, say=say)
    objective, examples = _prepared(config, say)
    steps = _steps(config.train, len(objective.train), least)
    if launch.is_first():
        finetune_folder.begin(config, examples, out)
    say(
        f"{len(objective.train):,} {'packs' if config.packing else 'examples'}, {steps:,} steps of {config.train.batch_size}"
    )
    with warnings.catch_warnings():  # peft looks for a config.json beside a GGUF base when it saves
        warnings.filterwarnings("ignore", "Could not find a config file in .*gguf", UserWarning)
        return fit(objective, config.train, config.decay, out, steps=steps, resume=resume, message=message)


def make_objective(config: FinetuneConfig, say: Say) -> Objective:
    """Model and examples of a configuration, ready for the loop."""
    return _prepared(config, say)[0]


def _prepared(config: FinetuneConfig, say: Say) -> tuple[Objective, list[Example]]:
    """The objective, and the examples that it trains on."""
    from alphadecay.data_windows import order
    from alphadecay.objective import Objective
    from plasticity.base_model import load_base
    from plasticity.examples import Collate, Examples, Packs, check_isolation, check_mean
    from plasticity.identity import PROMPT_CHECK, origin, prompt_check
    from plasticity.target_head import only_targets
    from plasticity.tasks.encoding import encode_all
    from plasticity.tasks.loading import load
    from plasticity.tasks.registry import get

    task: Task = get(config.task, Path(config.tasks_dir) if config.tasks_dir else None)
    base = load_base(config.model, from_scratch=config.from_scratch, seed=config.train.seed)
    window = min(config.window, base.window or config.window)
    loaded = load(task, "train", Path(config.data) if config.data else None, config.limit)
    say(f"window {window}" + (f" (the model's; {config.window} asked)" if window < config.window else ""))
    examples, encoded, too_long = encode_all(task, loaded.items, base.tokenizer, window)
    _say_data(loaded.report, too_long, window, say)
    model = _with_adapter(base.model, config)
    if config.packing:
        check_isolation(model)
    if launch.processes() > 1 or (config.train.micro_batch or config.train.batch_size) < config.train.batch_size:
        check_mean(model)
    train = Packs(encoded, window) if config.packing else Examples(encoded)
    only_targets(model)
    pad = base.tokenizer.pad_token_id
    objective = Objective(
        model=model,
        train=train,
        validation=None,
        order=partial(order, len(train), config.train.seed),
        batch_size=config.train.batch_size,
        processor=base.tokenizer,
        collate=Collate(base.tokenizer.eos_token_id if pad is None else pad),
        evaluate=_no_evaluation,
        fingerprint=loaded.report.fingerprint,
        tokens_per_step=None,
        facts=lambda steps: {
            "task": asdict(loaded.report),
            "too_long": too_long,
            "window": window,
            "window_asked": config.window,
            "examples": len(encoded),
            "packs": len(train) if config.packing else None,
            "target_tokens": sum(len(example.response_ids) for example in encoded),
            "order": {"seed": config.train.seed, "batch_size": config.train.batch_size, "steps": steps},
            "fingerprint": loaded.report.fingerprint,
            "base": origin(base, weights=not config.from_scratch),
            PROMPT_CHECK: prompt_check(task, examples[0].question, encoded[0].prompt_ids, base.tokenizer),
        },
    )
    return objective, examples


def _say_data(report: LoadReport, too_long: int, window: int, say: Say) -> None:
    dropped = ", ".join(f"{reason} ({count:,})" for reason, count in report.dropped.items())
    say(f"{report.rows_read:,} rows read, {report.kept:,} kept{f'; dropped: {dropped}' if dropped else ''}")
    for remark in report.remarks:
        say(remark)
    if too_long:
        say(f"{too_long:,} examples of more than {window} tokens are left out")


def _no_evaluation(*_: Any) -> dict[str, float]:
    raise AssertionError("fine-tuning has no validation data; plasticity evaluate scores the result")


def _with_adapter(model: Any, config: FinetuneConfig) -> Any:
    """The model with an adapter, whose first weights are random by seed; it names its base so that it is found from anywhere."""
    lora = config.lora
    if not lora.rank:
        return model
    import torch

    try:
        import peft
    except ImportError as error:
        raise SpectraError("lora.rank needs peft: pip install 'spectra-plasticity[peft]'.") from error
    targets: Any = lora.targets if lora.targets == "all-linear" else lora.targets.split(",")
    made = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
            torch.manual_seed(config.train.seed)
            adapted = peft.get_peft_model(model, made)
    except ValueError as error:
        raise SpectraError(f"lora.targets = {lora.targets!r}: {error}") from error
    made.base_model_name_or_path = adapters.whole_name(config.model)
    return adapted


def _steps(train: TrainConfig, items: int, least: int = 0) -> int:
    if train.steps is not None:
        return train.steps
    if train.epochs is None:
        raise SpectraError("Fine-tuning takes train.epochs or train.steps, not a number of tokens.")
    steps = max(least, math.floor(train.epochs * items / train.batch_size))
    if steps < 1:
        raise SpectraError(
            f"train.epochs = {train.epochs:g}: {items} examples are less than one batch of {train.batch_size}. Take a smaller "
            "train.batch_size or more data."
        )
    return steps
