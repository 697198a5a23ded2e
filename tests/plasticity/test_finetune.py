"""Fine-tuning on tasks: the loss is on responses alone, the same however batches are cut, packed examples apart, resume exact."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from spectra_cli import finetune_terminal
from spectra_cli.plasticity_app import app
from typer.testing import CliRunner

from alphadecay.config import TrainConfig
from alphadecay.data import DataConfig, prepare
from plasticity import trained_questions
from plasticity.base_model import load_base
from plasticity.examples import IGNORED, Collate, Examples, Packs, check_isolation, check_mean
from plasticity.finetune import FinetuneConfig, LoraConfig, finetune, make_objective, paper
from plasticity.finetune_options import configure
from plasticity.identity import PROMPT_CHECK, check_prompts, origin
from plasticity.tasks import encoding, registry
from plasticity.tasks.encoding import Encoded
from plasticity.tasks.loading import load
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
    other = config(base, limit=32, train={"lr": 0.02}, lora=LoraConfig(rank=0, alpha=8))
    said = "began with another configuration: limit was 64, is 32; lora.alpha was 32, is 8; train.lr was 0.01, is 0.02. Leave"
    with pytest.raises(SpectraError, match=said):
        finetune(other, tmp_path / "b", resume=True)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_refused_call_changes_nothing_in_the_folder_and_loads_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tmp_path / "done"
    finetune(config(base, from_scratch=True), done)
    was = contents(done)
    assert {"finetune.json", "train_questions.npy", "result.json"} <= was.keys()
    pretrained = tmp_path / "pretrained"
    (pretrained / "checkpoint-4").mkdir(parents=True)
    (tmp_path / "file").touch()

    def never(*_: Any) -> Any:
        raise AssertionError("model and data were loaded")

    with monkeypatch.context() as patched:
        patched.setattr("plasticity.finetune._prepared", never)
        for given, out, resume, said in (
            ({}, done, False, "already holds a run: go on with it"),
            ({}, done, True, "from_scratch was True, is False. Leave"),
            ({"from_scratch": True, "train": {"steps": 3}}, done, True, "train.steps was 4, is 3. Leave"),
            ({}, pretrained, True, "holds no run of plasticity finetune"),
            ({}, tmp_path / "file", False, r"Cannot make the folder .*file: .*--out"),
            ({}, tmp_path / "file" / "run", False, "Cannot make the folder"),
        ):
            with pytest.raises(SpectraError, match=said):
                finetune(config(base, **given), out, resume=resume)
    known = json.loads((done / "finetune.json").read_text())
    known["train"]["steps"] = 3  # as an older version left it, which wrote before it refused
    (done / "finetune.json").write_text(json.dumps(known))
    with pytest.raises(SpectraError, match="is at step 4 already, past the 3"):
        finetune(config(base, from_scratch=True, train={"steps": 3}), done, resume=True)
    (done / "finetune.json").write_bytes(was["finetune.json"])
    assert contents(done) == was


def test_a_run_that_saved_nothing_begins_anew(base: Path, tmp_path: Path) -> None:
    """As cells of experiments do: resume, where the folder may hold a record alone."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "finetune.json").write_text('{"task": "race"}')
    heard: list[str] = []
    done = finetune(config(base, train={"steps": 1}), out, resume=True, message=heard.append)
    assert done.checkpoint.is_dir() and "saved no checkpoint: it begins anew" in heard[0]
    assert json.loads((out / "finetune.json").read_text())["task"] == "toy_arithmetic"


def test_the_window_is_the_models_where_that_is_less(base: Path) -> None:
    heard: list[str] = []
    facts = make_objective(config(base, window=2048), heard.append).facts(4)
    assert "window 256 (the model's; 2048 asked)" in heard and (facts["window"], facts["window_asked"]) == (256, 2048)
    make_objective(config(base, window=200), heard.append)
    assert heard.count("window 200") == 1


def test_questions_that_were_trained_on_are_counted(base: Path, tmp_path: Path) -> None:
    task = registry.get("toy_arithmetic")
    examples, tokenizer = load(task, "train", limit=64).items, load_base(str(base)).tokenizer
    lengths = [len(encoding.encode(task, example, tokenizer)) for example in examples]
    window = sorted(lengths)[32]
    short = [length <= window for length in lengths]
    assert 32 < sum(short) < 64
    done = finetune(config(base, window=window, train={"steps": 1}), tmp_path / "run")
    source = str(done.checkpoint)
    assert trained_questions.seen(source, examples) == sum(short)  # what was too long was not trained on
    assert trained_questions.seen(source, load(task, "test", limit=20).items) == 0
    shouted = [
        replace(one, question=f" {one.question.upper()}") for one, fits in zip(examples, short, strict=True) if fits
    ]
    assert trained_questions.seen(source, shouted[:3]) == 3
    assert trained_questions.with_seen({"task": "x"}, source, shouted) == {"task": "x", "questions_seen": sum(short)}
    (tmp_path / "run" / trained_questions.NAME).write_bytes(b"cut")
    assert (
        trained_questions.seen(source, examples) is None and trained_questions.with_seen(None, source, examples) is None
    )


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
        ({"model": str(tmp_path / "nothing")}, "nothing: no such folder or file"),
    ):
        with pytest.raises(SpectraError, match=said):
            finetune(config(base, **given), tmp_path / "run")
    assert replace(config(base), limit=None).limit is None


def test_the_command_from_header_to_the_evaluation_of_what_it_made(base: Path, tmp_path: Path) -> None:
    """It names the command that scores the result; that one warns where its questions were trained on."""
    data = tmp_path / "rows.jsonl"
    rows = [
        {"question": f"What is {n} + 1?", "answer": f"One more than {n} is {n + 1}.\n#### {n + 1}"} for n in range(12)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = [
        "finetune",
        "--task",
        "metamathqa",
        "--data",
        str(data),
        "--model",
        str(base),
        "--out",
        str(tmp_path / "run"),
    ]
    words = ["batch_size=4", "epochs=1", "lr=1e-3", "precision=fp32"]
    found = CliRunner().invoke(app, [*common, *words])
    assert found.exit_code == 0, found.output
    checkpoint = tmp_path / "run" / "checkpoint-3"
    for line in (
        "train  1 epoch of 4, ", "decay  no weight decay", "window 256 (the model's; 2048 asked)", f"wrote {checkpoint}",
        f"next: plasticity evaluate --task metamathqa --model {checkpoint}",
    ):  # fmt: skip
        assert line in found.output, found.output
    again = CliRunner().invoke(app, [*common, *words])
    assert again.exit_code == 2 and "already holds a run" in again.output and "wrote" not in again.output

    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(rows[0]) + "\n" + json.dumps({"question": "And 7 + 7?", "answer": "#### 14"}) + "\n")
    new = tmp_path / "new.jsonl"
    new.write_text(json.dumps({"question": "And 7 + 7?", "answer": "#### 14"}) + "\n")
    following = shlex.split(found.output.partition("next: plasticity ")[2])
    quick = ["--samples", "0", "--max-tokens", "2", "--quiet"]
    for rows_, line in (
        (data, "WARNING: 12 of 12 questions were trained on"),
        (other, "WARNING: 1 of 2 questions was trained on"),
        (new, "none of the 1 questions was trained on"),
        (None, "overlap with the training rows was not checked"),
    ):
        if rows_ is None:
            (tmp_path / "run" / trained_questions.NAME).unlink()
        out = tmp_path / f"scores-{rows_.stem if rows_ else 'none'}"
        scored = CliRunner().invoke(app, [*following, *quick, "--data", str(rows_ or data), "--out", str(out)])
        assert scored.exit_code == 0, scored.output
        assert line in scored.output and "were left out" not in scored.output
    record = json.loads((tmp_path / "scores-other" / "result.json").read_text())
    assert record["checkpoint"]["trained"]["questions_seen"] == 1


def test_an_interruption_says_what_was_saved(base: Path, tmp_path: Path) -> None:
    assert "nothing was saved yet" in finetune_terminal.interrupted(tmp_path / "none")
    finetune(config(base, train={"steps": 1}), tmp_path / "run")
    said = finetune_terminal.interrupted(tmp_path / "run")
    assert said.startswith("checkpoint-1 is saved in") and said.endswith("the same command with --resume goes on")
