"""Module-wise weight decay from spectra, and its baselines (issue 4; nothing here yet)."""
