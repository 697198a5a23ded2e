"""`python -m benchmarks [NAME ...]`: measure, print tables in Markdown, and with `--out` write all of it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.measure import environment
from benchmarks.one import NAMES
from benchmarks.settings import HERE, Settings

HEADER = ("what", "ours", "other", "value", "target", "")


def parse(arguments: list[str]) -> tuple[list[str], Path | None, Settings]:
    """Names, output file and settings."""
    default = Settings(weightwatcher=os.environ.get("SPECTRA_BENCH_WEIGHTWATCHER", Settings.weightwatcher))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--out", type=Path, help="write the results, with every single measurement, to this JSON file")
    parser.add_argument("--repetitions", type=int, default=default.repetitions, help="measurements of each side")
    parser.add_argument("--gigabytes", type=float, default=default.gigabytes, help="size of the generated checkpoint")
    parser.add_argument("--weightwatcher", default=default.weightwatcher, metavar="VENV", help="reuse this environment")
    parser.add_argument(
        "--model", default=default.model, metavar="FOLDER", help="where SmolLM2-135M is or is to be put"
    )
    parser.add_argument("--scratch", default=default.scratch, metavar="FOLDER", help="for the generated checkpoint")
    parser.add_argument("--busy-cores", type=float, default=default.busy_cores, help="tolerated use by other processes")
    parser.add_argument("--wait-seconds", type=float, default=default.wait_seconds, help="how long to wait for quiet")
    parser.add_argument("--allow-busy", action="store_true", help="measure on a busy machine, with a warning")
    given = vars(parser.parse_args(arguments))
    names: list[str] = given.pop("names") or list(NAMES)
    out: Path | None = given.pop("out")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; available: {', '.join(NAMES)}")
    if given["repetitions"] < 1 or given["gigabytes"] <= 0:
        parser.error("--repetitions must be at least 1 and --gigabytes more than 0")
    return names, out, Settings(**{field.name: given[field.name] for field in fields(Settings)})


def measure(name: str, settings: Settings) -> dict[str, Any] | int:
    """The result of one benchmark, or the exit code of its process."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "result.json"
        command = [sys.executable, "-m", "benchmarks.one", name, settings.to_json(), str(out)]
        code = subprocess.run(command, cwd=HERE.parent, env=environment(1), check=False).returncode
        if code:
            return code
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return result


def table(result: dict[str, Any]) -> str:
    """The lines of a result as a Markdown table."""
    rows = [HEADER, tuple("-" * max(3, len(name)) for name in HEADER)]
    for line in result["lines"]:
        verdict = {True: "met", False: "MISSED", None: ""}[line["met"]]
        rows.append(
            (line["what"], line["ours"], line["other"], shown(line["value"], line["unit"]), line["target"], verdict)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([f"### {result['title']}", "", *lines, "", *result["notes"]])


def shown(value: float, unit: str) -> str:
    """A ratio, an amount of memory or an error as text."""
    if unit == "x":
        return f"{value:.2f} x"
    if unit == "%":
        return f"{value:.2f} %"
    return f"{value:.0f} {unit}" if unit else f"{value:.1e}"


def noise(result: dict[str, Any]) -> float:
    """The most cores that other processes used, on average, during any measurement of a result."""
    found: list[float] = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            keys = ("busy_cores",) if node.get("wall_s", 1.0) < 1.0 else ("busy_cores", "foreign_cores")
            found.extend(float(node[key]) for key in keys if node.get(key) is not None)
        if isinstance(node, dict | list):
            for child in node.values() if isinstance(node, dict) else node:
                visit(child)

    visit(result["details"])
    return max(found, default=0.0)


def blas(libraries: dict[str, Any]) -> str:
    """BLAS libraries and the kernels they chose."""
    loaded = [info for info in libraries["blas"] if info.get("architecture")]
    return ", ".join(dict.fromkeys(f"{i['internal_api']} {i['version']} ({i['architecture']})" for i in loaded))


def main() -> int:
    """Run what was asked for; 1 if a benchmark failed, 3 if the machine was too busy."""
    names, out, settings = parse(sys.argv[1:])
    about = machine.describe()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    results, worst = [], 0
    for name in names:
        sys.stderr.write(f"{name}\n")
        load = os.getloadavg()
        result = measure(name, settings)
        if isinstance(result, int):
            print(f"\n### {name}: failed ({'machine too busy' if result == 3 else f'exit code {result}'})", flush=True)
            worst = max(worst, 3 if result == 3 else 1)
            continue
        result["load_average"] = load
        result["noise_cores"] = noise(result)
        results.append(result)
        print(f"\n{table(result)}")
        print(f"Load average at the start {load[0]:.2f}; BLAS {blas(result['libraries'])}.")
        if result["noise_cores"] > settings.busy_cores:
            print(f"WARNING: other processes used up to {result['noise_cores']:.2f} cores meanwhile: measure again.")
        sys.stdout.flush()
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps({"machine": about, "results": results}, indent=1), encoding="utf-8")
    if results:
        versions = results[-1]["libraries"]["versions"]
        print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return worst


if __name__ == "__main__":
    sys.exit(main())
