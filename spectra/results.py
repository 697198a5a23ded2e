"""Analysis <-> JSON, exactly; Analysis -> Parquet, CSV, pandas."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra import metrics, serialize
from spectra.atomic import check_writable, write_whole
from spectra.errors import SpectraError
from spectra.types import SCHEMA_VERSION, Analysis, Coverage, MatrixRow

if TYPE_CHECKING:
    import pandas

TABLES = ("matrices", "circuits", "coverage")
_NULL_FIELDS = ("mean", "sd", "difference", "z")


def to_dict(analysis: Analysis) -> dict[str, Any]:
    """The content of analysis.json (DESIGN, "Results on disk")."""
    return {
        "schema_version": analysis.schema_version,
        "provenance": dict(analysis.provenance),
        "notes": list(analysis.notes),
        "matrices": [serialize.matrix_to_dict(row) for row in analysis.matrices],
        "circuits": [serialize.circuit_to_dict(row) for row in analysis.circuits],
        "coverage": [asdict(line) for line in analysis.coverage],
    }


def from_dict(made: Mapping[str, Any]) -> Analysis:
    """The inverse of `to_dict`."""
    return Analysis(
        schema_version=made["schema_version"],
        provenance=made["provenance"],
        notes=tuple(made["notes"]),
        matrices=tuple(serialize.matrix_from_dict(row) for row in made["matrices"]),
        circuits=tuple(serialize.circuit_from_dict(row) for row in made["circuits"]),
        coverage=tuple(serialize.coverage_from_dict(line) for line in made["coverage"]),
    )


def write_json(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Write analysis.json whole. NaN and infinity cannot occur: they are None with a status beside them."""

    def write(staged: Path) -> None:
        # One line a row: readable in an editor and by grep, and json's C encoder (which indent= would switch off) does the work.
        with staged.open("w", encoding="utf-8") as f:
            f.write("{\n")
            made = to_dict(analysis)
            for position, (key, value) in enumerate(made.items()):
                end = "\n" if position == len(made) - 1 else ",\n"
                if isinstance(value, list) and value:
                    lines = ",\n".join(json.dumps(item, allow_nan=False) for item in value)
                    f.write(f'"{key}": [\n{lines}\n]{end}')
                else:
                    f.write(f'"{key}": {json.dumps(value, allow_nan=False)}{end}')
            f.write("}\n")

    write_whole(Path(path), write)


def is_result(path: str) -> bool:
    """Whether a path names an analysis.json rather than a checkpoint."""
    return path.endswith(".json") and Path(path).expanduser().is_file()


def read_json(path: str | os.PathLike[str]) -> Analysis:
    """Read what `write_json` wrote; equal to what was written, bit for bit.

    Raises:
        SpectraError: the file is missing, not an analysis, or of a schema this version does not know.
    """
    path = Path(path)
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpectraError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SpectraError(
            f"{path} is not JSON ({error}). Expected a file written by spectra analyze --out."
        ) from error
    return from_object(made, path)


def from_object(made: Any, path: Path) -> Analysis:
    """What `read_json` found in `path`, as an Analysis.

    Raises:
        SpectraError: it is no analysis, or of a schema this version does not know.
    """
    version = made.get("schema_version") if isinstance(made, dict) else None
    if version != SCHEMA_VERSION:
        raise SpectraError(
            f"{path} has schema version {version!r}; this version of spectra reads {SCHEMA_VERSION}. "
            "Expected a file written by spectra analyze --out; analyse the checkpoint again."
        )
    try:
        return from_dict(made)
    except (KeyError, TypeError) as error:
        raise SpectraError(f"{path} is damaged: field {error} is missing or unexpected. Analyse again.") from error


def flat_matrix(row: MatrixRow) -> dict[str, Any]:
    """One row of scalars: identity, status, columns, and `null_<metric>_<mean|sd|difference|z>`."""
    made = serialize.matrix_to_dict(row)
    for name in ("null", "esd", "tail", "view"):
        del made[name]
    for metric in metrics.MATRIX_METRICS:
        if metric.null:
            value = row.null.get(metric.name)
            for part in _NULL_FIELDS:
                made[f"null_{metric.name}_{part}"] = getattr(value, part) if value else None
    return made


def tables(analysis: Analysis) -> dict[str, list[dict[str, Any]]]:
    """The three flat tables of an analysis: `matrices`, `circuits`, `coverage`."""
    circuits = []
    for row in analysis.circuits:
        made = serialize.circuit_to_dict(row)
        del made["null"]
        for metric in metrics.CIRCUIT_METRICS:
            value = row.null.get(metric.name)
            for part in _NULL_FIELDS:
                made[f"null_{metric.name}_{part}"] = getattr(value, part) if value else None
        circuits.append(made)
    return {
        "matrices": [flat_matrix(row) for row in analysis.matrices],
        "circuits": circuits,
        "coverage": [asdict(line) for line in analysis.coverage],
    }


def side_path(path: Path, table: str) -> Path:
    """Where the tables beside the matrices go: `a.csv` -> `a.circuits.csv`."""
    return path if table == "matrices" else path.with_name(f"{path.stem}.{table}{path.suffix}")


def targets(out: Path | None, csv: Path | None, parquet: Path | None, html: Path | None = None) -> list[Path]:
    """Every file that --out, --html, --csv and --parquet will write.

    Raises:
        SpectraError: two of them are the same file.
    """
    found = [path for path in (out, html) if path is not None]
    found += [side_path(path, table) for path in (csv, parquet) if path is not None for table in TABLES]
    twice = {path for path in found if [p.resolve() for p in found].count(path.resolve()) > 1}
    if twice:
        raise SpectraError(
            f"{min(twice)} would be written twice. Give --out, --html, --csv and --parquet different names."
        )
    return found


def check_targets(paths: Sequence[Path], sources: Sequence[str | None]) -> None:
    """Refuse outputs that cannot be written or would replace a file of a checkpoint, before the work rather than after.

    Raises:
        SpectraError: which one, and why.
    """
    for path in paths:
        check_writable(path)
        for source in sources:
            check_apart(path, source)


def check_apart(path: Path, source: str | None) -> None:
    """Refuse an output that would replace a file of the checkpoint.

    Beside the weights, in the checkpoint's own folder, only new files and earlier outputs are written.

    Raises:
        SpectraError: it would.
    """
    if source is None or not path.is_file():
        return
    origin, target = Path(source).expanduser().resolve(), path.resolve()
    inside = origin.is_dir() and origin in target.parents
    if target == origin or (inside and not _is_output(target)):
        raise SpectraError(f"{path} is part of the checkpoint and would be overwritten. Choose another name.")


def _is_output(path: Path) -> bool:
    """Whether a file is one that we write: a table, or JSON or HTML that begins as ours does."""
    if path.suffix in (".csv", ".parquet"):
        return True
    with path.open("rb") as f:
        head = f.read(40)
    return head.startswith(b"<!doctype html>\n<!-- spectra report -->") or b"".join(head.split()).startswith(
        b'{"schema_version":'
    )


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object, such as a config.json.

    Raises:
        SpectraError: unreadable, not JSON, or not an object.
    """
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpectraError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SpectraError(f"{path} is not JSON ({error}).") from error
    if not isinstance(made, dict):
        raise SpectraError(f"{path} holds {type(made).__name__}; expected a JSON object such as a config.json.")
    return made


def write_csv(analysis: Analysis, path: str | os.PathLike[str]) -> list[Path]:
    """Matrices to `path`, circuits and coverage beside it; empty cells where there is no number. Returns the files."""
    written = []
    for name, rows in tables(analysis).items():
        target = side_path(Path(path), name)
        write_whole(target, partial(_write_csv, rows=rows, names=_names(name, rows)))
        written.append(target)
    return written


def _names(table: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of a table; known without rows for circuits and coverage (there is no analysis without matrices)."""
    if rows or table == "matrices":
        return list(dict.fromkeys(k for row in rows for k in row))
    if table == "coverage":
        return [field.name for field in fields(Coverage)]
    nulls = [f"null_{m.name}_{part}" for m in metrics.CIRCUIT_METRICS for part in _NULL_FIELDS]
    return [*serialize.CIRCUIT_FIELDS, *(m.name for m in metrics.CIRCUIT_METRICS), *nulls]


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(analysis: Analysis, path: str | os.PathLike[str]) -> list[Path]:
    """As `write_csv`, typed, with the ESD histograms as list columns and the provenance in the file's metadata."""
    import pyarrow
    import pyarrow.parquet

    written = []
    for name, rows in tables(analysis).items():
        if name == "matrices":
            for made, row in zip(rows, analysis.matrices, strict=True):
                esd = serialize.histogram_to_dict(row.esd) or {}
                made["esd_log10_edges"], made["esd_counts"] = esd.get("log10_edges"), esd.get("counts")
        names = _names(name, rows)
        columns = {k: pyarrow.array([row.get(k) for row in rows], type=_arrow_type(k, rows)) for k in names}
        table = pyarrow.table(columns).replace_schema_metadata(
            {
                "spectra_schema_version": str(analysis.schema_version),
                "spectra_provenance": json.dumps(analysis.provenance),
            }
        )
        target = side_path(Path(path), name)
        write_whole(target, lambda staged, table=table: pyarrow.parquet.write_table(table, staged))  # type: ignore[misc]
        written.append(target)
    return written


def _arrow_type(name: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Types by declaration, so that a column of nothing but None keeps the type it has elsewhere."""
    import pyarrow

    kinds = {"float": pyarrow.float64(), "int": pyarrow.int64(), "str": pyarrow.string(), "bool": pyarrow.bool_()}
    known = metrics.BY_NAME.get(name)
    if known is not None:
        return kinds[known.kind]
    fixed = {"esd_log10_edges": pyarrow.list_(pyarrow.float64()), "esd_counts": pyarrow.list_(pyarrow.int64())}
    integers = ("layer", "expert", "head", "kv_head", "rows", "cols", "n_eigenvalues", "parameters")
    if name in fixed:
        return fixed[name]
    if name in integers:
        return kinds["int"]
    if name.startswith("null_") or name == "seconds" or any(isinstance(row.get(name), float) for row in rows):
        return kinds["float"]
    return kinds["str"]


def to_pandas(analysis: Analysis, table: str = "matrices") -> pandas.DataFrame:
    """One of `TABLES` as a data frame, columns as in the CSV; missing numbers are NaN.

    Raises:
        SpectraError: pandas is not installed, or there is no such table.
    """
    if table not in TABLES:
        raise SpectraError(f"Unknown table {table!r}. Available: {', '.join(TABLES)}.")
    try:
        import pandas
    except ImportError as error:
        raise SpectraError("to_pandas() needs pandas, which is not installed: pip install pandas.") from error
    rows = tables(analysis)[table]
    return pandas.DataFrame(rows, columns=_names(table, rows))
