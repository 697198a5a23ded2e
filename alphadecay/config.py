"""What a pretraining run is made of: model, data or images, training, decay. Data only; every field checked when made.

`alphadecay.recipes` reads these from YAML, `alphadecay.models` builds the model, `alphadecay.train` runs it. Papers:
AlphaDecay (arXiv 2506.14562) and "Weight Decay Improves Language Model Plasticity" (arXiv 2602.11137, "plasticity").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spectra.errors import SpectraError

from .data_config import DataConfig

__all__ = ["BUDGETS", "DataConfig", "DecayConfig", "ImageConfig", "ModelConfig", "Recipe", "TrainConfig"]

BUDGETS = ("steps", "tokens", "tokens_per_parameter", "epochs")


def _refuse(name: str, value: object, expected: str) -> None:
    raise SpectraError(f"{name} = {value!r}: expected {expected}.")


def _at_least(section: str, config: object, bounds: Mapping[str, float]) -> None:
    """Refuse numbers under their bound, and NaN or infinity; None passes."""
    for name, bound in bounds.items():
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and value >= bound):
            _refuse(f"{section}.{name}", value, f"a number of at least {bound:g}")


def _positive(section: str, config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            _refuse(f"{section}.{name}", value, "a number above 0")


def _share(section: str, config: object, *names: str) -> None:
    """Shares lie in [0, 1)."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            _refuse(f"{section}.{name}", value, "a share from 0 up to, not including, 1")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model is trained; `alphadecay.models.check` knows which settings a family has."""

    family: str = "llama"
    """A transformers model type: causal language model (llama, olmo2, gpt2, ...) or image classifier (vit)."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Keys of that family's transformers config; what is left out keeps the library's default."""
    init_from: str | None = None
    """Checkpoint folder or hub id to go on from; None: random weights."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """Labelled images for an image classifier, and how they are augmented (AlphaDecay section 4.6)."""

    source: str
    """Hub id of a dataset, or a folder with one folder of images a class."""
    subset: str | None = None
    """Configuration of the hub dataset."""
    revision: str | None = None
    """Commit, tag or branch of the hub dataset."""
    split: str = "train"
    """Split that is trained on."""
    validation_split: str | None = "validation"
    """Split that is evaluated on; None: no evaluation."""
    image_field: str = "image"
    """Column with the image."""
    label_field: str = "label"
    """Column with the class, a whole number from 0."""
    size: int = 224
    """Side of the square that the model sees, in pixels."""
    crop: float = 0.08
    """Random resized crop: least share of the area that is kept; 1: resized whole."""
    flip: bool = True
    """Mirror half of the training images left to right."""
    mixup: float = 0.8
    """Both parameters of the Beta distribution that mixup draws from; 0: off."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from the channels after scaling to [0, 1] (ImageNet's by default)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides the channels after that."""
    seed: int = 42
    """Of shuffling and augmentation."""

    def __post_init__(self) -> None:
        _at_least("images", self, {"size": 1, "mixup": 0, "seed": 0})
        if not 0 < self.crop <= 1:
            _refuse("images.crop", self.crop, "a share of the area, above 0 and at most 1")
        if min(self.std) <= 0:
            _refuse("images.std", self.std, "three numbers above 0")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How it is trained. Exactly one of `steps`, `tokens`, `tokens_per_parameter`, `epochs` says for how long."""

    steps: int | None = None
    """Optimizer steps."""
    tokens: int | None = None
    """Tokens in all, counted as batch_size x window a step (padding included)."""
    tokens_per_parameter: float | None = None
    """Tokens in all, as a multiple of the number of parameters (embeddings included, tied ones once)."""
    epochs: float | None = None
    """Passes over the training windows or images."""
    batch_size: int = 512
    """Windows (images) an optimizer step, over all processes."""
    micro_batch: int | None = None
    """Windows a forward pass on one device; None: batch_size / processes."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """adamw: decoupled decay; adam: decay added to the gradient (coupled L2, AlphaDecay's main tables)."""
    lr: float
    """Peak learning rate."""
    beta1: float = 0.9
    """Decay of the mean of gradients."""
    beta2: float = 0.999
    """Decay of the mean of squared gradients."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    schedule: Literal["cosine", "wsd", "linear", "constant"] = "cosine"
    """After warmup: cosine or linear down to the floor; warmup-stable-decay; constant."""
    warmup: float = 0.1
    """Linear warmup: a share of the steps if under 1, else a number of steps."""
    floor: float = 0.1
    """Learning rate at the end, as a share of `lr` (constant: without effect)."""
    decay_share: float = 0.1
    """wsd: share of the steps in the final linear decay."""
    clip: float = 1.0
    """Greatest norm of the gradient; 0: no clipping."""
    precision: Literal["fp32", "bf16-mixed", "bf16"] = "fp32"
    """bf16-mixed: autocast over float32 weights; bf16: weights and optimizer states in bfloat16."""
    seed: int = 42
    """Of the initial weights and of dropout; the order of the data has its own."""
    eval_every: int = 1000
    """Steps between evaluations; 0: only at the end."""
    eval_windows: int = 1024
    """Validation windows (images) an evaluation takes at most; 0: no evaluation."""
    save_every: int = 1000
    """Steps between checkpoints; 0: only at the end."""
    keep: int = 2
    """Checkpoints kept; at least 2, so that a kill while one is written leaves another."""
    log_every: int = 10
    """Steps between lines of the log."""
    spectra_every: int = 0
    """Steps between spectra of the weights, for `spectra track`; 0: none."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes share the work; auto: ddp."""
    processes: int | None = None
    """Processes that must be there (torchrun); None: whatever was launched."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    ema: float | None = None
    """Image models: decay a step of the averaged weights that are evaluated and saved; None: off."""
    drop_path: float = 0.0
    """Image models: stochastic depth, rate of the last layer (linear from 0); 0: off."""
    report_to: tuple[str, ...] = ()
    """Trackers of transformers (`tensorboard`, `wandb`); none by default."""

    def __post_init__(self) -> None:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) if given else "none"
            raise SpectraError(f"train: got {got}, expected exactly one of {', '.join(BUDGETS)}. Set the one you mean.")
        _positive("train", self, *BUDGETS, "batch_size", "micro_batch", "lr", "eps", "processes", "log_every")
        _share("train", self, "beta1", "beta2", "floor", "ema", "drop_path")
        counts = ("eval_every", "eval_windows", "save_every", "spectra_every", "seed", "clip", "warmup")
        _at_least("train", self, dict.fromkeys(counts, 0) | {"keep": 2})
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            _refuse("train.micro_batch", self.micro_batch, f"a divisor of batch_size {self.batch_size}")
        if not 0 < self.decay_share <= 1:
            _refuse("train.decay_share", self.decay_share, "a share of the steps, above 0 and at most 1")
        if self.warmup >= 1 and not float(self.warmup).is_integer():
            _refuse("train.warmup", self.warmup, "a share under 1, or a whole number of steps")
        if self.schedule == "wsd" and self.warmup < 1 and self.warmup + self.decay_share > 1:
            total = self.warmup + self.decay_share
            _refuse("train.warmup + train.decay_share", total, "at most 1, the whole run")


@dataclass(frozen=True, kw_only=True)
class DecayConfig:
    """Which weight decay each module gets (AlphaDecay sections 3.3, 4.3, A.3; its baselines)."""

    policy: Literal["none", "uniform", "alphadecay", "awd", "adadecay"] = "uniform"
    """none: no decay at all; uniform: `base` everywhere; alphadecay: by the spectra of modules; awd, adadecay: by gradients."""
    base: float = 0.0
    """Base decay (eta); alphadecay and adadecay scale it, awd's coefficient is `factor` times it."""
    ratio: tuple[float, float] = (2 / 3, 5.0)
    """alphadecay: least and greatest multiple of `base` (s1, s2)."""
    gap: int = 500
    """alphadecay, adadecay by module: steps between assignments."""
    score: Literal["alpha", "gradient_norm", "frobenius_norm", "spectral_norm"] = "alpha"
    """alphadecay: what of a module decides its decay (figure 6)."""
    fit: Literal["hill", "gof", "fix_finger"] = "hill"
    """alphadecay, score alpha: how the power law is fitted (figure 7; hill is their Median)."""
    assignment: Literal["linear", "sqrt", "log2", "sigmoid"] = "linear"
    """alphadecay: scores -> decays (figure 5)."""
    mode: Literal["sync", "async"] = "sync"
    """sync: training waits for the scores; async: computed beside it, applied when ready."""
    null_corrected: bool = False
    """Score alpha minus that of a random matrix of the same shape; not in the paper."""
    profile: Literal["default", "alphadecay"] = "default"
    """alphadecay: the paper's code (its Hill estimator; first and last Linear untuned) in place of the paper's text."""
    factor: float = 100.0
    """awd: coefficient c = factor x base (100 in the authors' language models, 50 in ViT)."""
    granularity: Literal["module", "element"] = "module"
    """adadecay: gradient norm a module (the authors' runs) or a parameter entry (Nakamura and Hong 2019)."""
    steepness: float = 4.0
    """beta of the sigmoid (adadecay, and assignment sigmoid)."""
    biases: Literal["base", "module"] = "module"
    """Biases of tuned modules: the base decay, or that of their module."""
    exempt: tuple[str, ...] = ()
    """Globs of parameter names that get no decay at all; whatever is not tuned and not exempt gets `base`."""

    def __post_init__(self) -> None:
        _at_least("decay", self, {"base": 0, "gap": 1})
        _positive("decay", self, "factor", "steepness")
        low, high = self.ratio
        if not (0 <= low <= high and math.isfinite(high)):
            _refuse("decay.ratio", list(self.ratio), "two numbers s1, s2 with 0 <= s1 <= s2")
        if not all(self.exempt):
            _refuse("decay.exempt", list(self.exempt), "globs of parameter names, none of them empty")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One pretraining run, whole: no defaults are looked up later."""

    name: str
    """As found by name; a variant is `file:variant`."""
    description: str = ""
    """What it trains, in one line."""
    source: str = ""
    """Paper and table that the numbers come from."""
    model: ModelConfig
    """Architecture, or the checkpoint to go on from."""
    data: DataConfig | None = None
    """Text; or `images`, never both."""
    images: ImageConfig | None = None
    """Labelled images."""
    train: TrainConfig
    """Length, optimizer, schedule, checkpoints."""
    decay: DecayConfig
    """Weight decay."""

    def __post_init__(self) -> None:
        if (self.data is None) == (self.images is None):
            got = "neither" if self.data is None else "both"
            raise SpectraError(f"Recipe {self.name!r} has {got}: expected one of the sections data (text) and images.")
        if self.images is None:
            if self.train.ema is not None or self.train.drop_path:
                raise SpectraError("train.ema and train.drop_path are for image models: leave them out with text.")
        elif self.train.tokens is not None or self.train.tokens_per_parameter is not None:
            raise SpectraError(
                "train.tokens and train.tokens_per_parameter count text: with images set steps or epochs."
            )
