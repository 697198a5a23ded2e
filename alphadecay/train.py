"""`train(recipe, out)`: from a recipe to checkpoints in Hugging Face layout, on `transformers.Trainer`; exact on resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay import launch, saves
from alphadecay.budget import budget
from alphadecay.config import DecayConfig, Recipe, TrainConfig
from spectra.atomic import write_text
from spectra.errors import OtherWorkError, SpectraError

if TYPE_CHECKING:
    from alphadecay.callback import DecayCallback
    from alphadecay.loop import Loop
    from alphadecay.objective import Objective

RESULT = "result.json"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with.

    Attributes:
        checkpoint: the last one.
        steps: optimizer steps of the whole run.
        seconds: wall time of this process (a resumed run's rest).
        train_loss: mean over the last logged steps, nats a token; None where nothing was logged.
        eval_loss: of the last evaluation, nats a token; None without one.
        eval_metrics: everything the last evaluation gave.
        base_decay, decays: as they were at the last step; `decays` by module, empty where the policy tunes none.
        provenance: versions, device, threads, processes, hash of the data.
    """

    checkpoint: Path
    steps: int
    seconds: float
    train_loss: float | None
    eval_loss: float | None
    eval_metrics: dict[str, float]
    base_decay: float
    decays: dict[str, float]
    provenance: dict[str, Any]


def train(
    recipe: Recipe, out: Path, *, resume: bool = False, message: Say | None = None, task: Objective | None = None
) -> TrainResult:
    """Train a recipe. Under torchrun every process calls it with the same arguments.

    Writes `<out>/checkpoint-<step>/` (model, tokenizer, optimizer, state; whole or not there), `decay.jsonl`,
    `spectra/step-<n>.json`, `data.json` (what was read, how it was split and ordered) and `result.json`.

    Args:
        resume: go on from the newest whole checkpoint; from the start where there is none yet.
        message: is told of progress, on the first process.
        task: model and data, where they are not those that the recipe names; its model holds the final weights afterwards.

    Raises:
        SpectraError: the recipe cannot be run here; the loss is not finite; a checkpoint cannot be written.
    """
    say = message or (lambda _: None)
    _check_processes(recipe.train)
    from alphadecay.objective import objective

    task = task or objective(recipe, say)
    count = budget(recipe, len(task.train))
    assert count.steps is not None
    return fit(task, recipe.train, recipe.decay, out, steps=count.steps, resume=resume, message=message)


def fit(
    task: Objective,
    config: TrainConfig,
    decay: DecayConfig,
    out: Path,
    *,
    steps: int,
    resume: bool = False,
    message: Say | None = None,
) -> TrainResult:
    """Train an objective for so many steps: what `train` does once it has model and data. Arguments and errors as there."""
    from alphadecay.loop import Loop

    started = time.perf_counter()
    say = message or (lambda _: None)
    _check_processes(config)
    first = launch.is_first()
    if not resume and saves.checkpoints(out):
        raise SpectraError(f"{out} already holds a run: go on with it (resume), or name another folder.")
    if resume:
        check_steps(out, steps)
    if first:
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            saves.clean(out)
            _check_data(task, out)
        write_text(out / "data.json", json.dumps(task.facts(steps), indent=1) + "\n")
    checkpoint = saves.newest(out, say) if resume else None
    if resume and checkpoint is None:
        say("no whole checkpoint yet: the run begins anew")
    if checkpoint is not None and (wrote := saves.processes(checkpoint)) != launch.processes():
        say(
            f"{checkpoint.name} was written by {wrote} processes: random numbers in training (dropout) differ from here on"
        )
    trainer = _trainer(task, Loop(config=config, steps=steps, out=out, decay=decay, task=task), say)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    result = _result(trainer, out, steps, time.perf_counter() - started)
    if first:
        made = asdict(result) | {"checkpoint": result.checkpoint.name}
        write_text(out / RESULT, json.dumps(made, indent=1, allow_nan=False) + "\n")
    return result


def check_steps(out: Path, steps: int) -> None:
    """Refuse to go on with a run that is past its end.

    Raises:
        SpectraError: the newest whole checkpoint in `out` is of a step after `steps`.
    """
    found = saves.checkpoints(out)
    step = int(found[-1].name.rpartition("-")[2]) if found else 0
    if step > steps:
        raise SpectraError(
            f"{out} is at step {step} already, past the {steps} that are asked for: there is nothing to go on with. Leave the "
            "length as it was, or begin a new run in another folder."
        )


def _check_data(task: Objective, out: Path) -> None:
    """Refuse to go on with other data than the run's checkpoints were trained on: the record would name windows never seen."""
    try:
        known = json.loads((out / "data.json").read_text(encoding="utf-8")).get("fingerprint")
    except (OSError, ValueError, AttributeError):
        return  # killed before it was written, or written by an older version
    if known not in (None, task.fingerprint) and saves.checkpoints(out):
        raise OtherWorkError(
            f"{out} was begun on other data (fingerprint {str(known)[:16]}, now {task.fingerprint[:16]}): a source has changed. "
            "Restore it, or begin a new run in another folder."
        )


def _check_processes(config: TrainConfig) -> None:
    """Refuse a batch that does not divide, and another number of processes than the recipe wants."""
    launched = launch.processes()
    if config.processes is not None and config.processes != launched:
        raise SpectraError(
            f"train.processes is {config.processes}, but {launched} {'was' if launched == 1 else 'were'} launched. Use torchrun "
            f"--nproc_per_node {config.processes} -m spectra_cli.plasticity_app, or change train.processes."
        )
    if config.parallel == "fsdp" and launched == 1:
        raise SpectraError(
            "train.parallel is fsdp, but one process was launched: no parameter is sharded. Use torchrun with several, or "
            "train.parallel=auto."
        )
    micro = config.micro_batch or 1
    if config.batch_size % (launched * micro):
        raise SpectraError(
            f"train.batch_size {config.batch_size} does not divide over {launched} processes"
            f"{f' with {micro} windows each' if micro > 1 else ''}. Use a multiple of {launched * micro}."
        )


def _trainer(task: Objective, loop: Loop, say: Say) -> Any:
    import torch
    from transformers import PrinterCallback, ProgressCallback

    from alphadecay import watch
    from alphadecay.ema import EmaCallback
    from alphadecay.loop import LoopTrainer, optimizer_class

    config, out = loop.config, loop.out
    model = task.model
    if config.precision == "bf16":
        model = model.to(torch.bfloat16)
    if config.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()  # its name since transformers 5.2x, and before
    callbacks: list[Any] = [decay_callback(loop.decay, out), watch.ProgressCallback(say, task.tokens_per_step)]
    if config.spectra_every:
        callbacks.append(watch.SpectraCallback(config.spectra_every, out / "spectra"))
    if config.parallel == "fsdp":
        callbacks.append(watch.MustBeSharded())
    if task.ema is not None:
        callbacks.append(EmaCallback(task.ema))
    trainer = LoopTrainer(
        loop,
        model=model,
        args=_arguments(loop),
        train_dataset=task.stream(loop.steps),
        eval_dataset=task.validation,
        processing_class=task.processor,
        data_collator=task.collate,
        callbacks=callbacks,
        optimizer_cls_and_kwargs=optimizer_class(config),
    )
    for chatter in (ProgressCallback, PrinterCallback):  # ours says it in words
        trainer.remove_callback(chatter)
    return trainer


def decay_callback(decay: DecayConfig, out: Path) -> DecayCallback:
    """The policy of a recipe."""
    from alphadecay.callback import DecayCallback
    from alphadecay.policies import GroupOptions

    own: dict[str, dict[str, Any]] = {
        "none": {},
        "uniform": {},
        "alphadecay": {
            "ratio": decay.ratio, "gap": decay.gap, "score": decay.score, "fit": decay.fit, "assignment": decay.assignment,
            "mode": decay.mode, "profile": decay.profile, "null_corrected": decay.null_corrected, "steepness": decay.steepness,
        },
        "awd": {"factor": decay.factor},
        "adadecay": {"granularity": decay.granularity, "gap": decay.gap, "steepness": decay.steepness},
    }  # fmt: skip
    # Without any decay there is nothing to share out, whatever the policy.
    policy = decay.policy if decay.base > 0.0 else "none"
    options = GroupOptions(exempt=decay.exempt, biases=decay.biases, log=out / "decay.jsonl")
    return DecayCallback(policy, options=options, **own[policy])


def _arguments(loop: Loop) -> Any:
    import torch
    from transformers import TrainingArguments

    config, decay, out, steps, task = loop.config, loop.decay, loop.out, loop.steps, loop.task
    launched = launch.processes()
    micro = config.micro_batch or config.batch_size // launched
    cuda = torch.cuda.is_available()
    sharded: dict[str, Any] = (
        {"fsdp": True, "fsdp_config": {"fsdp_version": 2, "reshard_after_forward": True}}
        if config.parallel == "fsdp"
        else {}
    )
    made = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=config.batch_size // (micro * launched),
        learning_rate=config.lr,
        weight_decay=decay.base if decay.policy != "none" else 0.0,
        max_grad_norm=config.clip,
        bf16=config.precision == "bf16-mixed",
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="steps" if config.eval_every and task.validation is not None else "no",
        eval_steps=config.eval_every or None,
        save_strategy="steps",
        save_steps=config.save_every or steps,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        report_to=list(config.report_to) or "none",
        use_cpu=not cuda,
        ddp_backend=("nccl" if cuda else "gloo") if launched > 1 else None,
        dataloader_pin_memory=cuda,
        dataloader_num_workers=task.loaders,
        remove_unused_columns=False,
        disable_tqdm=True,
        log_level="error",
        **sharded,
    )
    made._n_gpu = min(made.n_gpu, 1)  # one process, one device: DataParallel would multiply the batch
    return made


def _result(trainer: Any, out: Path, steps: int, seconds: float) -> TrainResult:
    """Ends with an evaluation of the final weights, unless the last step had one."""
    from alphadecay.callback import DecayCallback

    history = trainer.state.log_history
    seen = any("eval_loss" in entry and entry["step"] == steps for entry in history)
    if trainer.eval_dataset is not None and not seen:
        trainer.evaluate()
        history = trainer.state.log_history
    evaluated = [entry for entry in history if "eval_loss" in entry]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    last = evaluated[-1] if evaluated else {}
    policy = next(c.policy for c in trainer.callback_handler.callbacks if isinstance(c, DecayCallback))
    assert policy is not None
    metrics = {k: float(v) for k, v in last.items() if k.startswith("eval_") and math.isfinite(v)}
    return TrainResult(
        checkpoint=out / f"checkpoint-{steps}",
        steps=steps,
        seconds=round(seconds, 3),
        train_loss=float(losses[-1]) if losses else None,
        eval_loss=metrics.get("eval_loss"),
        eval_metrics=metrics,
        base_decay=policy.base,
        decays=dict(policy.decays),
        provenance=_provenance(trainer.task),
    )


def _provenance(task: Objective) -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    from spectra import provenance

    return {
        **provenance.software(),
        "created": provenance.now(),
        "transformers": version("transformers"),
        "accelerate": version("accelerate"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "processes": launch.processes(),
        "data": task.fingerprint,
    }
