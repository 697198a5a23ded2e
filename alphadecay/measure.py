"""When and where modules are measured: here or beside the training, each rank its share of the modules.

Only scores travel between ranks, never weights: every rank ends with the same scores and so with the same decays.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

from alphadecay import launch
from alphadecay.modules import Module
from alphadecay.scores import Meter, ModuleScore, Spectra, stored_values
from spectra.devices import cores
from spectra.spectrum import Spectrum, spectrum
from spectra.stored import Stored

if TYPE_CHECKING:
    import torch

Scores = dict[str, ModuleScore]
_NICE = 10  # how far threads beside the training stand back for it
_POLLS_PER_GAP = 10


def ranks() -> tuple[int, int]:
    """(rank, number of ranks) of this process; (0, 1) outside torch.distributed."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def shares(modules: Iterable[Module], world: int) -> dict[str, int]:
    """Module -> the rank that measures it: the longest first, each to the rank with the least to do."""
    load = [0.0] * world
    made = {}
    for module in sorted(modules, key=_cost, reverse=True):
        rank = min(range(world), key=lambda r: load[r])
        load[rank] += _cost(module)
        made[module.name] = rank
    return made


def _cost(module: Module) -> float:
    """Flops of Gram matrix and eigenvalues, roughly."""
    sizes = [(min(ref.rows, ref.cols), max(ref.rows, ref.cols)) for ref in module.matrices]
    return sum(short * short * long + 4.0 / 3.0 * short**3 for short, long in sizes)


class Measurer:
    """Measures the modules of one model, on this rank's threads or its GPU."""

    def __init__(
        self, modules: tuple[Module, ...], parameters: Mapping[str, torch.nn.Parameter], meter: Meter, workers: int
    ) -> None:
        """`parameters`: by name, those of the modules at least. `workers`: threads; 0: this rank's part of the cores."""
        self._modules = tuple(sorted(modules, key=_cost, reverse=True))
        self._parameters = {module.name: parameters[module.name] for module in modules}
        self._meter = meter
        self._workers = workers or _threads()
        self._running: Future[Scores] | None = None
        self._beside: ThreadPoolExecutor | None = None

    @cached_property
    def _mine(self) -> frozenset[str]:
        rank, world = ranks()
        return frozenset(name for name, owner in shares(self._modules, world).items() if owner == rank)

    @cached_property
    def _blas(self) -> ThreadpoolController:
        return ThreadpoolController()  # looking for the libraries takes longer than a small measurement: once

    def now(self) -> Scores:
        """Measure and wait. Under several ranks every rank has to call it."""
        return self._exchange(self._measure(self._values(copy=False)))

    def start(self) -> None:
        """Copy this rank's modules and measure them beside the training. Every rank has to call it."""
        held = list(self._values(copy=True))
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, thread_name_prefix="alphadecay")
        self._running = self._beside.submit(self._measure, held, _NICE)

    @property
    def running(self) -> bool:
        """Whether a measurement was started and not yet collected."""
        return self._running is not None

    def collect(self, *, wait: bool) -> Scores | None:
        """Scores of the running measurement; None where, without `wait`, some rank is not ready. Every rank has to call it."""
        assert self._running is not None
        if not wait and not _everywhere(self._running.done()):
            return None
        found, self._running = self._running.result(), None
        return self._exchange(found)

    def _values(self, *, copy: bool) -> Iterator[tuple[Module, Stored | None]]:
        """This rank's modules with their weights (or gradients), the longest first; sharded ones are gathered one at a time."""
        for module in self._modules:
            parameter = self._parameters[module.name]
            tensor = parameter.grad if self._meter.options.of_gradient else parameter.detach()
            gather = getattr(tensor, "full_tensor", None)
            if gather is not None:
                tensor = gather()  # a collective: on every rank, whoever measures
            if module.name in self._mine:
                yield module, None if tensor is None else stored_values(tensor, copy=copy)

    def _measure(self, values: Iterable[tuple[Module, Stored | None]], nice: int = 0) -> Scores:
        """Scores by name; at most `workers + 1` modules from an iterator are in memory."""
        spectra, found, room = self._spectra(), {}, threading.Semaphore(self._workers + 1)

        def one(module: Module, stored: Stored | None) -> ModuleScore:
            try:
                return self._meter.module(module, stored, spectra)
            finally:
                room.release()

        with (
            self._blas.limit(limits=1, user_api="blas"),
            ThreadPoolExecutor(self._workers, "alphadecay", initializer=_stand_back, initargs=(nice,)) as pool,
        ):
            for module, stored in values:
                room.acquire()
                found[module.name] = pool.submit(one, module, stored)
        return {name: future.result() for name, future in found.items()}

    def _spectra(self) -> Spectra:
        """Eigenvalues on the device of the weights, where that is CUDA; else on this thread."""
        device = next(iter(self._parameters.values())).device
        if device.type != "cuda":
            return spectrum
        import torch

        from spectra.torch_route import TorchRoute

        route, guard = TorchRoute(device), threading.Lock()
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

        def on_device(matrix: Stored) -> Spectrum:
            with guard, torch.cuda.stream(side):
                return next(route.spectra([[matrix]]))[0]

        return on_device

    def _exchange(self, mine: Scores) -> Scores:
        """Everybody's scores, in the order of the modules."""
        import torch.distributed as dist

        _, world = ranks()
        merged = dict(mine)
        if world > 1:
            gathered: list[dict[str, dict[str, Any]]] = [{} for _ in range(world)]
            dist.all_gather_object(gathered, {name: asdict(score) for name, score in mine.items()})
            merged = {name: ModuleScore(**score) for part in gathered for name, score in part.items()}
        return {module.name: merged[module.name] for module in self._modules}


def poll_every(gap: int) -> int:
    """Steps between questions to all ranks whether they are ready; asked at every step where there is one rank."""
    return 1 if ranks()[1] == 1 else max(1, gap // _POLLS_PER_GAP)


def _everywhere(done: bool) -> bool:
    import torch
    import torch.distributed as dist

    if ranks()[1] == 1:
        return done
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flag = torch.tensor(int(done), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MIN)
    return bool(flag.item())


def _threads() -> int:
    return max(1, cores() // launch.local_processes())


def _stand_back(nice: int) -> None:
    """Lower the priority of this thread alone (Linux has one a thread); elsewhere do nothing."""
    if nice and hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
