"""Speed, memory and accuracy of `spectra` beside its peers: `python -m benchmarks`. Never part of the tests."""
