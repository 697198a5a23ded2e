"""AlphaDecay in `trl.SFTTrainer` (pip install trl): the same callback. Runs in seconds on a CPU, without a network.

python docs/examples/trl_sft.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

from alphadecay import AlphaDecayCallback
from alphadecay.data import DataConfig, prepare


def main(out: Path, steps: int = 30) -> None:
    corpus = prepare(DataConfig(source="embedded", window=64, vocab_size=400, max_tokens=100_000))
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=corpus.vocab_size, hidden_size=64, intermediate_size=172, num_hidden_layers=2, num_attention_heads=4
        )
    )  # fmt: skip
    sums = [(a, b) for a in range(1, 11) for b in range(1, 11)]
    data = Dataset.from_list(
        [{"prompt": f"What is {a} + {b}?", "completion": f" {a} + {b} = {a + b}."} for a, b in sums]
    )
    config = SFTConfig(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=8, learning_rate=1e-3, max_length=64,
        weight_decay=0.1, report_to="none", use_cpu=not torch.cuda.is_available(), bf16=False, logging_steps=10,
        disable_tqdm=True,
    )  # fmt: skip
    callback = AlphaDecayCallback(gap=10)
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=data, processing_class=corpus.tokenizer, callbacks=[callback]
    )
    trainer.train()
    print(f"wrote {out}/decay.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/trl_sft"))
