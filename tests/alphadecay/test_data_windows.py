"""Order, windows seen, and the arithmetic of packing."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alphadecay.data import DataConfig, Windows, last_seen, order, seen
from alphadecay.data_build import SplitWriter
from alphadecay.data_windows import IGNORED, permutation, token_dtype
from spectra.errors import SpectraError

EOS, PAD = 1, 0
DOCUMENTS = st.lists(st.lists(st.integers(2, 500), min_size=1, max_size=30), min_size=1, max_size=20)


def write(
    folder: Path, documents: list[list[int]], window: int, packing: str = "pack", shuffle: tuple[int, ...] | None = None
) -> Windows:
    """Windows over documents whose index in the source is ten times their index here."""
    config = DataConfig(window=window, packing=packing)
    writer = SplitWriter(folder / "train", config, token_dtype(512), EOS)
    for i, ids in enumerate(documents):
        writer.add(10 * i, ids)
    writer.close(shuffle)
    return Windows(folder, "train", {"window": window, "packing": packing, "pad_id": PAD, "dtype": "<u2"})


@given(n=st.integers(0, 300), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_order_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    found = order(n, seed, epoch)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(n))
    assert found.tolist() == order(n, seed, epoch).tolist()


def test_order_differs_by_seed_and_epoch() -> None:
    a, b, c = order(100, 1, 0), order(100, 2, 0), order(100, 1, 1)
    assert a.tolist() != b.tolist()
    assert a.tolist() != c.tolist()


def test_order_is_that_of_every_numpy() -> None:
    """Raw Philox numbers are guaranteed by numpy; a run of last year must be named by the same indices."""
    assert order(8, 42, 0).tolist() == [0, 6, 3, 1, 5, 2, 4, 7]


@settings(deadline=None)
@given(n=st.integers(1, 60), batch=st.integers(1, 20), steps=st.integers(0, 30), seed=st.integers(0, 100))
def test_seen_equals_a_plain_loop(n: int, batch: int, steps: int, seed: int) -> None:
    if batch > n:
        with pytest.raises(SpectraError, match="cannot be drawn"):
            seen(n, seed, batch, steps)
        return
    expected: list[int] = []
    epoch = 0
    while len(expected) < steps * batch:
        shown = order(n, seed, epoch).tolist()
        expected += shown[: n // batch * batch]
        epoch += 1
    assert seen(n, seed, batch, steps).tolist() == expected[: steps * batch]


@settings(deadline=None, max_examples=50)
@given(documents=DOCUMENTS, window=st.integers(2, 40), seed=st.integers(0, 9))
def test_packing_loses_no_token_but_the_tail(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], window: int, seed: int
) -> None:
    windows = write(tmp_path_factory.mktemp("w"), documents, window, shuffle=(2, seed))
    joined = [t for i in permutation(len(documents), 2, seed).tolist() for t in [*documents[i], EOS]]
    assert len(windows) == len(joined) // window
    assert [t for i in range(len(windows)) for t in windows.tokens(i).tolist()] == joined[: len(windows) * window]
    assert windows.n_tokens + windows.tail_tokens == len(joined)
    assert windows.tail_tokens < window
    for item in (windows[i] for i in range(len(windows))):
        assert torch.equal(item["input_ids"], item["labels"])
        assert item["attention_mask"].sum() == window


@settings(deadline=None, max_examples=50)
@given(documents=DOCUMENTS, window=st.integers(2, 40))
def test_documents_of_a_window(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], window: int
) -> None:
    windows = write(tmp_path_factory.mktemp("w"), documents, window)
    owner = [10 * i for i, ids in enumerate(documents) for _ in range(len(ids) + 1)]
    for i in range(len(windows)):
        inside = owner[i * window : (i + 1) * window]
        assert windows.documents(i).tolist() == sorted(set(inside))
        documents_, tokens = windows.pieces(i)
        assert np.repeat(documents_, tokens).tolist() == inside


@given(n=st.integers(1, 40), batch=st.integers(1, 40), steps=st.integers(0, 30), seed=st.integers(0, 5))
def test_last_seen_is_what_a_look_through_the_run_finds(n: int, batch: int, steps: int, seed: int) -> None:
    batch = min(batch, n)
    consumed = seen(n, seed, batch, steps).tolist()
    last = {window: place for place, window in enumerate(consumed)}
    found = last_seen(n, seed, batch, steps)
    assert found.windows.tolist() == sorted(last, key=lambda window: last[window])
    assert found.last.tolist() == sorted(last.values())
    assert found.times.tolist() == [consumed.count(window) for window in found.windows]


def test_equal_documents_have_equal_hashes(tmp_path: Path) -> None:
    windows = write(tmp_path, [[2, 3], [4], [2, 3], [2, 3, 4], [3, 2]], 4)
    a, b, c, d, e = windows.document_hashes().tolist()
    assert a == c and len({a, b, d, e}) == 4


@settings(deadline=None, max_examples=50)
@given(documents=DOCUMENTS, window=st.integers(2, 40))
def test_one_document_a_window_masks_exactly_the_padding(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], window: int
) -> None:
    windows = write(tmp_path_factory.mktemp("w"), documents, window, "document")
    assert len(windows) == len(documents)
    for i, ids in enumerate(documents):
        item = windows[i]
        whole = [*ids, EOS][:window]
        assert item["input_ids"].tolist() == whole + [PAD] * (window - len(whole))
        assert item["labels"].tolist() == whole + [IGNORED] * (window - len(whole))
        assert item["attention_mask"].tolist() == [1] * len(whole) + [0] * (window - len(whole))
        assert windows.documents(i).tolist() == [10 * i]


def test_end_of_text_is_learned_even_where_it_pads(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "train", DataConfig(window=4, packing="document"), token_dtype(512), EOS)
    writer.add(0, [5, 6])
    writer.close(None)
    windows = Windows(tmp_path, "train", {"window": 4, "packing": "document", "pad_id": EOS, "dtype": "<u2"})
    assert windows[0]["labels"].tolist() == [5, 6, EOS, IGNORED]


def test_items_are_int64_tensors_and_indices_are_checked(tmp_path: Path) -> None:
    windows = write(tmp_path, [[2, 3, 4, 5, 6, 7, 8]], 4)
    assert {t.dtype for t in windows[0].values()} == {torch.int64}
    assert windows[-1]["input_ids"].tolist() == windows[1]["input_ids"].tolist() == [6, 7, 8, EOS]
    with pytest.raises(IndexError):
        windows[2]


def test_windows_travel_to_workers_as_a_path(tmp_path: Path) -> None:
    windows = write(tmp_path, [list(range(2, 400))] * 50, 16)
    sent = pickle.dumps(windows)
    assert len(sent) < 2000
    assert torch.equal(pickle.loads(sent)[3]["input_ids"], windows[3]["input_ids"])
    batch = next(iter(torch.utils.data.DataLoader(windows, batch_size=4)))  # type: ignore[arg-type]
    assert batch["input_ids"].shape == (4, 16)


def test_token_types() -> None:
    assert token_dtype(2**16) == np.dtype("<u2")
    assert token_dtype(2**16 + 1) == np.dtype("<u4")
    with pytest.raises(SpectraError, match="at most 2\\*\\*32"):
        token_dtype(2**32 + 1)
