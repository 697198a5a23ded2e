"""Spectral diagnostics of checkpoints: ESDs, power-law exponents, ranks, norms, attention circuits."""

__version__ = "0.1.0"
