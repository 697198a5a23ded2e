"""The server engine against a real local server that honours `n` or not, fails, hangs, lies and dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from plasticity.generate import generate
from plasticity.generate_http import Patience
from plasticity.generate_options import Prompt, SamplingOptions
from plasticity.generate_server import ServerEngine
from plasticity.responses import load_responses
from spectra.errors import SpectraError

from .openai_server import Behaviour, serving

PROMPTS = [Prompt(id=f"q{i}", text=f"Human: {i}\nAssistant:", ids=(1, 2, 3)) for i in range(8)]
SAMPLED = SamplingOptions(samples=3, temperature=1.0, max_tokens=16, seed=5)
QUICK = Patience(timeout_seconds=5, tries=3, pause_seconds=0.01)


def engine(url: str, **settings: Any) -> ServerEngine:
    return ServerEngine(**({"base_url": url, "model": "m", "patience": QUICK} | settings))


def ask(out: Path, url: str, options: SamplingOptions = SAMPLED, prompts: Any = PROMPTS, **settings: Any) -> Any:
    return generate(prompts, engine(url, **settings), options, out, task={"name": "t"}, resume=True)


def test_samples_come_in_one_request_where_n_is_honoured(tmp_path: Path) -> None:
    behaviour = Behaviour(pause=0.05)
    with serving(behaviour) as url:
        found = ask(tmp_path / "r.jsonl", f"{url}/v1/", concurrency=4)
    assert len(behaviour.asked) == 8 and 2 <= behaviour.most_at_once <= 4
    assert [a.question_id for a in found.answers] == [p.id for p in PROMPTS]
    assert all(len({r.text for r in a.responses}) == 3 for a in found.answers)
    assert found.notes == {} and found.finishes == {"length": 24}
    sent = behaviour.asked[0]
    assert (sent["n"], sent["top_p"], sent["top_k"], sent["min_p"], sent["max_tokens"]) == (3, 1.0, -1, 0.0, 16)
    assert "Authorization" not in behaviour.headers[0] or os.environ.get("OPENAI_API_KEY")


@pytest.mark.parametrize("given", [{"honours_n": False}, {"refuses_n": True}])
def test_k_requests_where_n_is_not_honoured(tmp_path: Path, given: dict[str, bool]) -> None:
    behaviour = Behaviour(**given)  # type: ignore[arg-type]
    with serving(behaviour) as url:
        found = ask(tmp_path / "r.jsonl", url, concurrency=1)
    assert [body["n"] for body in behaviour.asked].count(3) == 1  # asked once, then believed
    assert all(len({r.text for r in a.responses}) == 3 for a in found.answers)
    assert {r.tokens for a in found.answers for r in a.responses} == {7}
    assert [r.sample for r in found.answers[3].responses] == [0, 1, 2]


def test_failures_that_pass_are_waited_out(tmp_path: Path) -> None:
    for behaviour in (Behaviour(fails=2), Behaviour(fails=2, status=429), Behaviour(drops=2)):
        with serving(behaviour) as url:
            found = ask(tmp_path / f"{id(behaviour)}.jsonl", url, prompts=PROMPTS[:1])
        assert len(behaviour.asked) == 3 and len(found.answers) == 1


def test_failures_that_stay_are_told(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(SpectraError, match=r"completions failed 3 times, last with ConnectionRefusedError.*resume"):
        ask(tmp_path / "down.jsonl", down)
    hasty = Patience(timeout_seconds=0.2, tries=2, pause_seconds=0.01)
    for behaviour, match in (
        (Behaviour(fails=99), "failed 3 times, last with status 503: .*overloaded"),
        (Behaviour(fails=99, status=401), "refused with status 401"),
        (Behaviour(fails=99, status=400), r"'q\d': POST .* status 400.* has 3 tokens and up to 16"),
        (Behaviour(garbage=b"<html>hello</html>"), "answered '<html>hello</html>'; expected a JSON object"),
        (Behaviour(garbage=b'{"error": "no"}'), "expected `choices`"),
        (Behaviour(garbage=b'{"choices": [{"message": {}}]}'), "expected `choices`"),
        (Behaviour(hangs=True), "failed 2 times, last with no answer within 0.2 s"),
    ):
        with serving(behaviour) as url, pytest.raises(SpectraError, match=match):
            ask(tmp_path / f"{id(behaviour)}.jsonl", url, patience=hasty if behaviour.hangs else QUICK)
    with pytest.raises(SpectraError, match="expected one like"):
        engine("localhost:8000")


def test_identical_samples_are_reported_not_believed(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    with serving(Behaviour(identical="The same long answer. " * 9)) as url:
        with pytest.raises(
            SpectraError, match=r"5 questions got 3 identical samples each at temperature 1.*does not sample"
        ):
            ask(out, url)
        assert load_responses(out).answers == ()
        assert ask(tmp_path / "few.jsonl", url, prompts=PROMPTS[:2]).notes == {"identical": 2}
        assert ask(tmp_path / "greedy.jsonl", url, SamplingOptions(max_tokens=4)).notes == {}
    with serving(Behaviour(identical="yes")) as url:  # short answers can well be the same
        assert ask(out, url).notes == {"identical": 8}


def test_other_prompt_tokens_are_noted(tmp_path: Path) -> None:
    with serving(Behaviour(extra_prompt_tokens=1)) as url:
        found = ask(tmp_path / "r.jsonl", url)
    assert found.notes == {"prompt_tokens": 8}
    assert found.answers[0].notes == ("prompt_tokens 4 there, 3 here",)


def test_key_stop_window_and_penalty_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    behaviour = Behaviour(identical="abc Human: x")
    options = SamplingOptions(stop=("Human", "Assistant"), repetition_penalty=1.1, window=12, max_tokens=16)
    with serving(behaviour) as url:
        found = ask(tmp_path / "r.jsonl", url, options, PROMPTS[:1], key_variable="A_KEY")
    assert behaviour.headers[0]["Authorization"] == "Bearer secret"
    sent = behaviour.asked[0]
    assert sent["stop"] == ["Human", "Assistant"] and sent["max_tokens"] == 9
    assert sent["repetition_penalty"] == sent["repeat_penalty"] == 1.1
    response = found.answers[0].responses[0]
    assert (response.text, response.finish) == ("abc ", "stop")


OPENAI = frozenset(["model", "prompt", "max_tokens", "temperature", "top_p", "n", "seed", "stream", "stop"])
STATED = {"num_beams": 1, "repetition_penalty": 1.0}


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (SAMPLED, STATED | {"do_sample": True, "top_k": 0, "min_p": 0.0}),
        (
            SamplingOptions(max_tokens=4, repetition_penalty=1.1),
            STATED | {"repetition_penalty": 1.1, "do_sample": False},
        ),
    ],
)
def test_a_server_with_fields_of_its_own_is_told_in_them(
    tmp_path: Path, options: SamplingOptions, config: dict[str, Any]
) -> None:
    behaviour = Behaviour(knows=OPENAI | {"generation_config"}, pause=0.02)
    with serving(behaviour) as url:
        found = ask(tmp_path / "r.jsonl", url, options, concurrency=4)
    assert found.notes == {} and len(found.answers) == 8
    refused = [sent for sent in behaviour.asked if "generation_config" not in sent]
    assert 1 <= len(refused) <= 4  # those that were on their way when the first was refused
    assert all(json.loads(sent["generation_config"]) == config for sent in behaviour.asked if sent not in refused)


def test_what_a_server_cannot_be_told_is_noted_or_refused(tmp_path: Path) -> None:
    for refusal in ("unknown fields {fields}", "Unexpected fields in the request: {fields}"):
        with serving(Behaviour(knows=OPENAI, refusal=refusal)) as url:
            found = ask(tmp_path / f"{len(refusal)}.jsonl", url, concurrency=1)
            assert found.notes == {"unstated": 8}
            assert all("top_k, min_p, repetition_penalty" in a.notes[0] for a in found.answers)
            with pytest.raises(SpectraError, match=r"so repetition_penalty=1\.1 cannot be asked"):
                ask(tmp_path / "p.jsonl", url, SamplingOptions(max_tokens=4, repetition_penalty=1.1))
            with pytest.raises(SpectraError, match="so top_k=5 cannot be asked"):
                ask(tmp_path / "k.jsonl", url, SamplingOptions(samples=2, temperature=1, top_k=5))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forked beside the server's thread
def test_killed_five_times_ends_with_the_same_file(tmp_path: Path) -> None:
    prompts = [Prompt(id=f"q{i}", text=f"Human: {i}\nAssistant:", ids=(1, 2, 3)) for i in range(24)]
    straight, killed = tmp_path / "straight.jsonl", tmp_path / "killed.jsonl"
    with serving(Behaviour(pause=0.03, honours_n=False)) as url:
        for number in range(5):
            pid = os.fork()
            if not pid:
                try:
                    ask(killed, url, prompts=prompts, concurrency=2)
                finally:
                    os._exit(0)
            deadline = time.monotonic() + 60
            while not killed.exists() or killed.read_bytes().count(b"\n") < 3 * number + 3:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            assert not load_responses(killed).complete
        ask(killed, url, prompts=prompts, concurrency=2)
        ask(straight, url, prompts=prompts)
    assert killed.read_bytes() == straight.read_bytes()
