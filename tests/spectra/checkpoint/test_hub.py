"""The hub, imitated by a small server on this machine: lazy shards, errors, the cache without a connection."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from spectra.checkpoint import open_checkpoint
from spectra.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def repository() -> dict[str, bytes]:
    index = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}
    return {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors.index.json": json.dumps(index).encode(),
        SHARDS[0]: save({"a": torch.ones(2, 3)}),
        SHARDS[1]: save({"b": torch.full((400, 400), 2.0)}),  # longer than the range that is asked for the header
    }


class Handler(BaseHTTPRequestHandler):
    """The endpoints that the readers use: model info, and files with ranges."""

    files: ClassVar[dict[str, bytes]] = {}
    fetched: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        info = re.fullmatch(r"/api/models/(\w+/[\w-]+)(?:/revision/([\w.]+))?", self.path.split("?")[0])
        file = re.fullmatch(r"/(\w+/[\w-]+)/resolve/(\w+)/(.+)", self.path.split("?")[0])
        if info and info[1] == "org/gated":
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
        elif info and info[1] != "org/tiny":
            self.reply(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        elif info and info[2] not in (None, "main", COMMIT):
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
        elif info:
            siblings = [{"rfilename": name, "size": len(raw)} for name, raw in self.files.items()]
            answer = {"id": "org/tiny", "modelId": "org/tiny", "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)
        elif file and file[3] in self.files:
            self.file(file[3], body)
        else:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound"}, body)

    def file(self, name: str, body: bool) -> None:
        raw = self.files[name]
        headers = {"ETag": f'"{hashlib.sha1(raw).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range") or "")
        if wanted:
            part = raw[int(wanted[1]) : int(wanted[2]) + 1]
            headers["Content-Range"] = f"bytes {wanted[1]}-{int(wanted[1]) + len(part) - 1}/{len(raw)}"
            self.reply(206, part, headers, body)
            return
        if body:
            self.fetched.append(name)
        self.reply(200, raw, headers, body)

    def reply(self, status: int, raw: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(raw)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    """A hub on this machine with the repository org/tiny, and an empty cache."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    Handler.files, Handler.fetched = repository(), []
    point_to(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path / "cache")
    yield Handler
    server.shutdown()
    server.server_close()
    thread.join()


def point_to(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_shards_are_fetched_when_they_are_read(hub: type[Handler]) -> None:
    said: list[str] = []
    opened = open_checkpoint("org/tiny", progress=said.append)
    assert opened.format == "safetensors"
    assert opened.source == "org/tiny"
    assert opened.config == {"model_type": "llama"}
    assert opened.details["hub_commit"] == COMMIT
    assert {name: info.shape for name, info in opened.tensors.items()} == {"a": (2, 3), "b": (400, 400)}
    assert not set(hub.fetched) & set(SHARDS)
    assert opened.read("b", 7).decode()[0] == 2
    assert SHARDS[1] in hub.fetched
    assert SHARDS[0] not in hub.fetched
    assert any("downloading" in sentence and SHARDS[1] in sentence for sentence in said)
    assert opened.read("b").decode().sum() == 320_000
    assert hub.fetched.count(SHARDS[1]) == 1
    assert set(opened.files) == {f"org/tiny/{name}" for name in SHARDS}
    again = open_checkpoint(f"org/tiny@{COMMIT}")
    assert again.read("b", 0).decode()[0] == 2
    assert hub.fetched.count(SHARDS[1]) == 1
    assert again.header_hash() == opened.header_hash()


def test_bin_repository(hub: type[Handler], tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "m.bin")
    hub.files = {"pytorch_model.bin": (tmp_path / "m.bin").read_bytes(), "training_args.bin": b"x"}
    opened = open_checkpoint("org/tiny@main")
    assert opened.read("w").decode().tolist() == [1, 1]
    assert hub.fetched == ["pytorch_model.bin"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/nothing", "no such repository on the hub"),
        ("org/gated", "gated.*hf auth login"),
        ("org/tiny@v9", "org/tiny@v9: the repository has no such revision"),
        ("org/a--b", "no valid hub id"),
    ],
)
def test_errors_of_the_hub(hub: type[Handler], name: str, expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        open_checkpoint(name)


def test_damaged_header_and_missing_shard(hub: type[Handler]) -> None:
    good = hub.files[SHARDS[0]]
    hub.files[SHARDS[0]] = good[:8] + b"x" + good[9:]
    with pytest.raises(CheckpointError, match=rf"{re.escape(SHARDS[0])}.*damaged"):
        open_checkpoint("org/tiny")
    del hub.files[SHARDS[0]]
    with pytest.raises(CheckpointError, match=rf"shards are missing \({re.escape(SHARDS[0])}"):
        open_checkpoint("org/tiny")


def test_without_a_connection_the_cache_is_used(
    hub: type[Handler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = open_checkpoint("org/tiny@main")
    for name in online.tensors:
        online.read(name)
    point_to(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")  # the discard port: nobody listens
    opened = open_checkpoint("org/tiny")
    assert opened.details["hub_commit"] == COMMIT
    assert opened.read("a").decode().sum() == 6
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_checkpoint("org/tiny").read("a").decode().sum() == 6


def test_without_connection_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    with pytest.raises(CheckpointError, match=r"org/tiny: no local file.*hub cannot be reached.*name the local folder"):
        open_checkpoint("org/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="hub cannot be reached"):
        open_checkpoint("org/tiny")


def test_the_library_still_offers_what_we_call() -> None:
    for name in ("HfApi", "snapshot_download", "try_to_load_from_cache"):
        assert hasattr(huggingface_hub, name)
    assert hasattr(huggingface_hub.HfApi, "parse_safetensors_file_metadata")
