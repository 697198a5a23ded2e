"""The tasks of the plasticity paper, one file each; see `base.py`."""
