"""Exponential moving average of a model's weights, in float32 (`train.ema`; Polyak averaging as in ConvNeXt's and timm's ViTs)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from alphadecay import weights
from spectra.errors import SpectraError

if TYPE_CHECKING:
    import torch
    from transformers import TrainerControl, TrainerState, TrainingArguments

FOLDER = "ema"


class Ema:
    """average <- decay x average + (1 - decay) x weight after every optimizer step; it begins at the initial weights.

    Every floating tensor of the state is averaged (running statistics too), in float32 whatever the model's precision; others
    are copied. There is no warmup of the decay: a run much shorter than 1/(1 - decay) steps stays near its initial weights.
    Not for sharded parameters.
    """

    def __init__(self, model: Any, decay: float) -> None:
        """`model`: as built, unwrapped; the one that is trained."""
        self._model, self._decay = model, decay
        self._average: dict[str, torch.Tensor] = {}
        self._take(model.state_dict())

    def _take(self, state: dict[str, torch.Tensor]) -> None:
        for name, value in state.items():
            kept = value.detach().clone()
            self._average[name] = kept.float() if kept.is_floating_point() else kept

    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        for name, value in self._model.state_dict().items():
            average = self._average[name].to(value.device)
            if average.is_floating_point():
                average.mul_(self._decay).add_(value.detach().float(), alpha=1.0 - self._decay)
            else:
                average.copy_(value)
            self._average[name] = average

    def averages(self) -> dict[str, torch.Tensor]:
        """Name -> average, float32; not copies."""
        return dict(self._average)

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """The model has the averages (rounded to its precision) inside, its own weights again, bit for bit, after."""
        own = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: dict[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, held in self._model.state_dict().items():
                held.copy_(values[name])

    def save(self, checkpoint: Path, processor: Any) -> None:
        """Write `<checkpoint>/ema/`, a Hugging Face checkpoint of its own: config, weights in float32, processor."""
        import torch

        state = {name: value.detach().cpu().contiguous() for name, value in self._average.items()}
        self._model.save_pretrained(checkpoint / FOLDER, state_dict=state)
        config = type(self._model.config).from_pretrained(checkpoint / FOLDER)
        config.dtype = torch.float32  # the averages' precision, not the model's
        config.save_pretrained(checkpoint / FOLDER)
        processor.save_pretrained(checkpoint / FOLDER)

    def load(self, checkpoint: Path) -> None:
        """Go on from the averages of a checkpoint, bit for bit.

        Raises:
            SpectraError: it has none, or others.
        """
        import torch

        if not (checkpoint / FOLDER).is_dir():
            raise SpectraError(
                f"{checkpoint} has no folder {FOLDER}, expected the averaged weights of train.ema. Resume from a checkpoint that "
                "was written with train.ema, or begin anew."
            )
        self._take(weights.saved_state(self._model, checkpoint / FOLDER, torch.float32))


class EmaCallback(TrainerCallback):
    """Updates the average after every optimizer step, before evaluation and save."""

    def __init__(self, ema: Ema) -> None:
        self._ema = ema

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """One optimizer step was made."""
        self._ema.update()
