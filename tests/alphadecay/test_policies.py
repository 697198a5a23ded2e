"""When policies measure, what degenerate modules do to them, their state, their groups, what they refuse."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from alphadecay import (
    AdaptiveWeightDecay,
    AlphaDecay,
    GroupOptions,
    Uniform,
)
from spectra.errors import SpectraError
from tests.spectra.tiny_models import build_tiny

from . import reference
from .conftest import backward, tiny_llama
from .scoring import RATIO, step


def test_gap() -> None:
    """Measured before step 1, then gap, 2 gap, ...; between, the decays stand."""
    model = tiny_llama()
    policy = AlphaDecay(model, base=0.1, gap=3)
    optimizer = torch.optim.AdamW(policy.param_groups(), lr=0.1)
    seen = []
    for seed in range(7):
        optimizer.zero_grad()
        backward(model, seed)
        policy.step(optimizer)
        seen.append((policy.steps, policy.measured_at))
        optimizer.step()
    assert seen == [(1, 1), (2, 1), (3, 3), (4, 3), (5, 3), (6, 6), (7, 6)]


def test_degenerate_modules_keep_the_base_and_do_not_set_the_scale(tmp_path: Path) -> None:
    model, clean = tiny_llama(), tiny_llama()
    bad = {
        "model.layers.0.self_attn.q_proj.weight": "degenerate",
        "model.layers.0.mlp.up_proj.weight": "non_finite",
        "model.layers.1.self_attn.q_proj.weight": "degenerate",
    }
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        parameters["model.layers.0.self_attn.q_proj.weight"].zero_()
        parameters["model.layers.0.mlp.up_proj.weight"].fill_(math.nan)
        parameters["model.layers.1.self_attn.q_proj.weight"].copy_(
            torch.eye(32) * 3
        )  # an infinite alpha, if it were one
    log = tmp_path / "decay.jsonl"
    policy = AlphaDecay(model, base=0.1, ratio=RATIO, options=GroupOptions(log=log))
    step(policy)
    reference_policy = AlphaDecay(clean, base=0.1, ratio=RATIO)
    step(reference_policy)
    good = {n: s.value for n, s in reference_policy.scores.items() if n not in bad}
    expected = dict.fromkeys(bad, 0.1) | reference.linear(good, 0.1, *RATIO)  # type: ignore[arg-type]
    assert policy.decays == pytest.approx(expected)
    lines = {r["module"]: r for r in map(json.loads, log.read_text().splitlines()) if "module" in r}
    assert {name: lines[name]["status"] for name in bad} == bad
    assert all(lines[name]["alpha"] is None and lines[name]["decay"] == 0.1 for name in bad)


def test_state_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Twice three steps with a new policy, model and optimizer in between equal six steps; the log too."""

    def run(model: Any, policy: Any, optimizer: Any, seeds: range) -> None:
        for seed in seeds:
            optimizer.zero_grad()
            backward(model, seed)
            policy.step(optimizer)
            optimizer.step()

    def fresh(name: str) -> tuple[Any, Any, Any]:
        model = tiny_llama()
        policy = AlphaDecay(model, base=0.1, gap=2, options=GroupOptions(log=tmp_path / name))
        return model, policy, torch.optim.AdamW(policy.param_groups(), lr=0.05)

    straight, policy, optimizer = fresh("a.jsonl")
    run(straight, policy, optimizer, range(6))
    first, policy_1, optimizer_1 = fresh("b.jsonl")
    run(first, policy_1, optimizer_1, range(3))
    saved = copy.deepcopy((json.loads(json.dumps(policy_1.state_dict())), first.state_dict(), optimizer_1.state_dict()))
    run(first, policy_1, optimizer_1, range(3, 5))  # what was done after the save is lost, its log lines too
    second, policy_2, optimizer_2 = fresh("b.jsonl")
    second.load_state_dict(saved[1])
    optimizer_2.load_state_dict(saved[2])
    policy_2.load_state_dict(saved[0])
    run(second, policy_2, optimizer_2, range(3, 6))
    for (name, a), b in zip(straight.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert timeless(tmp_path / "a.jsonl") == timeless(tmp_path / "b.jsonl")


def timeless(log: Path) -> list[dict[str, Any]]:
    """The lines of a log without the seconds that each took."""
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in log.read_text().splitlines()]


def test_state_of_another_policy_or_model_is_refused() -> None:
    model = tiny_llama()
    saved = AlphaDecay(model, base=0.1).state_dict()
    with pytest.raises(SpectraError, match=r"base was 0\.1 and is 0\.2"):
        AlphaDecay(model, base=0.2).load_state_dict(saved)
    with pytest.raises(SpectraError, match="another model"):
        AlphaDecay(tiny_llama(num_hidden_layers=3), base=0.1).load_state_dict(saved)


def test_async_applies_what_was_measured_at_most_gap_steps_late() -> None:
    model = tiny_llama()
    policy = AlphaDecay(model, base=0.1, gap=4, mode="async")
    optimizer = torch.optim.AdamW(policy.param_groups(), lr=0.05)
    sync = AlphaDecay(tiny_llama(), base=0.1, gap=4)
    step(sync)
    for seed in range(5):
        optimizer.zero_grad()
        backward(model, seed)
        policy.step(optimizer)
        if policy.measured_at == 1:
            assert policy.decays == sync.decays  # the copy of step 1, whatever training did since
        optimizer.step()
    assert policy.measured_at in (1, 4)
    policy.finish()
    saved = json.loads(json.dumps(policy.state_dict()))
    again = AlphaDecay(model, base=0.1, gap=4, mode="async")
    again.load_state_dict(saved)
    again.update()
    assert again.measured_at == 4


def test_groups_are_matched_by_name() -> None:
    """An optimizer whose groups came back in another order gets the same decays; other groups are refused."""
    policy = AlphaDecay(tiny_llama(), base=0.1)
    optimizer = torch.optim.AdamW(policy.param_groups()[::-1], lr=1e-3)
    policy.step(optimizer)
    for group in optimizer.param_groups:
        assert group["weight_decay"] == policy.decay_of(group["name"])
    with pytest.raises(SpectraError, match=r"policy.param_groups\(\)"):
        policy.step(torch.optim.AdamW(tiny_llama().parameters(), lr=1e-3))


def test_exempt_and_biases() -> None:
    model = build_tiny("gpt2")
    policy = Uniform(model, base=0.1, options=GroupOptions(exempt=("*wte*", "*ln_*")))
    groups = {g["name"]: g for g in policy.param_groups()}
    assert groups["exempt"]["weight_decay"] == 0.0
    names = {id(p): n for n, p in model.named_parameters()}
    assert all("wte" in names[id(p)] or "ln_" in names[id(p)] for p in groups["exempt"]["params"])
    with_bias = AlphaDecay(model, base=0.1, options=GroupOptions(biases="module"))
    group = next(g for g in with_bias.param_groups() if g["name"] == "transformer.h.0.mlp.c_fc.weight")
    assert [names[id(p)] for p in group["params"]] == [
        "transformer.h.0.mlp.c_fc.bias",
        "transformer.h.0.mlp.c_fc.weight",
    ] or [names[id(p)] for p in group["params"]] == ["transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.bias"]
    with pytest.raises(SpectraError, match="no trainable parameter is called 'nothing'"):
        Uniform(model, base=0.1, options=GroupOptions(exempt=("nothing",)))
    with pytest.raises(SpectraError, match="leaves no parameter"):
        Uniform(model, base=0.1, options=GroupOptions(exempt=("*",)))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inside torch.compile
def test_wrapped_models_have_the_same_groups() -> None:
    model = tiny_llama()
    compiled = torch.compile(model)
    plain, wrapped = AlphaDecay(model, base=0.1), AlphaDecay(compiled, base=0.1)  # type: ignore[arg-type]
    assert [g["name"] for g in plain.param_groups()] == [g["name"] for g in wrapped.param_groups()]


def test_bfloat16_weights() -> None:
    model = tiny_llama().to(torch.bfloat16)
    policy = AlphaDecay(model, base=0.1)
    step(policy)
    wide = AlphaDecay(tiny_llama().to(torch.bfloat16).float(), base=0.1)
    step(wide)
    assert policy.decays == pytest.approx(wide.decays)


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")  # inside peft
def test_lora_factors_are_no_modules() -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(r=4, target_modules=["q_proj"]))
    with pytest.raises(SpectraError, match="LoRA"):
        AlphaDecay(model, base=0.1)
    assert len(Uniform(model, base=0.1).param_groups()) == 1


def test_awd_goes_on_over_an_overflow(tmp_path: Path) -> None:
    model, log = tiny_llama(), tmp_path / "decay.jsonl"
    policy = AdaptiveWeightDecay(model, base=0.1, options=GroupOptions(log=log))
    backward(model)
    next(model.parameters()).grad[0, 0] = math.inf  # type: ignore[index]
    policy.update()
    assert policy.base == 0.0
    assert json.loads(log.read_text().splitlines()[-1])["status"] == "non_finite"


def test_gradients_that_overflow_are_measured_again_at_the_next_step() -> None:
    model = tiny_llama()
    policy = AlphaDecay(model, base=0.1, gap=100, score="gradient_norm")
    backward(model)
    for parameter in model.parameters():
        parameter.grad.fill_(math.nan)
    policy.update()
    assert set(policy.decays.values()) == {0.1}
    model.zero_grad()
    backward(model)
    policy.update()
    assert policy.measured_at == 2 and len(set(policy.decays.values())) > 5


def test_frozen_models_are_refused() -> None:
    model = tiny_llama()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.lm_head.weight.requires_grad_(True)
    with pytest.raises(SpectraError, match="uniform decay"):
        AlphaDecay(model, base=0.1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base": -0.1}, "at least 0"),
        ({"base": math.nan}, "at least 0"),
        ({"base": 0.1, "gap": 0}, "at least 1 step"),
        ({"base": 0.1, "mode": "later"}, "Unknown mode 'later'"),
        ({"base": 0.1, "score": "beta"}, "Unknown score 'beta'"),
        ({"base": 0.1, "fit": "median"}, "Unknown fit 'median'"),
        ({"base": 0.1, "profile": "farms"}, "Unknown profile 'farms'"),
    ],
)
def test_bad_options(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        AlphaDecay(tiny_llama(), **given)
