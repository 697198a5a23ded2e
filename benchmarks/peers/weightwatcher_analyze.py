"""WeightWatcher with its default settings on a checkpoint folder, as a whole process.

    weightwatcher_analyze.py ROUTE FOLDER THREADS OUT.json

ROUTE `transformers`: the model as its users load it. ROUTE `modules`: bare torch modules around the tensors of the
safetensors file, which skips transformers and the tied lm_head that WeightWatcher would analyse a second time.
"""

import json
import sys
from importlib import metadata
from pathlib import Path

import torch
import weightwatcher


def load_transformers(folder: Path) -> torch.nn.Module:
    """As the documentation of WeightWatcher shows."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def load_modules(folder: Path) -> torch.nn.Module:
    """Every matrix in the file as a Linear or an Embedding at its own name, without copies."""
    from safetensors.torch import load_file

    root = torch.nn.Module()
    for name, values in load_file(folder / "model.safetensors").items():
        if values.ndim != 2:
            continue
        *parents, leaf = name.removesuffix(".weight").split(".")
        at = root
        for parent in parents:
            if not hasattr(at, parent):
                at.add_module(parent, torch.nn.Module())
            at = getattr(at, parent)
        at.add_module(leaf, embedding(values) if "embed" in leaf else linear(values))
    return root


def embedding(values: torch.Tensor) -> torch.nn.Module:
    """An Embedding around its weight."""
    return torch.nn.Embedding.from_pretrained(values)


def linear(values: torch.Tensor) -> torch.nn.Module:
    """A Linear around its weight."""
    rows, cols = values.shape
    layer = torch.nn.Linear(cols, rows, bias=False, device="meta")
    layer.weight = torch.nn.Parameter(values, requires_grad=False)
    return layer


def main(route: str, folder: Path, threads: int, out: Path) -> None:
    """Analyse, and write alpha by name, with the versions of what did it."""
    torch.set_num_threads(threads)
    model = {"transformers": load_transformers, "modules": load_modules}[route](folder)
    table = weightwatcher.WeightWatcher(model=model).analyze()
    packages = ("weightwatcher", "torch", "numpy", "scipy", "transformers")
    found = {
        "alpha": dict(zip(table["longname"], table["alpha"].astype(float), strict=True)),
        "versions": {name: metadata.version(name) for name in packages},
        "blas": blas(),
    }
    out.write_text(json.dumps(found), encoding="utf-8")


def blas() -> list[dict[str, object]]:
    """The BLAS libraries that are loaded."""
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture", "num_threads")
    return [{key: info.get(key) for key in keys} for info in threadpool_info()]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
