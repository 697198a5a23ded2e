"""Fine-tuning on tasks: the loss is on responses alone, the same however batches are cut, packed examples apart, resume exact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alphadecay.config import TrainConfig
from alphadecay.data import DataConfig, prepare
from plasticity.base_model import load_base
from plasticity.examples import IGNORED, Collate, Examples, Packs, check_isolation, check_mean
from plasticity.finetune import FinetuneConfig, LoraConfig, finetune, make_objective, paper
from plasticity.finetune_options import configure
from plasticity.identity import PROMPT_CHECK, check_prompts, origin
from plasticity.tasks import encoding, registry
from plasticity.tasks.encoding import Encoded
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches, tiny_llama  # noqa: F401 -- a fixture for every test here

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny LLaMA with the tokenizer of the embedded corpus."""
    corpus = prepare(DataConfig(vocab_size=400, window=32, max_tokens=2000))
    folder = tmp_path / "base"
    tiny_llama(vocab_size=400, max_position_embeddings=256).save_pretrained(folder)
    corpus.tokenizer.save_pretrained(folder)
    return folder


def config(base: Path, **given: Any) -> FinetuneConfig:
    train = {
        "steps": 4,
        "batch_size": 8,
        "lr": 0.01,
        "eval_every": 0,
        "eval_windows": 0,
        "save_every": 2,
        "log_every": 1,
    }
    train |= given.pop("train", {})
    settings: dict[str, Any] = {"task": "toy_arithmetic", "model": str(base), "limit": 64, "window": 256}
    return FinetuneConfig(train=TrainConfig(**train), **(settings | given))


def losses(out: Path, name: str = "loss") -> list[float]:
    """What the Trainer logged, in order."""
    state = json.loads((max(out.glob("checkpoint-*")) / "trainer_state.json").read_text())
    return [entry[name] for entry in state["log_history"] if name in entry]


def test_the_papers_recipe() -> None:
    """Table 6."""
    recipe = paper()
    assert (recipe.lr, recipe.batch_size, recipe.epochs, recipe.schedule) == (1e-5, 64, 3, "cosine")
    assert (recipe.warmup, recipe.floor, recipe.clip, recipe.beta2) == (0.1, 0.0, 1.0, 0.999)
    chosen = FinetuneConfig(task="metamathqa")
    assert chosen.window == 2048 and chosen.decay.base == 0.0 and not chosen.packing
    assert chosen.model == "HuggingFaceTB/SmolLM2-135M"


def test_the_loss_is_on_the_response_and_eos_alone(base: Path) -> None:
    objective = make_objective(config(base), lambda _: None)
    tokenizer = objective.processor
    item = objective.train[0]
    targets = [token for token in item["labels"] if token != IGNORED]
    assert targets[-1] == tokenizer.eos_token_id
    prompt = tokenizer.decode(item["input_ids"][: item["labels"].count(IGNORED)])
    assert prompt.startswith("Human: ") and prompt.endswith("\nAssistant:")
    assert tokenizer.decode(targets[:-1]).startswith(" ")
    facts = objective.facts(4)
    assert facts["task"]["kept"] == 64 and facts["too_long"] == 0 and facts["target_tokens"] > 64


def test_batches_are_padded_without_hiding_eos() -> None:
    items = Examples([Encoded(prompt_ids=(5, 6), response_ids=(7, 0)), Encoded(prompt_ids=(5,), response_ids=(0,))])
    batch = Collate(pad_id=0)([items[0], items[1]])
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7, 0], [IGNORED, 0, IGNORED, IGNORED]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize("how", [{}, {"packing": True}, {"lora": LoraConfig(rank=4)}])
def test_the_same_loss_however_a_batch_is_cut(base: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    """The mean is over target tokens of the whole batch: responses differ in length, so means of parts would differ."""
    finetune(config(base, **how), tmp_path / "whole")
    finetune(config(base, **how, train={"micro_batch": 2}), tmp_path / "parts")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=2e-6)


def test_two_processes_are_the_same_run(base: Path, tmp_path: Path) -> None:
    """Batch 8 as 8 x 1, as 2 x 4 accumulated, and as 2 processes x 2 x 2: loss and gradient norm to six digits."""
    words = ["steps=4", "batch_size=8", "lr=0.01", "log_every=1", "limit=64"]
    parts = [*words, "micro_batch=2"]
    given, own = {"task": "toy_arithmetic", "model": str(base)}, registry.get("toy_arithmetic").training
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        *("-m", "spectra_cli.plasticity_app", "finetune", "--task", "toy_arithmetic", "--model", str(base)),
        *("--out", str(tmp_path / "two"), *parts),
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as two:
        finetune(configure(given, words, own), tmp_path / "whole")
        finetune(configure(given, parts, own), tmp_path / "parts")
        assert two.stdout is not None
        said = two.stdout.read()
    assert two.returncode == 0, said
    assert json.loads((tmp_path / "two" / "result.json").read_text())["provenance"]["processes"] == 2
    stream = make_objective(configure(given, words, own), lambda _: None).stream(4)
    targets = [sum(label != IGNORED for label in stream[i]["labels"]) for i in range(8)]
    assert len({sum(targets[i : i + 2]) for i in range(0, 8, 2)}) > 1  # or means of parts would do
    for name in ("loss", "grad_norm"):
        expected = losses(tmp_path / "whole", name)
        assert len(expected) == 4
        for run in ("parts", "two"):
            assert losses(tmp_path / run, name) == pytest.approx(expected, rel=1e-6), (run, name)


def test_models_that_average_micro_batches_by_themselves_are_not_cut(base: Path, tmp_path: Path) -> None:
    model = tiny_llama(vocab_size=400)
    check_mean(model)
    model.accepts_loss_kwargs = False  # transformers' mark of them
    with pytest.raises(SpectraError, match="micro batches by itself"):
        check_mean(model)


def test_packs_hold_every_example_once_within_the_window() -> None:
    lengths = [9, 3, 4, 8, 2, 2, 5]
    encoded = [Encoded(prompt_ids=(1,) * (n - 1), response_ids=(i,)) for i, n in enumerate(lengths)]
    packs = Packs(encoded, 10)
    assert sorted(e.response_ids[0] for pack in packs.packs for e in pack) == list(range(7))
    assert all(sum(len(e) for e in pack) <= 10 for pack in packs.packs) and len(packs) == 4
    item = packs[0]
    assert item["position_ids"][0] == 0 and len(item["position_ids"]) == len(item["input_ids"])


def test_packed_examples_do_not_see_each_other(base: Path) -> None:
    """The loss of a pack is the token-weighted loss of its examples alone."""
    model = load_base(str(base)).model.eval()
    check_isolation(model)
    packed = make_objective(config(base, packing=True), lambda _: None)
    singles = Examples(packed.train.packs[0])
    collate = packed.collate
    assert collate is not None and len(singles) > 1
    total, count = 0.0, 0
    with torch.no_grad():
        for k in range(len(singles)):
            batch = collate([singles[k]])
            tokens = int((batch["labels"][:, 1:] != IGNORED).sum())
            total += float(model(**batch).loss) * tokens
            count += tokens
        batch = collate([packed.train[0]])
        assert int((batch["labels"][:, 1:] != IGNORED).sum()) == count
        assert float(model(**batch).loss) == pytest.approx(total / count, rel=1e-5)


def test_packed_training(base: Path, tmp_path: Path) -> None:
    finetune(config(base, packing=True, limit=None, train={"batch_size": 4}), tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]


def test_packing_is_refused_where_examples_would_see_each_other() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    class Leaky(GPT2LMHeadModel):  # type: ignore[misc]
        def forward(self, **given: Any) -> Any:
            given["attention_mask"] = torch.ones_like(given["input_ids"])  # all see all that is before
            return super().forward(**given)

    model = Leaky(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    with pytest.raises(SpectraError, match="see each other"):
        check_isolation(model)


def test_resume_is_the_same_run(base: Path, tmp_path: Path) -> None:
    straight = finetune(config(base), tmp_path / "a")
    finetune(config(base), tmp_path / "b")
    import shutil

    shutil.rmtree(tmp_path / "b" / "checkpoint-4")
    resumed = finetune(config(base), tmp_path / "b", resume=True)
    x, y = (load_file(run.checkpoint / "model.safetensors") for run in (straight, resumed))
    assert all(torch.equal(x[name], y[name]) for name in x)
    with pytest.raises(SpectraError, match="began with another configuration: limit was 64 and is 32"):
        finetune(config(base, limit=32), tmp_path / "b", resume=True)


def test_lora(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    result = finetune(config(base, lora=LoraConfig(rank=4, alpha=8)), tmp_path / "lora")
    assert (result.checkpoint / "adapter_model.safetensors").exists()
    assert load_base(str(result.checkpoint)).model is not None  # base and adapter together
    (base / "config.json").unlink()
    adapter = result.checkpoint / "adapter_config.json"
    adapter.write_text(adapter.read_text().replace(str(base), "/no/such/base"))
    with pytest.raises(SpectraError, match="LoRA adapter, and its base '/no/such/base' is not there"):
        load_base(str(result.checkpoint))


def test_from_scratch_has_the_architecture_and_other_weights(base: Path) -> None:
    pretrained, random = load_base(str(base)), load_base(str(base), from_scratch=True, seed=1)
    again = load_base(str(base), from_scratch=True, seed=1)
    a, b, c = (m.model.state_dict() for m in (pretrained, random, again))
    assert a.keys() == b.keys() and not torch.equal(a["lm_head.weight"], b["lm_head.weight"])
    assert torch.equal(b["lm_head.weight"], c["lm_head.weight"])


def test_a_run_notes_the_prompt_that_it_trains_on(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what the evaluation would make of a question: where training sees something else, the evaluation must notice."""
    task, checkpoint = registry.get("toy_arithmetic"), load_base(str(base))
    tokenizer, known = checkpoint.tokenizer, {"task": "toy_arithmetic", "task_version": 1}
    objective = make_objective(config(base), lambda _: None)
    note = objective.facts(4)[PROMPT_CHECK]
    item = objective.train[0]
    assert note["ids"] == item["input_ids"][: item["labels"].count(IGNORED)]
    assert check_prompts(task, tokenizer, known | {PROMPT_CHECK: note}) == ()
    assert objective.facts(4)["base"] == origin(checkpoint) and origin(checkpoint)["weights_sha256"]
    scratch = make_objective(config(base, from_scratch=True), lambda _: None).facts(4)["base"]
    assert scratch == origin(checkpoint) | {"weights_sha256": None}

    lengths = [len(objective.train[i]["input_ids"]) for i in range(64)]
    assert min(lengths) < lengths[0]
    short = make_objective(config(base, window=min(lengths)), lambda _: None)
    assert len(short.train) < 64
    assert check_prompts(task, tokenizer, known | {PROMPT_CHECK: short.facts(4)[PROMPT_CHECK]}) == ()

    made = encoding.encode

    def with_bos(*given: Any) -> Encoded:
        one = made(*given)
        return replace(one, prompt_ids=(1, *one.prompt_ids))

    monkeypatch.setattr(encoding, "encode", with_bos)
    note = make_objective(config(base), lambda _: None).facts(4)[PROMPT_CHECK]
    monkeypatch.undo()
    with pytest.raises(SpectraError, match="with other prompts than it would be evaluated with"):
        check_prompts(task, tokenizer, known | {PROMPT_CHECK: note})


def test_a_real_checkpoint_on_real_problems(tmp_path: Path) -> None:
    """stories260k on GSM8K, as rows that look like MetaMathQA's."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not shared.exists():
        pytest.skip("../shared is absent")
    rows = [json.loads(line) for line in (shared / "gsm8k" / "train.jsonl").read_text().splitlines()[:80]]
    data = tmp_path / "train.jsonl"
    data.write_text(
        "".join(json.dumps({"query": r["question"], "response": r["answer"], "type": "GSM"}) + "\n" for r in rows)
    )
    chosen = config(shared / "models" / "stories260k", task="metamathqa", data=str(data), window=512)
    finetune(chosen, tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]


def test_refused(base: Path, tmp_path: Path) -> None:
    for given, said in (
        ({"task": "toy_arithmetik"}, "Did you mean 'toy_arithmetic'"),
        ({"window": 4}, "fits into 4 tokens"),
        ({"train": {"steps": None, "epochs": 1, "batch_size": 500}}, "less than one batch of 500"),
        ({"train": {"steps": None, "tokens": 500}}, "takes train.epochs or train.steps"),
        ({"model": str(tmp_path / "nothing")}, "no tokenizer that can be loaded"),
    ):
        with pytest.raises(SpectraError, match=said):
            finetune(config(base, **given), tmp_path / "run")
    assert replace(config(base), limit=None).limit is None
