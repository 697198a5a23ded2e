"""Logits where there is something to predict, and nowhere else: prompts and padding never reach the head of the model.

With a vocabulary of 50,000 the head is a fifth of the work of a model of 135M parameters, and its logits most of the memory. The
loss is the same: positions whose label is -100 have none.
"""

from __future__ import annotations

from typing import Any

IGNORED = -100


def only_targets(model: Any) -> bool:
    """Make a causal language model skip its head where labels are -100, whenever it is called with labels; False: it cannot.

    Other calls (generation, evaluation without labels) are as before, as is what is saved. With labels the logits that the model
    returns are those of target positions, one row (1, N, V): training does not look at them.
    """
    head = model.get_output_embeddings()
    if head is None:
        return False
    hooks = _Hooks()
    handles = [
        model.register_forward_pre_hook(hooks.before_model, with_kwargs=True),
        head.register_forward_pre_hook(hooks.before_head),
        model.register_forward_hook(hooks.after_model, always_call=True),
    ]
    if _is_the_same(model, hooks):
        return True
    for handle in handles:
        handle.remove()
    return False


class _Hooks:
    """The mask of one call, between the model's entry and its head. Legend: B examples, T tokens, N targets, D width."""

    def __init__(self) -> None:
        self.active = True
        self._mask: Any = None  # (B, T - 1), or None outside a call with labels

    def before_model(self, model: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Give the loss the labels of target positions alone."""
        labels = named.get("labels")
        if labels is None or not self.active or "shift_labels" in named:
            return args, named
        shifted = labels[:, 1:]
        self._mask = shifted != IGNORED
        return args, named | {"shift_labels": shifted[self._mask][None]}  # (1, N)

    def before_head(self, head: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give the head the hidden states of target positions alone."""
        if self._mask is None:
            return args
        hidden, *rest = args
        return (hidden[:, :-1][self._mask][None], *rest)  # (B, T, D) -> (1, N, D)

    def after_model(self, model: Any, args: Any, output: Any) -> None:
        """The call is over, or has failed."""
        self._mask = None


def _is_the_same(model: Any, hooks: _Hooks) -> bool:
    """Whether loss and what it depends on are as without the hooks, on two made-up examples."""
    import torch

    device = next(model.parameters()).device
    ids = torch.arange(12, device=device).reshape(2, 6) % model.get_input_embeddings().weight.shape[0]
    labels = ids.clone()
    labels[0, :2], labels[1, :4] = IGNORED, IGNORED
    was_training = model.training
    model.eval()
    found = []
    with torch.no_grad():
        for active in (False, True):
            hooks.active = active
            try:
                found.append(model(input_ids=ids, labels=labels, num_items_in_batch=3).loss)
            except (RuntimeError, TypeError, ValueError, IndexError):  # by architecture
                found.append(None)
    hooks.active = True
    model.train(was_training)
    plain, ours = found
    return plain is not None and ours is not None and bool(torch.isclose(plain, ours, rtol=1e-4, atol=1e-6))
