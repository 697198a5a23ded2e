"""What names a checkpoint: what must change it and what must not; what a run folder says; the prompts of training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plasticity.base_model import BaseModel, load_base, load_tokenizer
from plasticity.identity import PROMPT_CHECK, check_prompts, files, header, identity, prompt_check, trained
from plasticity.tasks import registry
from plasticity.tasks.encoding import prompt_ids
from spectra.errors import SpectraError
from tests.plasticity.reward_checkpoints import tiny, write, write_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models") / "m", tiny("causal"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def append(path: Path) -> None:
    with path.open("ab") as f:
        f.write(b"x")


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda at: append(at / "model.safetensors"), "weights_sha256"),
        (
            lambda at: edit(at / "config.json", rope_parameters={"rope_theta": 5.0, "rope_type": "default"}),
            "config_sha256",
        ),
        (lambda at: edit(at / "generation_config.json", eos_token_id=7), "config_sha256"),
        (lambda at: (at / "model.safetensors.index.json").write_text("{}"), "config_sha256"),
        (lambda at: (at / "other.safetensors").write_bytes(b"x"), "weights_sha256"),
        (lambda at: write_tokenizer(at, kind="bert"), "tokenizer_sha256"),
        (lambda at: (at / "README.md").write_text("x"), None),
        (lambda at: (at / "optimizer.pt").write_bytes(b"x"), None),
    ],
)
def test_a_change_in_place_changes_the_header(
    model: Path, tmp_path: Path, change: Callable[[Path], Any], moved: str | None
) -> None:
    copy = shutil.copytree(model, tmp_path / "m")
    before = identity(load_tokenizer(str(copy)))
    assert header(before) == header(identity(load_tokenizer(str(model))))  # where it lies does not matter
    change(copy)
    after = identity(load_tokenizer(str(copy)))
    names = {"weights_sha256", "config_sha256", "tokenizer_sha256"}
    assert {name for name in names if before[name] != after[name]} == ({moved} if moved else set())
    assert (header(before) != header(after)) == (moved is not None)


def test_shards_are_hashed_all_and_in_one_order(model: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    load_base(str(model)).model.save_pretrained(shards, max_shard_size="20KB")
    found = sorted(path.name for path in shards.glob("*.safetensors"))
    assert len(found) > 2 and (shards / "model.safetensors.index.json").exists()
    hashes = {str(files(str(shards))["weights_sha256"])}
    for name in found:
        append(shards / name)
        hashes.add(str(files(str(shards))["weights_sha256"]))
    assert len(hashes) == len(found) + 1


def test_an_adapter_is_named_with_its_base(model: Path, tmp_path: Path) -> None:
    base, adapter = shutil.copytree(model, tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"x")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "r": 2}))
    tokenizer = load_tokenizer(str(model)).tokenizer

    def known() -> dict[str, Any]:
        return identity(BaseModel(source=str(adapter), model=None, tokenizer=tokenizer, window=None, base=str(base)))

    before = known()
    assert before["base"] == {"source": str(base), **files(str(base)), "revision": None}
    for change in (
        lambda: append(base / "model.safetensors"),
        lambda: edit(base / "config.json", rms_norm_eps=0.1),
        lambda: edit(adapter / "adapter_config.json", lora_alpha=99),
        lambda: append(adapter / "adapter_model.safetensors"),
    ):
        was = known()
        change()
        assert header(was) != header(known())


def test_the_base_of_an_adapter_on_the_hub_is_in_the_header(model: Path) -> None:
    given = {"source": "me/lora", "model": None, "tokenizer": load_tokenizer(str(model)).tokenizer, "window": None}
    a, b = (
        identity(BaseModel(**given, revision="a" * 40, base="me/base", base_revision=commit * 40)) for commit in "bc"
    )
    assert a["revision"] == b["revision"] and header(a) != header(b)


def test_what_a_server_has_is_not_verified(model: Path, tmp_path: Path) -> None:
    served, here = identity(load_tokenizer(str(model))), identity(load_base(str(model)))
    assert (served["served"], served["verified"], served["parameters"]) == (True, False, None)
    assert (here["served"], here["verified"]) == (False, True) and here["parameters"] > 10_000
    write_tokenizer(tmp_path / "bare")
    assert identity(load_tokenizer(str(tmp_path / "bare")))["weights_sha256"] is None


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ("{}", "{}"),
        ("[]", "{}"),
        ('{"task": "toy_arithmetic"}', '{"examples": "many"}'),
        ('{"task": 5}', '{"examples": 5}'),
        ('{"task": "toy_arithmetic"}', "[1]"),
        ('{"task": "toy', '{"examples": 5}'),
    ],
)
def test_run_folders_of_something_else_say_nothing(model: Path, tmp_path: Path, config: str, data: str) -> None:
    (tmp_path / "finetune.json").write_text(config)
    (tmp_path / "data.json").write_text(data)
    (tmp_path / "checkpoint-1").mkdir()
    assert trained(str(tmp_path / "checkpoint-1")) is None


def run(folder: Path, check: Any, **config: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "finetune.json").write_text(json.dumps({"task": "toy_arithmetic", "lora": None, "train": 3} | config))
    (folder / "data.json").write_text(json.dumps({"examples": 5, "task": {"version": 1}, PROMPT_CHECK: check}))
    (folder / "checkpoint-1").mkdir(exist_ok=True)
    found = trained(str(folder / "checkpoint-1"))
    assert found is not None
    return found


def test_the_folder_of_a_run_is_found_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "run", None)
    monkeypatch.chdir(tmp_path / "run" / "checkpoint-1")
    found = trained(".")
    assert found is not None and (found["examples"], found["lora_rank"], found["seed"]) == (5, None, None)


@pytest.mark.parametrize(
    "check", [None, [], {}, {"ids": [1]}, {"question": 5, "ids": [1]}, {"question": "x", "ids": None}]
)
def test_a_note_of_prompts_of_another_shape_checks_nothing(model: Path, tmp_path: Path, check: Any) -> None:
    tokenizer = load_tokenizer(str(model)).tokenizer
    assert check_prompts(registry.get("toy_arithmetic"), tokenizer, run(tmp_path / "run", check)) == ()


def test_prompts_of_training_and_evaluation_are_compared(model: Path, tmp_path: Path) -> None:
    tokenizer, task = load_tokenizer(str(model)).tokenizer, registry.get("toy_arithmetic")
    other = registry.get("race")
    ids = prompt_ids(task, "2 + 2?", tokenizer)
    note = prompt_check(task, "2 + 2?", ids, tokenizer)
    same = run(tmp_path / "run", note)
    assert check_prompts(task, tokenizer, same | {"task_version": task.header.version}) == ()
    [remark] = check_prompts(task, tokenizer, same | {"task_version": 99})
    assert "version 99" in remark
    with pytest.raises(SpectraError, match="with other prompts than it would be evaluated with"):
        check_prompts(task, tokenizer, run(tmp_path / "run", prompt_check(task, "2 + 2?", (1, *ids), tokenizer)))
    # another task: the tokenizer must be the same, the template is told
    assert check_prompts(other, tokenizer, same) == ()
    [remark] = check_prompts(other, tokenizer, run(tmp_path / "run", note | {"template": "Q: QUESTION"}))
    assert "'Q: QUESTION'" in remark
    write_tokenizer(tmp_path / "bert", kind="bert")
    changed = load_tokenizer(str(tmp_path / "bert")).tokenizer
    check_prompts(other, changed, same)  # its marks are none of the text's: the same ids
    changed.add_tokens(["What"])
    for one in (task, other):
        with pytest.raises(SpectraError, match="with another tokenizer"):
            check_prompts(one, changed, same)
