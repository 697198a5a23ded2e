"""The head on target positions alone: the same loss and gradients, the same model for everybody else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from plasticity.examples import IGNORED
from plasticity.target_head import only_targets
from tests.alphadecay.conftest import tiny_llama


def batch() -> dict[str, Any]:
    ids = torch.randint(0, 96, (4, 20), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    for row, prompt in enumerate((3, 9, 15, 19)):
        labels[row, :prompt] = IGNORED
    labels[0, 12:] = IGNORED  # padding
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 96,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPT2LMHeadModel(GPT2Config(**sizes))


@pytest.mark.parametrize("made", [tiny_llama, gpt2, lambda: tiny_llama(tie_word_embeddings=True)])
def test_loss_and_gradients_are_the_same(made: Any) -> None:
    plain = made().eval()
    ours = copy.deepcopy(plain)
    assert only_targets(ours)
    targets = int((batch()["labels"][:, 1:] != IGNORED).sum())
    for count in (None, torch.tensor(3 * targets)):  # a mean by itself, and a part of a larger batch
        found = [model(**batch(), num_items_in_batch=count) for model in (plain, ours)]
        assert found[0].loss.item() == pytest.approx(found[1].loss.item(), rel=1e-6)
        assert found[1].logits.shape == (1, targets, 96)  # or nothing is saved
        for model, output in zip((plain, ours), found, strict=True):
            model.zero_grad()
            output.loss.backward()
        for ours_one, plain_one in zip(ours.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours_one.grad, plain_one.grad, rtol=1e-5, atol=1e-6)


def test_other_calls_are_as_before() -> None:
    plain = tiny_llama().eval()
    ours = copy.deepcopy(plain)
    assert only_targets(ours) and not ours.training
    inputs = {name: value for name, value in batch().items() if name != "labels"}
    ours(**batch())
    assert torch.equal(ours(**inputs).logits, plain(**inputs).logits)
    with pytest.raises(IndexError):
        ours(**(batch() | {"input_ids": torch.full((4, 20), 1000)}))  # a call that fails leaves no mask behind
    assert torch.equal(ours(**inputs).logits, plain(**inputs).logits)
    assert ours.state_dict().keys() == plain.state_dict().keys()


def test_a_model_with_a_loss_of_its_own_is_left_alone() -> None:
    from transformers import LlamaForCausalLM

    class Own(LlamaForCausalLM):  # type: ignore[misc]
        def forward(self, **given: Any) -> Any:
            labels = given.pop("labels", None)
            given.pop("shift_labels", None)
            output = super().forward(**given)
            if labels is not None:
                flat = output.logits[:, :-1].flatten(0, 1)
                output.loss = torch.nn.functional.cross_entropy(flat, labels[:, 1:].flatten(), ignore_index=IGNORED)
            return output

    plain = Own(tiny_llama().config).eval()
    ours = copy.deepcopy(plain)
    assert not only_targets(ours)
    assert torch.equal(ours(**batch()).logits, plain(**batch()).logits)
