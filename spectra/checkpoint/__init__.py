"""Readers of checkpoints: one lazy reader a format, all behind `open_checkpoint`."""

from spectra.checkpoint.base import Checkpoint
from spectra.checkpoint.opening import open_checkpoint

__all__ = ["Checkpoint", "open_checkpoint"]
