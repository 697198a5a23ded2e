"""Checkpoint -> Analysis: the only orchestration.

Open (headers only), plan (every tensor once), read and compute (bounded memory), compare with the nulls, assemble.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from threadpoolctl import threadpool_limits

from spectra import devices, naming, null, profiles, provenance, serialize, torch_route
from spectra.checkpoint import open_checkpoint
from spectra.checkpoint.base import Checkpoint
from spectra.circuits import PER_HEAD, SUMMED, Side
from spectra.errors import SpectraError
from spectra.journal import Journal
from spectra.null_cache import NullCache
from spectra.options import AnalysisOptions
from spectra.pipeline import Pool, run_cpu, run_torch
from spectra.selection import select, without_ties
from spectra.spectrum import Spectrum
from spectra.stored import FLOAT_DTYPES, Stored
from spectra.types import SCHEMA_VERSION, Analysis, CircuitRow, Coverage, MatrixRef, MatrixRow, Plan
from spectra.work import (
    Factors,
    Finished,
    Group,
    Wanted,
    circuit_rows,
    groups,
    measure,
    sides_by_matrix,
)

if TYPE_CHECKING:
    from spectra.ray_engine import RayCluster


class Listener(Protocol):
    """Who wants to know how far an analysis is. Called from the calling thread, but for `message`."""

    def progress(self, done: int, total: int, name: str) -> None:
        """`done` of `total` matrices are finished; `name` was the last."""

    def message(self, sentence: str) -> None:
        """A sentence for the user (a download begins, say)."""


def analyze(
    source: Any,
    *,
    options: AnalysisOptions | None = None,
    base: str | None = None,
    config: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Analysis:
    """Spectra of every weight matrix of a checkpoint.

    Args:
        source: a path, a hub id `org/name[@revision]`, a `torch.nn.Module` or a state dict.
        options: see `AnalysisOptions`; default: everything but `uncertainty`.
        base: for a LoRA adapter, the checkpoint to merge it into.
        config: the model's config where `source` carries none (head counts for circuits and fused projections).
        journal: file for finished rows; with `resume`, rows found there are not computed again. The caller deletes
            it once the result is safe.
        listener: is told of progress and of sentences for the user (downloads).

    Raises:
        SpectraError: the input cannot be used; one sentence on what was got, what was expected and what to do.
    """
    run = _Run(options or AnalysisOptions(), listener)
    with ExitStack() as stack:
        checkpoint = open_checkpoint(source, base=base, config=config, progress=listener.message if listener else None)
        stack.callback(checkpoint.close)
        if checkpoint.format == "lora" and base is None:
            run.is_update, run.nulls = True, None
        return run.analyse(checkpoint, journal, resume, stack)


class _Run:
    """State of one analysis: rows, factors and digests as they come in."""

    def __init__(self, options: AnalysisOptions, listener: Listener | None) -> None:
        self.options = options
        self.listener = listener
        self.started = time.perf_counter()
        self.device = devices.resolve(options.device) if options.engine == "local" else options.device
        self.workers = options.workers or devices.cores()
        self.cluster: RayCluster | None = None
        self.route: torch_route.TorchRoute | None = None
        profile = profiles.lookup(options.profile)
        self.nulls = NullCache(options.seed, options.fit, options.null_cache, profile) if options.null else None
        self.rows: dict[str, MatrixRow] = {}
        self.circuits: dict[str, list[CircuitRow]] = {}
        self.digests: dict[str, str] = {}
        self.factors: dict[str, dict[Side, Factors]] = {}
        self.journal: Journal | None = None
        self.is_update = False  # a LoRA adapter by itself

    def analyse(self, checkpoint: Checkpoint, journal: Path | None, resume: bool, stack: ExitStack) -> Analysis:
        if self.options.engine == "ray":
            from spectra.ray_engine import RayCluster

            told = self.listener.message if self.listener is not None else None
            self.cluster = stack.enter_context(RayCluster(self.options, told))
            self.device = self.cluster.device
        elif self.device != "cpu":
            self.route = torch_route.TorchRoute(torch_route.open_device(self.device))
        plan = naming.plan(
            checkpoint.tensors,
            checkpoint.config,
            format=checkpoint.format,
            absorbed=checkpoint.absorbed,
            aliases=checkpoint.aliases,
        )
        plan = with_unreadable(plan, checkpoint)
        plan = select(without_ties(plan, checkpoint), self.options.include, self.options.exclude)
        if not self.options.circuits:
            plan = replace(plan, attention=())
        if journal is not None:
            config = json.dumps(checkpoint.config, sort_keys=True, default=str)
            header = {
                "checkpoint": checkpoint.identity(),
                "config": hashlib.sha256(config.encode()).hexdigest(),
                "options": self.options.deciding(),
                "schema": SCHEMA_VERSION,
            }
            self.journal = stack.enter_context(Journal(journal, header, resume=resume))
            self._restore(self.journal)
        self._compute(checkpoint, plan)
        return self._assemble(checkpoint, plan)

    def _restore(self, journal: Journal) -> None:
        for record in journal.records:
            if "matrix" in record:
                row = serialize.matrix_from_dict(record["matrix"])
                self.rows[row.ref.name] = row
            elif "circuits" in record:
                self.circuits[record["module"]] = [serialize.circuit_from_dict(c) for c in record["circuits"]]
            elif "digest" in record:
                self.digests[record["part"]] = record["digest"]

    def _compute(self, checkpoint: Checkpoint, plan: Plan) -> None:
        attention = [a for a in plan.attention if a.module not in self.circuits]
        sides = sides_by_matrix(attention)
        todo = [
            replace(group, matrices=left)
            for group in groups(plan, {t.name: t.file for t in checkpoint.tensors.values()})
            if (left := tuple(m for m in group.matrices if m.name not in self.rows or m.name in sides))
        ]
        # Longest first, so that no worker is left with a huge matrix at the end; a hub's files one after the other.
        files = {name: i for i, name in enumerate(dict.fromkeys(g.file for g in todo))}
        remote = "hub_id" in checkpoint.details
        todo.sort(key=lambda g: (files[g.file] if remote else 0, -g.cost))
        by_module = {a.module: a for a in attention}
        refs = {m.name: m for m in plan.matrices}
        dims: dict[str, dict[Side, int]] = {
            a.module: {"q": refs[a.q].cols, "k": refs[a.k].cols, "v": refs[a.v].cols, "o": refs[a.o].rows}
            for a in attention
        }

        def want(ref: MatrixRef) -> Wanted:
            return Wanted(row=ref.name not in self.rows, sides=sides.get(ref.name, ()))

        with threadpool_limits(1), Pool(self.workers) as pool:
            if self.nulls is not None:
                for shape in sorted({_shape(m) for m in plan.matrices}, reverse=True):
                    pool.aside(_draw(self.nulls, shape))
            done = len(self.rows)
            for item in self._finished(todo, checkpoint, want, pool):
                if item.row is not None:
                    done += 1
                    self._keep(item.row)
                for found in item.factors:
                    held = self.factors.setdefault(found.module, {})
                    held[found.side] = found
                    if len(held) == 4:
                        rows = circuit_rows(by_module[found.module], dims[found.module], held, self.nulls)
                        self._keep_circuits(found.module, rows)
                if self.listener is not None:
                    self.listener.progress(done, len(plan.matrices), item.ref.name)

    def _finished(
        self,
        todo: list[Group],
        checkpoint: Checkpoint,
        want: Callable[[MatrixRef], Wanted],
        pool: Pool,
    ) -> Iterator[Finished]:
        def read(group: Group) -> Stored:
            stored = checkpoint.read(group.tensor, group.index)
            part = group.tensor if group.index is None else f"{group.tensor}[{group.index}]"
            digest = stored.sha256()
            if self.digests.setdefault(part, digest) != digest:
                raise SpectraError(
                    f"--resume: {group.tensor} has changed since the interrupted run. Run without --resume to start over."
                )
            if self.journal is not None:
                self.journal.append({"part": part, "digest": self.digests[part]})
            return stored

        def work(ref: MatrixRef, matrix: Stored, known: Spectrum | None) -> Finished:
            return measure(ref, matrix, known, want(ref), self.options)

        if self.cluster is not None:
            return self.cluster.run(todo, read, want)
        if self.route is not None:
            return run_torch(todo, read, work, pool, self.route)
        return run_cpu(todo, read, work, pool)

    def _keep(self, row: MatrixRow) -> None:
        self.rows[row.ref.name] = row
        if self.journal is not None:
            self.journal.append({"matrix": serialize.matrix_to_dict(row)})

    def _keep_circuits(self, module: str, rows: list[CircuitRow]) -> None:
        del self.factors[module]
        self.circuits[module] = rows
        if self.journal is not None:
            self.journal.append({"module": module, "circuits": [serialize.circuit_to_dict(r) for r in rows]})

    def _assemble(self, checkpoint: Checkpoint, plan: Plan) -> Analysis:
        rows = []
        for ref in sorted(plan.matrices, key=lambda ref: natural(ref.name)):
            row = self.rows[ref.name]
            if self.nulls is not None and row.status == "ok":
                shape = (ref.rows, ref.cols)
                row = replace(row, null=null.compare_matrix(row.values, shape, self.nulls.matrix(shape)))
            rows.append(row)
        content = hashlib.sha256("".join(f"{k} {v}\n" for k, v in sorted(self.digests.items())).encode())
        return Analysis(
            schema_version=SCHEMA_VERSION,
            provenance={
                **provenance.software(),
                "created": provenance.now(),
                "source": checkpoint.source,
                "format": checkpoint.format,
                "details": json.loads(json.dumps(dict(checkpoint.details))),
                "files": {Path(name).name: size for name, size in checkpoint.files.items()},
                "header_sha256": checkpoint.header_hash().removeprefix("sha256:"),
                "analysed_sha256": content.hexdigest(),
                "options": json.loads(json.dumps(self.options.deciding())),
                "device": self.device,
                "engine": self.options.engine,
                "precision": "float64 Gram matrix, float64 eigenvalues",
                "conventions": conventions(self.options),
                "workers": self.workers if self.cluster is None else self.cluster.limit,
                "seconds": round(time.perf_counter() - self.started, 3),
            },
            matrices=tuple(rows),
            circuits=tuple(
                row
                for a in sorted(plan.attention, key=lambda a: natural(a.module))
                for row in self.circuits.get(a.module, ())
            ),
            coverage=plan.coverage,
            notes=(
                *plan.notes,
                *notes(checkpoint, plan, self.is_update),
                *profiles.lookup(self.options.profile).notes(),
            ),
        )


def _shape(ref: MatrixRef) -> tuple[int, int]:
    return min(ref.rows, ref.cols), max(ref.rows, ref.cols)


def _draw(nulls: NullCache, shape: tuple[int, int]) -> Callable[[], object]:
    return lambda: nulls.matrix(shape)


def with_unreadable(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """Ledger lines for what the reader could not present as tensors (sparse, quantised by torch, objects)."""
    unreadable: Mapping[str, str] = checkpoint.details.get("unreadable_tensors", {})
    lines = [
        Coverage(tensor=name, disposition="skipped", reason=f"cannot be read: {why}", parameters=0)
        for name, why in unreadable.items()
    ]
    return replace(plan, coverage=(*plan.coverage, *lines))


_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.(safetensors|bin)$")


def notes(checkpoint: Checkpoint, plan: Plan, is_update: bool) -> list[str]:
    """What a reader of the numbers must be told."""
    found = quantisation_notes(plan)
    shard = _SHARD.search(checkpoint.source)
    if shard and int(shard[2]) > 1:
        found.append(f"This is one file of {int(shard[2])}: name the folder to analyse the whole model.")
    if is_update:
        found.append(
            "These are the updates of a LoRA adapter: their rank is at most its r, so no full-rank null is given, and Hill's "
            "upper half does not exist. With --base the merged weights are analysed."
        )
        if any("lora_magnitude" in name for name in checkpoint.tensors):
            found.append("The adapter is a DoRA: its magnitudes act on the merged matrix and are not in the update.")
    elif checkpoint.format in ("module", "state_dict") and any(".lora_A." in name for name in checkpoint.tensors):
        found.append(
            "This model has LoRA adapters that are not merged: its weights and circuits are those of the base. Merge first "
            "(merge_and_unload()), or analyse the adapter with a base."
        )
    return found


def quantisation_notes(plan: Plan) -> list[str]:
    """A warning where stored values carry quantisation noise."""
    counts = Counter(m.dtype for m in plan.matrices if m.dtype not in FLOAT_DTYPES or m.dtype.startswith("float8"))
    if not counts:
        return []
    listed = ", ".join(f"{count} of {dtype}" for dtype, count in counts.most_common())
    return [
        f"Quantised weights ({listed}) are analysed as dequantised: the smallest eigenvalues, and with them fix-finger and "
        "numerical rank, carry quantisation noise."
    ]


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which layer 2 comes before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def conventions(options: AnalysisOptions) -> dict[str, str]:
    """The choices a reader must know to compare numbers with another tool's."""
    made = {
        "eigenvalues": "squares of singular values, not divided by anything",
        "profile": "default (docs/methods.md)" if options.profile == "default" else options.profile,
        "ks": "two-sided" if options.fit.two_sided else "left grid",
        "orientation": "rows x cols = out x in",
    }
    if options.circuits:
        made["circuits"] = PER_HEAD + (f"; and {SUMMED}" if options.summed_circuits else "")
    if options.null:
        made["null"] = "i.i.d. Gaussian of the same shape and Frobenius norm, seeded exact draws"
    return made | dict(profiles.lookup(options.profile).conventions)
