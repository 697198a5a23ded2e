"""Module-wise weight decay from spectra (AlphaDecay) and its baselines, in anyone's loop and in ours.

decay = AlphaDecay(model, base=0.1, ratio=(2 / 3, 5), gap=500)
optimizer = torch.optim.AdamW(decay.param_groups(), lr=1e-3)
...
decay.step(optimizer)  # before every optimizer.step()

Trainer(..., callbacks=[AlphaDecayCallback()])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphadecay.callback import AlphaDecayCallback as AlphaDecayCallback
    from alphadecay.callback import DecayCallback as DecayCallback
    from alphadecay.policies import AdaDecay as AdaDecay
    from alphadecay.policies import AdaptiveWeightDecay as AdaptiveWeightDecay
    from alphadecay.policies import AlphaDecay as AlphaDecay
    from alphadecay.policy import GroupOptions as GroupOptions
    from alphadecay.policy import NoDecay as NoDecay
    from alphadecay.policy import Policy as Policy
    from alphadecay.policy import Uniform as Uniform

# Names are fetched on first use: `import alphadecay` imports neither torch nor transformers.
_PUBLIC = {
    "AlphaDecay": "alphadecay.policies",
    "AdaDecay": "alphadecay.policies",
    "AdaptiveWeightDecay": "alphadecay.policies",
    "Uniform": "alphadecay.policy",
    "NoDecay": "alphadecay.policy",
    "Policy": "alphadecay.policy",
    "GroupOptions": "alphadecay.policy",
    "AlphaDecayCallback": "alphadecay.callback",
    "DecayCallback": "alphadecay.callback",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'alphadecay' has no attribute {name!r}")
