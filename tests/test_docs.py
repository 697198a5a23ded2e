"""Documentation that is generated is up to date; what the README shows is what the program says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_metrics_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text(encoding="utf-8") == generate.render(), "run: python docs/generate.py"


def test_readme_links_and_options_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "cli").glob("*.py")))
    known = set(re.findall(r'"--([a-z-]+)"', source)) | {
        n.replace("_", "-") for n in re.findall(r"^    (\w+): Annotated", source, re.MULTILINE)
    }
    for option in re.findall(r"--([a-z][a-z-]+)", text):
        assert option in known | {"help"}, f"README names --{option}"


def test_readme_python_runs(tmp_path: Path) -> None:
    """The Python block of the README, on a tiny checkpoint."""
    import numpy as np
    from safetensors.numpy import save_file

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(import spectra.*?)```", text, re.DOTALL)
    assert block is not None
    rng = np.random.default_rng(0)
    save_file(
        {f"layers.{i}.mlp.up_proj.weight": rng.standard_normal((40, 60)) for i in range(3)},
        tmp_path / "model.safetensors",
    )
    code = (
        block[1].replace("path/to/checkpoint", str(tmp_path)).replace("analysis.json", str(tmp_path / "analysis.json"))
    )
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "analysis.json").exists()
