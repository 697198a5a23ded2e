"""Groups read one ahead, and matrices of equal shape gathered into batches for a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from spectra.stored import Stored
from spectra.torch_route import batch_size
from spectra.types import MatrixRef
from spectra.work import Group, cut_all

Read = Callable[[Group], Stored]

_HELD_BYTES = 1 << 30  # raw bytes waiting for batches of their shape to fill


def ahead(groups: Iterable[Group], read: Read) -> Iterator[tuple[Group, Stored]]:
    """Groups and their values, read one ahead on a thread of their own."""
    with ThreadPoolExecutor(1, thread_name_prefix="spectra-read") as reader:
        following: tuple[Group, Future[Stored]] | None = None
        for group in groups:
            current, following = following, (group, reader.submit(read, group))
            if current is not None:
                yield current[0], current[1].result()
        if following is not None:
            yield following[0], following[1].result()


def buckets(reads: Iterable[tuple[Group, Stored]]) -> Iterator[list[tuple[MatrixRef, Stored]]]:
    """Batches of matrices of equal shape and dtype: a full one, or the fullest where too much waits."""
    waiting: dict[tuple[tuple[int, ...], str], list[tuple[MatrixRef, Stored]]] = {}
    held = 0
    for group, stored in reads:
        for ref, matrix in zip(group.matrices, cut_all(stored, group), strict=True):
            key = (matrix.shape, matrix.dtype)
            waiting.setdefault(key, []).append((ref, matrix))
            held += matrix.raw.nbytes
            full = key if len(waiting[key]) >= batch_size((ref.rows, ref.cols), matrix.raw.nbytes) else None
            if full is None and held > _HELD_BYTES:
                full = max(waiting, key=lambda k: sum(m.raw.nbytes for _, m in waiting[k]))
            if full is not None:
                batch = waiting.pop(full)
                held -= sum(m.raw.nbytes for _, m in batch)
                yield batch
    yield from waiting.values()
