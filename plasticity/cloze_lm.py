"""lm-eval's wrapper around a model that is loaded already, and a block in which lm-eval changes nothing around it."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from plasticity.pace import Pace
from spectra.errors import SpectraError

Say = Callable[[str], None]
_EVERY_S = 30.0
_KEPT = 5
_COUNTED = "Combined length of context"  # of these `truncated` keeps count


def language_model(model: Any, tokenizer: Any, *, batch_size: int, max_length: int | None, say: Say) -> Any:
    """An `HFLM` on the model as it is (device, dtype) and a copy of the tokenizer (lm-eval sets its pad token).

    It has two attributes more: `scored`, the likelihoods asked for, and `truncated`, those of them whose context was cut
    from the left because context and continuation were longer than the window. Long work is said every half minute.

    Raises:
        SpectraError: while scoring, where a continuation has no tokens or does not fit into the window, or a log-likelihood is not
            finite.
    """
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]

    class Loaded(HFLM):  # type: ignore[misc]
        scored = truncated = done = 0
        looked = False
        pace = Pace(_EVERY_S)

        def _loglikelihood_tokens(self, requests: Any, *args: Any, **kwargs: Any) -> Any:
            for texts, context, continuation in requests:  # texts: None for windows of a long text
                if not continuation or len(continuation) > self.max_length:
                    raise SpectraError(
                        f"A continuation of {len(continuation)} tokens cannot be scored ({str(texts)[-60:]}): expected 1 to "
                        f"{self.max_length}, the window. Name a longer window, or leave the question out."
                    )
                self.truncated += len(context) + len(continuation) > self.max_length + 1
            self.scored += len(requests)
            found = super()._loglikelihood_tokens(requests, *args, **kwargs)
            if not all(math.isfinite(one[0]) for one in found):
                raise _not_finite(self.model)
            return found

        def _model_call(self, inps: Any, *args: Any, **kwargs: Any) -> Any:
            self._tell(len(inps))
            logits = super()._model_call(inps, *args, **kwargs)
            if not self.looked and logits.isnan().any():  # at once, and not after hours
                raise _not_finite(self.model)
            self.looked = True
            return logits

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            self._tell(len(context))
            return super()._model_generate(context, *args, **kwargs)

        def _tell(self, count: int) -> None:
            if self.pace.due():
                say(f"lm-eval: {self.done:,}{f' of {self.scored:,}' if self.scored else ''} texts done")
            self.done += count

    return Loaded(
        pretrained=model,
        backend="causal",
        tokenizer=copy.deepcopy(tokenizer),
        batch_size=batch_size,
        max_length=max_length,
        softmax_dtype="float32",  # lm-eval's default, the model's, leaves three digits of a bfloat16 model's sums
    )


def _not_finite(model: Any) -> SpectraError:
    dtype = str(model.dtype).removeprefix("torch.")
    return SpectraError(
        f"The model's log-likelihoods are not finite (NaN or infinite) in {dtype}, and nothing can be scored by them. Its weights "
        "are damaged, or float16 is too narrow for them: try --precision fp32."
    )


def prepends_bos(lm: Any) -> bool:
    """Whether prompts begin with BOS: lm-eval leaves that to the tokenizer (`add_bos_token` None)."""
    bos = lm.tokenizer.bos_token_id
    return bos is not None and lm.tok_encode("a")[:1] == [bos]


@contextlib.contextmanager
def quiet(say: Say | None) -> Iterator[Say]:
    """What lm-eval prints, draws (bars) and warns is dropped; gives the `say` that is still heard inside.

    Environment variables and global random states are as before afterwards (lm-eval and what it imports change some); inside,
    lm-eval starts no processes.
    """
    import numpy as np

    out, err, environment = sys.stdout, sys.stderr, dict(os.environ)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 -- the one that lm-eval's samplers use

    def aloud(text: str) -> None:
        if say is not None:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                say(text)

    logger = logging.getLogger("lm_eval")
    propagate = logger.propagate
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 -- a device
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(null))
        stack.enter_context(contextlib.redirect_stderr(null))
        logger.propagate = False
        os.environ["DISABLE_MULTIPROC"] = "1"  # its bootstrap forks a pool otherwise
        try:
            yield aloud
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            logger.propagate = propagate
            os.environ.clear()
            os.environ.update(environment)


@contextlib.contextmanager
def seeded(seeds: dict[str, int], model: Any) -> Iterator[None]:
    """Global random states set for the block, inside `quiet`; torch's and the model's training mode are as before afterwards."""
    import numpy as np
    import torch

    training, where = model.training, model.device
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        random.seed(seeds["random"])
        np.random.seed(seeds["numpy"])  # noqa: NPY002
        torch.manual_seed(seeds["torch"])
        try:
            yield
        finally:
            model.train(training)


class Warnings(logging.Handler):
    """The first few distinct warnings of lm-eval's log, for the facts; cut contexts are counted elsewhere."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first line."""
        text = record.getMessage().strip().splitlines()[0][:300] if record.getMessage().strip() else ""
        if text and not text.startswith(_COUNTED) and text not in self.kept and len(self.kept) < _KEPT:
            self.kept.append(text)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for the length of a block."""
        logger = logging.getLogger("lm_eval")
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(self)
