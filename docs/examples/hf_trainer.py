"""AlphaDecay in a `transformers.Trainer`: one callback. Runs in seconds on a CPU, without a network.

python docs/examples/hf_trainer.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from alphadecay import AlphaDecayCallback
from alphadecay.data import DataConfig, prepare


def main(out: Path, steps: int = 60) -> None:
    corpus = prepare(DataConfig(source="embedded", window=64, vocab_size=400, max_tokens=100_000))
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=corpus.vocab_size, hidden_size=64, intermediate_size=172, num_hidden_layers=2, num_attention_heads=4
        )
    )  # fmt: skip
    arguments = TrainingArguments(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=8, learning_rate=3e-3, save_steps=30,
        weight_decay=0.1,  # the base decay
        report_to="none", use_cpu=not torch.cuda.is_available(), logging_steps=20, disable_tqdm=True,
    )  # fmt: skip
    callback = AlphaDecayCallback(ratio=(2 / 3, 5), gap=20)
    trainer = Trainer(model=model, args=arguments, train_dataset=corpus.train, callbacks=[callback])  # type: ignore[arg-type]
    # A resumed run, trainer.train(resume_from_checkpoint=True), has the same decays: they travel in trainer_state.json.
    trainer.train()
    assert callback.policy is not None
    for name, decay in list(callback.policy.decays.items())[:7]:
        print(f"{name}: {decay:.3f}")
    print(f"wrote {out}/decay.jsonl and checkpoints; spectra track {out}/checkpoint-*")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/hf_trainer"))
