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
from dataclasses import dataclass
from typing import Any

from plasticity.generate_decode import Decoder
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
        batch_size: most samples at once.
        batch_tokens: most samples x (prompt + response) at once: what the key-value cache holds.
        exact: see the module; None: in float32 and wider only.
    """

    model: Any
    tokenizer: Any
    name: str
    batch_size: int = 256
    batch_tokens: int = 65536
    exact: bool | None = None

    def __post_init__(self) -> None:
        for field in ("batch_size", "batch_tokens"):
            if getattr(self, field) < 1:
                raise SpectraError(f"{field} is {getattr(self, field)}; expected at least 1.")

    @property
    def window(self) -> int | None:
        """What the configuration says the model was made for."""
        found = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else None

    def describe(self) -> Mapping[str, Any]:
        """Checkpoint, precision, EOS tokens, and whether near ties are resolved."""
        dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
        return {
            "kind": "hf", "model": self.name, "dtype": dtype, "eos": sorted(self._eos()), "exact": self._is_exact(),
        }  # fmt: skip

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
            batches = plan(prompts, options, Limits(rows=self.batch_size, tokens=self.batch_tokens, equal=equal))
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
            rows = sum(share.count for share in batch)
            raise SpectraError(
                f"Out of device memory with {rows} samples of up to {len(batch[0].prompt.ids)} + {options.max_tokens} tokens; "
                f"resume with batch_tokens below {self.batch_tokens}. What was finished is kept."
            ) from error

    def _is_exact(self) -> bool:
        return next(self.model.parameters()).element_size() >= 4 if self.exact is None else self.exact

    def _eos(self) -> frozenset[int]:
        """EOS tokens of the generation config and of the tokenizer (training ends responses with the tokenizer's)."""
        config = getattr(self.model, "generation_config", None)
        found = [getattr(config, "eos_token_id", None), getattr(self.tokenizer, "eos_token_id", None)]
        flat = [id_ for entry in found for id_ in (entry if isinstance(entry, (list, tuple)) else [entry])]
        return frozenset(int(id_) for id_ in flat if id_ is not None)
