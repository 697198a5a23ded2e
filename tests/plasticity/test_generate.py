"""Generation in this process: equal to `generate()`, whatever the batch; resumed, windowed, stopped."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticity.generate import Generation, Progress, generate
from plasticity.generate_hf import HuggingFaceEngine
from plasticity.generate_model import CausalModel
from plasticity.generate_noise import gumbel
from plasticity.generate_options import Prompt, SamplingOptions, key
from plasticity.generate_plan import Limits, plan
from plasticity.responses import load_responses
from spectra.errors import SpectraError

STORIES = Path(__file__).resolve().parents[3] / "shared" / "data" / "models" / "stories260k"
TASK = {"name": "test", "version": 1}


class Letters:
    """A tokenizer for tests: token i is a character; EOS is token 0."""

    eos_token_id = 0

    def decode(self, ids: list[int], **options: Any) -> str:
        return "".join(chr(64 + i) for i in ids if i)


def tiny(kind: str = "llama", **settings: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    if kind == "gpt2":
        config: Any = GPT2Config(
            vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=96, eos_token_id=0, bos_token_id=None,
            initializer_range=0.3,
        )  # fmt: skip
        return GPT2LMHeadModel(config).eval()
    sizes = {
        "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 96, "eos_token_id": 0, "bos_token_id": None, "initializer_range": 0.3,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**(sizes | settings))).eval()


def engine(model: Any = None, **settings: Any) -> HuggingFaceEngine:
    return HuggingFaceEngine(**({"model": model or tiny(), "tokenizer": Letters(), "name": "tiny"} | settings))


def prompts(n: int = 33, longest: int = 40) -> list[Prompt]:
    rng = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, longest + 1, (n,), generator=rng).tolist()
    ids = [tuple(torch.randint(1, 60, (length,), generator=rng).tolist()) for length in lengths]
    return [Prompt(id=f"q{i}", text="", ids=one) for i, one in enumerate(ids)]


GREEDY = SamplingOptions(max_tokens=24)
SAMPLED = SamplingOptions(samples=3, temperature=1.0, max_tokens=16, seed=5)
COUNT = iter(range(10**6))


def ask(tmp_path: Path, asked: list[Prompt], engine_: Any, options: SamplingOptions) -> Generation:
    return generate(asked, engine_, options, tmp_path / f"{next(COUNT)}.jsonl", task=TASK)


def texts(found: Generation) -> dict[str, list[str]]:
    return {a.question_id: [r.text for r in a.responses] for a in found.answers}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_greedy_equals_generate(tmp_path: Path, kind: str, penalty: float) -> None:
    model, asked = tiny(kind), prompts(12)
    found = ask(tmp_path, asked, engine(model), SamplingOptions(max_tokens=24, repetition_penalty=penalty))
    for prompt, answers in zip(asked, found.answers, strict=True):
        ids = torch.tensor([prompt.ids])
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, repetition_penalty=penalty, pad_token_id=0
        )[0, len(prompt.ids) :].tolist()  # fmt: skip
        [response] = answers.responses
        assert response.text == Letters().decode(made)
        assert response.tokens == len(made)
        assert response.finish == ("stop" if made[-1] == 0 else "length")


def test_batch_sizes_give_the_same_answers(tmp_path: Path) -> None:
    for kind in ("llama", "gpt2"):
        model = tiny(kind)
        for options in (GREEDY, SAMPLED):
            asked = prompts() if options is GREEDY else prompts(15)
            one, seven, many = (
                texts(ask(tmp_path, asked, engine(model, batch_size=size), options)) for size in (1, 7, 32)
            )
            assert one == seven == many


@pytest.mark.parametrize("filters", [{"top_k": 5}, {"top_p": 0.7}, {"top_k": 9, "top_p": 0.9}])
def test_filters_are_those_of_transformers(tmp_path: Path, filters: dict[str, Any]) -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    from plasticity.generate_choose import _cut

    scores = torch.randn(50, 60, generator=torch.Generator().manual_seed(0)) * 3
    options = SamplingOptions(temperature=1.0, **filters)
    kept = scores >= _cut(scores, torch.zeros(50, 1), options)
    wanted = scores
    if options.top_k:
        wanted = TopKLogitsWarper(options.top_k)(None, wanted)  # type: ignore[arg-type]
    if options.top_p < 1:
        wanted = TopPLogitsWarper(options.top_p)(None, wanted)  # type: ignore[arg-type]
    assert torch.equal(kept, wanted.isfinite())
    model = tiny()
    options = SamplingOptions(samples=2, temperature=1.0, max_tokens=8, **filters)
    one, many = (texts(ask(tmp_path, prompts(9), engine(model, batch_size=size), options)) for size in (1, 32))
    assert one == many


def test_samples_do_not_depend_on_other_questions_nor_on_how_many(tmp_path: Path) -> None:
    model, asked = tiny(), prompts(9)
    found = texts(ask(tmp_path, asked, engine(model), SAMPLED))
    some = texts(ask(tmp_path, asked[::-2], engine(model), SAMPLED))
    assert some == {id_: found[id_] for id_ in some}
    more = texts(
        ask(tmp_path, asked, engine(model), SamplingOptions(samples=5, temperature=1.0, max_tokens=16, seed=5))
    )
    assert {id_: got[:3] for id_, got in more.items()} == found
    other = texts(
        ask(tmp_path, asked, engine(model), SamplingOptions(samples=3, temperature=1.0, max_tokens=16, seed=6))
    )
    assert other != found and all(len(set(got)) > 1 for got in found.values())


def test_samples_share_one_prompt_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    prefill = CausalModel.prefill
    monkeypatch.setattr(CausalModel, "prefill", lambda self, ids: passes.append(len(ids)) or prefill(self, ids))  # type: ignore[func-returns-value]
    asked = [p for p in prompts(20) if len(p.ids) == len(prompts(20)[0].ids)][:1]
    model = tiny()
    options = SamplingOptions(samples=16, temperature=1.0, max_tokens=8)
    shared = texts(ask(tmp_path, asked, engine(model, batch_size=16), options))
    assert passes.count(1) == 1
    separate = texts(ask(tmp_path, asked, engine(model, batch_size=1), options))
    assert passes.count(1) == 17 and shared == separate


@pytest.mark.parametrize(
    "options", [GREEDY, SAMPLED, SamplingOptions(samples=2, temperature=1.0, top_k=4, max_tokens=16)]
)
def test_near_ties_are_chosen_from_the_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: SamplingOptions
) -> None:
    """Logits of batches are put off by rounding-sized noise, in a model where every token nearly ties with another one."""
    model, asked = tiny(), prompts(9)
    with torch.no_grad():
        model.lm_head.weight[30:] = model.lm_head.weight[:30] * (1 + 2e-7)
    rng = torch.Generator().manual_seed(0)
    call = CausalModel._call

    def rounded(self: CausalModel, *given: Any) -> Any:
        logits, cache = call(self, *given)
        return logits + 2e-6 * logits.abs().max() * torch.randn(logits.shape, generator=rng), cache

    wanted = texts(ask(tmp_path, asked, engine(model, batch_size=1), options))
    monkeypatch.setattr(CausalModel, "_call", rounded)
    assert texts(ask(tmp_path, asked, engine(model), options)) == wanted
    if options.temperature == 0:
        assert texts(ask(tmp_path, asked, engine(model, exact=False), options)) != wanted


def test_half_precision_is_exact_on_request_only(tmp_path: Path) -> None:
    model = tiny().to(torch.bfloat16)
    assert not engine(model).describe()["exact"] and engine(tiny()).describe()["exact"]
    options = SamplingOptions(max_tokens=12)
    one, many = (texts(ask(tmp_path, prompts(9), engine(model, batch_size=n, exact=True), options)) for n in (1, 32))
    assert one == many


def test_noise_is_gumbel_and_samples_follow_the_softmax() -> None:
    words = [key(0, "q", 0, position) for position in range(20000)]
    noise = gumbel(words, 24, torch.device("cpu"))
    assert noise.isfinite().all()
    assert abs(float(noise.mean()) - 0.57722) < 0.01 and abs(float(noise.var()) - 1.64493) < 0.03
    logits = torch.linspace(-4, 2, 24)
    counts = torch.bincount((logits + noise).argmax(dim=1), minlength=24).double()
    expected = logits.double().softmax(0) * len(words)
    assert float(((counts - expected) ** 2 / expected).sum()) < 49.7  # chi-square, 23 degrees, p = 0.001
    correlation = torch.corrcoef(noise[:-1, :].T.contiguous())
    assert float((correlation - torch.eye(24)).abs().max()) < 0.04


def test_a_model_that_padding_would_change_gets_batches_of_one_length(tmp_path: Path) -> None:
    model, asked = tiny(), prompts(9)
    wanted = texts(ask(tmp_path, asked, engine(model), GREEDY))
    forward = model.forward

    def deaf(**given: Any) -> Any:  # a model that takes no position ids and looks at padding
        return forward(**{k: v for k, v in given.items() if k not in {"attention_mask", "position_ids"}})

    model.forward = deaf
    assert not CausalModel(model).padding_is_harmless(asked)
    assert texts(ask(tmp_path, asked, engine(model), GREEDY)) == wanted


def test_stop_strings_end_a_response_before_them(tmp_path: Path) -> None:
    model, asked = tiny(), prompts(9)
    whole = texts(ask(tmp_path, asked, engine(model), GREEDY))
    stop = whole["q0"][0][4:7]
    options = SamplingOptions(max_tokens=24, stop=(stop, "not there"))
    found = ask(tmp_path, asked, engine(model), options)
    for answers in found.answers:
        text = whole[answers.question_id][0]
        assert answers.responses[0].text == text.split(stop)[0]
        if stop in text:
            assert answers.responses[0].finish == "stop"
            assert answers.responses[0].tokens == text.index(stop) + 3


def test_too_long_prompts_are_counted_never_cut(tmp_path: Path) -> None:
    asked = [Prompt(id=str(n), text="", ids=(5,) * n) for n in (3, 94, 95, 96, 200)]
    model = tiny(eos_token_id=59)
    found = ask(
        tmp_path, asked, engine(model, tokenizer=Letters()), SamplingOptions(max_tokens=8, samples=2, temperature=1)
    )
    assert found.too_long == ("96", "200") and found.finishes["too_long"] == 4
    by_id = {a.question_id: a.responses[0] for a in found.answers}
    assert by_id["200"].text == "" and by_id["95"].tokens == 1
    assert by_id["95"].finish in {"window", "stop"}
    with pytest.raises(SpectraError, match="2 of 5 prompts leave no room in a window of 96"):
        ask(tmp_path, asked, engine(model), SamplingOptions(max_tokens=8, too_long="refuse"))
    assert ask(tmp_path, asked[:1], engine(model), SamplingOptions(max_tokens=8, window=3)).too_long == ("3",)


def test_plan_keeps_to_its_limits() -> None:
    asked = prompts(40)
    options = SamplingOptions(samples=16, temperature=1.0, max_tokens=10)
    for limits in (Limits(rows=7, tokens=10**6), Limits(rows=64, tokens=900), Limits(rows=64, tokens=1, equal=True)):
        batches = plan(asked, options, limits)
        for batch in batches:
            rows = sum(share.count for share in batch)
            longest = max(len(share.prompt.ids) for share in batch)
            assert rows <= limits.rows and (rows == 1 or rows * (longest + 10) <= limits.tokens)
            assert not limits.equal or len({len(share.prompt.ids) for share in batch}) == 1
        drawn = sorted((s.prompt.id, s.first + i) for b in batches for s in b for i in range(s.count))
        assert drawn == sorted((p.id, i) for p in asked for i in range(16))


def test_logits_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """NaN from the first token, from a later one, and nothing left to choose; tokens that are ruled out are fine."""
    asked = prompts(5)
    broken = tiny()
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    with pytest.raises(SpectraError, match=r"not finite at token 1 of the response to question 'q\d'"):
        ask(tmp_path, asked, engine(broken), GREEDY)
    model = tiny().to(torch.bfloat16)
    forward, calls = model.forward, []

    def later(bad: float, *rows: Any) -> Any:
        def run(**given: Any) -> Any:
            found = forward(**given)
            calls.append(1)
            if len(calls) > 8:
                found.logits[rows] = bad
            return found

        return run

    for bad, rows in ((float("nan"), (0, -1, 5)), (float("inf"), (0, -1, 5)), (-float("inf"), (0,))):
        calls.clear()
        model.forward = later(bad, *rows)
        with pytest.raises(SpectraError, match=r"not finite at token [2-9] .*bfloat16 is too narrow.*--precision fp32"):
            ask(tmp_path, asked, engine(model), GREEDY)
    calls.clear()
    model.forward = later(-float("inf"), slice(None), -1, 5)
    for options in (GREEDY, SAMPLED):
        assert len(ask(tmp_path, asked, engine(model), options).answers) == 5


def test_what_half_precision_depends_on_is_in_the_header(tmp_path: Path) -> None:
    """Responses of bf16 change with what is computed together, so such a file is not gone on with."""
    asked, half = prompts(5), tiny().to(torch.bfloat16)
    described = engine(half, batch_size=3).describe()
    assert (described["batch_size"], described["batch_tokens"], described["device"]) == (3, None, "cpu")
    assert {"torch", "transformers"} <= set(described)
    generate(asked, engine(half, batch_size=3), GREEDY, tmp_path / "half.jsonl", task=TASK)
    with pytest.raises(SpectraError, match=r"batch_size \(3 there, 4 here\)"):
        generate(asked, engine(half, batch_size=4), GREEDY, tmp_path / "half.jsonl", task=TASK, resume=True)
    generate(asked, engine(batch_size=3), GREEDY, tmp_path / "whole.jsonl", task=TASK)
    generate(
        asked, engine(batch_size=4), GREEDY, tmp_path / "whole.jsonl", task=TASK, resume=True
    )  # the same in any batch


def test_limits_come_from_the_cache_and_a_batch_size_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from plasticity import generate_memory
    from plasticity.generate_memory import limits

    for kind, settings in (("llama", {}), ("gpt2", {}), ("llama", {"num_hidden_layers": 4, "num_key_value_heads": 4})):
        model = tiny(kind, **settings)
        layers, heads = model.config.num_hidden_layers, settings.get("num_key_value_heads", 4 if kind == "gpt2" else 2)
        of_row, of_token = generate_memory._costs(CausalModel(model))
        assert of_token == 2 * 4 * layers * heads * 8  # keys and values, float32, 8 numbers a head
        assert of_row == 4 * 8 * 60
    model = CausalModel(tiny())
    monkeypatch.setattr(generate_memory, "_CPU_BYTES", 1 << 20)
    found = limits(model, None, None)
    assert found == Limits(rows=128, tokens=2048)  # 2^18 / 1920 and 3 * 2^18 / 256, rounded down to powers of two
    monkeypatch.setattr(generate_memory, "_CPU_BYTES", (1 << 20) - 5000)  # a little less room: the same batches
    assert limits(model, None, None) == found
    assert limits(model, 1000, None) == Limits(rows=1000, tokens=None)
    assert limits(model, None, 70) == Limits(rows=256, tokens=70)
    options = SamplingOptions(samples=16, temperature=1.0, max_tokens=1024)
    [first, *_] = plan(prompts(200), options, limits(model, 1000, None))
    assert sum(share.count for share in first) == 992  # whole questions of 16 samples


def test_too_little_memory_names_options_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *given: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    half = tiny().to(torch.bfloat16)
    made = [engine(batch_size=4), engine(half, batch_size=4), engine(batch_size=1), engine(half)]
    for one in made:
        one.describe()
    monkeypatch.setattr(CausalModel, "step", fail)
    for one, said in zip(
        made[:3],
        ("resume with --batch-size below 4", "begin anew with --batch-size below 4", "not even one fits.*--max-tokens"),
        strict=True,
    ):
        with pytest.raises(
            SpectraError, match=rf"Out of device memory with \d samples of up to 40 \+ 24 tokens; {said}"
        ):
            ask(tmp_path, prompts(), one, GREEDY)
    monkeypatch.setattr(CausalModel, "prefill", fail)
    with pytest.raises(SpectraError, match="no room beside the model"):
        engine(half).describe()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_five_times_ends_with_the_same_file(tmp_path: Path) -> None:
    model, asked = tiny(), prompts(24)
    straight, killed = tmp_path / "straight.jsonl", tmp_path / "killed.jsonl"

    def run(out: Path, pause: float = 0.0) -> None:
        def slow(progress: Progress) -> None:
            time.sleep(pause)

        generate(asked, engine(model, batch_size=7), SAMPLED, out, task=TASK, resume=True, listener=slow)

    for number in range(5):
        pid = os.fork()
        if not pid:
            try:
                torch.set_num_threads(1)
                run(killed, pause=0.05)
            finally:
                os._exit(0)
        deadline = time.monotonic() + 60
        while not killed.exists() or killed.read_bytes().count(b"\n") < 3 * number + 3:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert not load_responses(killed).complete
        if number == 2:
            killed.write_bytes(killed.read_bytes()[:-9])  # a torn line
    run(killed)
    run(straight)
    assert killed.read_bytes() == straight.read_bytes()
    found = load_responses(straight)
    assert found.complete and [a.question_id for a in found.answers] == [p.id for p in asked]
    assert json.loads(straight.read_text().splitlines()[0])["header"]["options"]["top_k"] == 0


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    asked = prompts(2)
    for given, match in (
        ({"samples": 16}, "16 samples at temperature 0"), ({"top_p": 0.0}, "top_p is 0.0"), ({"stop": ("",)}, "stop is"),
        ({"temperature": -1.0}, "temperature is -1.0"), ({"window": 1}, "window is 1"),
    ):  # fmt: skip
        with pytest.raises(SpectraError, match=match):
            SamplingOptions(**given)  # type: ignore[arg-type]
    with pytest.raises(SpectraError, match="no prompts"):
        ask(tmp_path, [], engine(), GREEDY)
    with pytest.raises(SpectraError, match="'q0' occurs more than once"):
        ask(tmp_path, [asked[0], asked[0]], engine(), GREEDY)
    with pytest.raises(SpectraError, match="has no tokens"):
        ask(tmp_path, [Prompt(id="x", text="", ids=())], engine(), GREEDY)
    with pytest.raises(SpectraError, match="batch_size is 0"):
        engine(batch_size=0)


@pytest.mark.skipif(not STORIES.exists(), reason="needs shared/data")
def test_a_trained_model_with_its_own_tokenizer(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(STORIES), AutoTokenizer.from_pretrained(STORIES)
    model.eval()
    starts = ("Once upon a time", "Lily and Ben", "The dog", "One day, a little girl named Sue went to the park")
    asked = [
        Prompt(id=text, text=text, ids=tuple(tokenizer(text, add_special_tokens=False).input_ids)) for text in starts
    ]
    both = []
    for size in (1, 32):
        made = engine(model, tokenizer=tokenizer, name="stories", batch_size=size)
        both.append(texts(ask(tmp_path, asked, made, SamplingOptions(max_tokens=40))))
        stopped = ask(tmp_path, asked, made, SamplingOptions(max_tokens=40, stop=(". ",)))
        assert all(". " not in r.text for a in stopped.answers for r in a.responses)
    assert both[0] == both[1]
    for prompt in asked:
        ids = torch.tensor([prompt.ids])
        found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
        wanted = tokenizer.decode(
            found[0, len(prompt.ids) :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert both[0][prompt.id] == [wanted]


GSM8K = STORIES.parents[1] / "gsm8k" / "test.jsonl"


@pytest.mark.slow
@pytest.mark.skipif(not (STORIES.exists() and GSM8K.exists()), reason="needs shared/data")
@pytest.mark.parametrize(("count", "samples"), [(40, 1), (8, 3)])
def test_real_questions_to_a_trained_model_get_the_same_answers_in_every_batch(
    tmp_path: Path, count: int, samples: int
) -> None:
    """Prompts of 78 to 286 tokens, in the task's template, to a model with grouped queries: batches of 1, 7, 32 and of all."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from plasticity.tasks.encoding import prompt_ids
    from plasticity.tasks.loading import load
    from plasticity.tasks.registry import get

    model, tokenizer = AutoModelForCausalLM.from_pretrained(STORIES), AutoTokenizer.from_pretrained(STORIES)
    task = get("metamathqa")
    questions = load(task, "test", data=GSM8K, limit=count).items
    asked = [
        Prompt(id=q.id, text=task.prompt(q.question), ids=prompt_ids(task, q.question, tokenizer)) for q in questions
    ]
    assert len(asked) == count and len({len(p.ids) for p in asked}) > count // 2
    options = SamplingOptions(max_tokens=48, samples=samples, temperature=0.0 if samples == 1 else 1.0)
    found = [
        texts(ask(tmp_path, asked, engine(model, tokenizer=tokenizer, name="s", batch_size=size), options))
        for size in (1, 7, 32, 256)
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert len({text for answers in found[0].values() for text in answers}) > count * samples // 2
