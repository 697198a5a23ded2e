"""Imports go one way: spectra <- alphadecay <- plasticity <- cli; nothing that computes imports a report."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = {"spectra": 0, "alphadecay": 1, "plasticity": 2, "spectra_cli": 3}
FOLDERS = {"spectra": "spectra", "alphadecay": "alphadecay", "plasticity": "plasticity", "spectra_cli": "cli"}

# Inside spectra: a module may import only modules of a lower level.
LEVELS = {
    "errors": 0, "variables": 0, "types": 0, "stored": 0, "atomic": 1, "spectrum": 1, "tails": 1, "norms": 1, "ranks": 1, "bulk": 1,
    "circuits": 2, "metrics": 2, "profiles": 2, "panel": 3, "null": 4, "null_cache": 5, "options": 6,
    "uncertainty": 7, "naming": 1, "checkpoint": 1, "torch_route": 2, "devices": 1, "serialize": 1, "journal": 2,
    "provenance": 1, "work": 7, "batches": 8, "pipeline": 9, "ray_connection": 2, "ray_engine": 9, "selection": 2,
    "update": 4, "compare": 7, "analysis": 10,
    "results": 11, "summary": 11, "comparing": 12, "track": 2, "tracking": 12, "figures": 13, "report": 12, "reading": 13,
}  # fmt: skip


def imports(tree: ast.AST, *, top_only: bool) -> Iterator[str]:
    """Modules a file imports; `top_only`: not those inside functions."""
    inner = {
        id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        if top_only and id(node) in inner:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:  # relative ones stay inside their package
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: str) -> list[Path]:
    return sorted((ROOT / FOLDERS[package]).rglob("*.py"))


@pytest.mark.parametrize("package", ORDER)
def test_packages_import_downwards(package: str) -> None:
    found = files(package)
    assert found
    for path in found:
        for name in imports(ast.parse(path.read_text(encoding="utf-8")), top_only=False):
            assert ORDER.get(name.split(".")[0], -1) <= ORDER[package], f"{path.relative_to(ROOT)} imports {name}"


def test_levels_inside_spectra() -> None:
    for path in files("spectra"):
        inside = path.relative_to(ROOT / "spectra").with_suffix("").parts
        if inside[0] == "__init__":
            continue
        assert inside[0] in LEVELS, f"give spectra.{inside[0]} a level"
        for name in imports(ast.parse(path.read_text(encoding="utf-8")), top_only=True):
            parts = name.split(".")
            if parts[0] == "spectra" and len(parts) > 1 and parts[1] in LEVELS and parts[1] != inside[0]:
                assert LEVELS[parts[1]] < LEVELS[inside[0]], f"{path.relative_to(ROOT)} imports {name}"


HEAVY = (
    "torch",
    "transformers",
    "gguf",
    "huggingface_hub",
    "pyarrow",
    "pandas",
    "powerlaw",
    "plotly",
    "matplotlib",
    "scipy",
)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['spectra', 'analyze', '--help']\n"
        "from spectra_cli.spectra_app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip().endswith("[]"), found.stdout[-200:]


def test_analysing_safetensors_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from safetensors.numpy import save_file\n"
        "from spectra.analysis import analyze\n"
        "from spectra.options import AnalysisOptions\n"
        f"save_file({{'w': np.random.default_rng(0).standard_normal((20, 30))}}, {str(tmp_path / 'm.safetensors')!r})\n"
        f"analyze({str(tmp_path / 'm.safetensors')!r}, options=AnalysisOptions(null_cache=None))\n"
        "print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"
