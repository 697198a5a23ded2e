"""The engine in this process: a causal language model of transformers, batched.

What is guaranteed: greedy responses are those of `model.generate()`; neither batch size, other questions nor the number of
samples change a response. A row of a batch is computed with other roundings than the row alone (matrix kernels differ by
shape), so `exact` chooses every token that is nearer to another one than these roundings from the logits of the sequence run by
itself. That is a guarantee as long as they stay below `generate_choose.SLACK` of the largest logit: float32 (without TF32)
on one machine with the same number of threads. In bf16 and fp16 (2.5 units of their precision) near ties are frequent and
running them alone costs more than the batch saves: there `exact` is off unless asked for, responses may change with the
batch size, and a resumed run (which forms the same batches as an undisturbed one under the same limits) gives the same
bytes where the device's kernels are deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from plasticity.generate_decode import Decoder
from plasticity.generate_memory import limits
from plasticity.generate_model import CausalModel
from plasticity.generate_options import Prompt, SamplingOptions
from plasticity.generate_plan import Limits, plan
from plasticity.responses import Answers, Response
from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class HuggingFaceEngine:
    """A model and its tokenizer, on whatever device and in whatever precision the model is.

    Attributes:
        name: identifies the checkpoint in the header of the responses.
        tokenizer: turns tokens into text and names an EOS; prompts come tokenised.
        batch_size: most samples at once; None: as many as memory takes (`generate_memory`).
        batch_tokens: most samples x (prompt + response) at once: what the key-value cache holds; None: what memory takes, and
            with a `batch_size` no limit.
        exact: see the module; None: in float32 and wider only.
    """

    model: Any
    tokenizer: Any
    name: str
    batch_size: int | None = None
    batch_tokens: int | None = None
    exact: bool | None = None

    def __post_init__(self) -> None:
        for field in ("batch_size", "batch_tokens"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise SpectraError(f"{field} is {value}; expected at least 1.")

    @property
    def window(self) -> int | None:
        """What the configuration says the model was made for."""
        found = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else None

    def describe(self) -> Mapping[str, Any]:
        """Checkpoint, precision, EOS tokens, device, versions, and whether near ties are resolved.

        Where they are not, the limits of a batch are among it: responses depend on what is computed together.
        """
        import torch
        import transformers

        weight = next(self.model.parameters())
        found = {
            "kind": "hf", "model": self.name, "dtype": str(weight.dtype).removeprefix("torch."), "eos": sorted(self._eos()),
            "exact": self._is_exact(), "device": weight.device.type, "torch": str(torch.__version__),
            "transformers": str(transformers.__version__),
        }  # fmt: skip
        if not self._is_exact():
            found |= {"batch_size": self._limits.rows, "batch_tokens": self._limits.tokens}
        return found

    def run(self, prompts: Sequence[Prompt], options: SamplingOptions, done: Set[str]) -> Iterator[Answers]:
        """Answers batch by batch. A batch of which anything is missing is generated whole, so that its numerics are the same."""
        training = self.model.training
        self.model.eval()
        try:
            model = CausalModel(self.model)
            decoder = Decoder(model=model, tokenizer=self.tokenizer, eos=self._eos(), exact=self._is_exact())
            import torch

            with torch.inference_mode():
                equal = not model.padding_is_harmless(prompts)
            batches = plan(prompts, options, replace(self._limits, equal=equal))
            made: dict[str, list[Response]] = {}
            for batch in batches:
                if all(share.prompt.id in done for share in batch):
                    continue
                for response in self._decode(decoder, batch, options):
                    made.setdefault(response.question_id, []).append(response)
                for share in batch:
                    id_ = share.prompt.id
                    if len(made.get(id_, ())) == options.samples:
                        responses = tuple(sorted(made.pop(id_), key=lambda r: r.sample))
                        if id_ not in done:
                            yield Answers(question_id=id_, responses=responses)
        finally:
            self.model.train(training)

    def _decode(self, decoder: Decoder, batch: Sequence[Any], options: SamplingOptions) -> list[Response]:
        import torch

        try:
            return decoder.run(batch, options)
        except torch.OutOfMemoryError as error:
            rows, longest = sum(share.count for share in batch), len(batch[0].prompt.ids)
            raise SpectraError(
                f"Out of device memory with {rows} samples of up to {longest} + {options.max_tokens} tokens; {self._advice(rows)}"
            ) from error

    def _advice(self, rows: int) -> str:
        if rows == 1:
            return "not even one fits. Give less --max-tokens or --window, or a device with more memory (--device cpu)."
        if self._is_exact():
            return f"resume with --batch-size below {rows}. What was finished is kept."
        return (
            f"begin anew with --batch-size below {rows}, in another folder: in half precision responses depend on what is computed "
            "together, so what is there cannot be gone on with."
        )

    @cached_property
    def _limits(self) -> Limits:
        """The same for all that this engine generates, whatever is in memory later."""
        return limits(CausalModel(self.model), self.batch_size, self.batch_tokens)

    def _is_exact(self) -> bool:
        return next(self.model.parameters()).element_size() >= 4 if self.exact is None else self.exact

    def _eos(self) -> frozenset[int]:
        """EOS tokens of the generation config and of the tokenizer (training ends responses with the tokenizer's)."""
        config = getattr(self.model, "generation_config", None)
        found = [getattr(config, "eos_token_id", None), getattr(self.tokenizer, "eos_token_id", None)]
        flat = [id_ for entry in found for id_ in (entry if isinstance(entry, (list, tuple)) else [entry])]
        return frozenset(int(id_) for id_ in flat if id_ is not None)
