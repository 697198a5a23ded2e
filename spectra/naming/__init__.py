"""Naming: tensor name, shape and config -> layer, role, and how to cut each matrix from its tensor.

`plan` decides, from headers alone, what becomes of every tensor; `cut` applies one decision to values.
"""

from spectra.naming.planner import plan
from spectra.naming.views import cut, view_shape

__all__ = ["cut", "plan", "view_shape"]
