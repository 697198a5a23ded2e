"""The server engine against `transformers serve`: greedy answers are those of the engine in this process.

The program is the one named by `PLASTICITY_TRANSFORMERS`, else `transformers` beside this Python where the packages of
`transformers[serving]` are installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plasticity import generate_request
from plasticity.generate import Generation, generate
from plasticity.generate_hf import HuggingFaceEngine
from plasticity.generate_http import Patience
from plasticity.generate_options import Prompt, SamplingOptions
from plasticity.generate_server import ServerEngine
from spectra.errors import SpectraError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
STORIES, QUESTIONS = SHARED / "models" / "stories260k", SHARED / "gsm8k" / "test.jsonl"
COUNT, START_SECONDS = 60, 180
GREEDY = SamplingOptions(max_tokens=32)
SAMPLED = SamplingOptions(samples=4, temperature=1.0, max_tokens=48, seed=3)


def program() -> str:
    """The `transformers` to serve with; skips where there is none."""
    named = os.environ.get("PLASTICITY_TRANSFORMERS")
    if named:
        return named
    beside = Path(sys.executable).with_name("transformers")
    if beside.exists() and all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai")):
        return str(beside)
    pytest.skip("needs transformers[serving], or PLASTICITY_TRANSFORMERS naming a `transformers` that has it")


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server, and the same checkpoint with a tokenizer that adds a BOS token and with one that does not."""

    url: str
    with_bos: Path
    without_bos: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not STORIES.exists():
        pytest.skip("../shared/data is absent")
    command = program()
    folder = tmp_path_factory.mktemp("serve")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "log.txt"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [command, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=out, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield Served(url=f"http://127.0.0.1:{port}", with_bos=STORIES, without_bos=_without_bos(folder / "model"))
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.1)


def _without_bos(folder: Path) -> Path:
    """What the engine's documentation tells a user to do."""
    from transformers import AutoTokenizer

    shutil.copytree(STORIES, folder)
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_bos_token = False
    tokenizer.save_pretrained(folder)
    assert (
        AutoTokenizer.from_pretrained(folder)("a b").input_ids == tokenizer("a b", add_special_tokens=False).input_ids
    )
    return folder


def prompts(checkpoint: Path, *, bos: bool) -> list[Prompt]:
    """Real questions in the task's template, tokenised as training does (`bos`: as a server that adds one does)."""
    from transformers import AutoTokenizer

    if not QUESTIONS.exists():
        pytest.skip("../shared/data is absent")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()[:COUNT]]
    texts = [f"Human: {row['question']}\nAssistant:" for row in rows]
    start = (tokenizer.bos_token_id,) if bos else ()
    return [
        Prompt(id=f"q{i}", text=text, ids=(*start, *tokenizer(text, add_special_tokens=False).input_ids))
        for i, text in enumerate(texts)
    ]


def here(out: Path, asked: list[Prompt], options: SamplingOptions = GREEDY) -> Generation:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(STORIES), AutoTokenizer.from_pretrained(STORIES)
    engine = HuggingFaceEngine(model=model, tokenizer=tokenizer, name="stories")
    return generate(asked, engine, options, out, task={"name": "test"})


def there(out: Path, asked: list[Prompt], url: str, model: Path, options: SamplingOptions = GREEDY) -> Generation:
    engine = ServerEngine(
        base_url=url, model=str(model), concurrency=8, window=512, patience=Patience(timeout_seconds=120, tries=2)
    )
    return generate(asked, engine, options, out, task={"name": "test"})


def texts(found: Generation) -> list[str]:
    return [response.text for answers in found.answers for response in answers.responses]


@pytest.mark.slow
@pytest.mark.parametrize("options", [GREEDY, SamplingOptions(max_tokens=24, repetition_penalty=1.1, stop=(". ",))])
def test_greedy_answers_are_those_of_this_process(tmp_path: Path, served: Served, options: SamplingOptions) -> None:
    asked = prompts(served.without_bos, bos=False)
    ours = here(tmp_path / "h.jsonl", asked, options)
    theirs = there(tmp_path / "s.jsonl", asked, served.url, served.without_bos, options)
    assert len(ours.answers) == COUNT and len(set(texts(ours))) > COUNT // 2
    assert texts(theirs) == texts(ours)
    assert theirs.notes == {}
    assert theirs.finishes == ours.finishes
    tokens = [(a.responses[0].tokens, b.responses[0].tokens) for a, b in zip(theirs.answers, ours.answers, strict=True)]
    assert options.stop or all(one == two for one, two in tokens)


@pytest.mark.slow
def test_a_bos_token_that_the_server_adds_is_noted(tmp_path: Path, served: Served) -> None:
    asked = prompts(served.with_bos, bos=False)
    theirs = there(tmp_path / "s.jsonl", asked, served.url, served.with_bos)
    assert theirs.notes == {"prompt_tokens": COUNT}
    n = len(asked[0].ids)
    assert theirs.answers[0].notes == (f"prompt_tokens {n + 1} there, {n} here",)
    assert texts(theirs) != texts(here(tmp_path / "h.jsonl", asked))
    with_it = prompts(served.with_bos, bos=True)  # and that is all that differs
    assert texts(theirs) == texts(here(tmp_path / "b.jsonl", with_it))
    assert there(tmp_path / "n.jsonl", with_it, served.url, served.with_bos).notes == {}


@pytest.mark.slow
def test_it_samples_when_told_so_and_k_requests_are_sent(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plasticity import generate_server

    sent: list[dict[str, Any]] = []
    post = generate_server.post

    def watched(url: str, body: dict[str, Any], *rest: Any) -> dict[str, Any]:
        sent.append(body)
        return post(url, body, *rest)

    monkeypatch.setattr(generate_server, "post", watched)
    asked = prompts(served.without_bos, bos=False)[:12]
    found = there(tmp_path / "s.jsonl", asked, served.url, served.without_bos, SAMPLED)
    assert found.notes == {}
    assert all(len({response.text for response in answers.responses}) == 4 for answers in found.answers)
    single = [body for body in sent if body["n"] == 1]
    assert len(single) >= 3 * len(asked)  # `n` is not honoured: the other samples are asked for one by one
    assert len({body["seed"] for body in single}) == len(single)


@pytest.mark.slow
def test_a_server_that_does_not_sample_is_not_believed(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without being told to sample, `transformers serve` is greedy at any temperature."""
    monkeypatch.setattr(generate_request, "_generation_config", lambda options: {})
    asked = prompts(served.without_bos, bos=False)
    with pytest.raises(
        SpectraError, match=r"5 questions got 4 identical samples each at temperature 1.*does not sample"
    ):
        there(tmp_path / "s.jsonl", asked, served.url, served.without_bos, SAMPLED)
