"""AlphaDecay in a plain PyTorch loop: two lines beside the usual ones. Runs in seconds on a CPU, without a network.

python docs/examples/plain_loop.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alphadecay import AlphaDecay, GroupOptions
from alphadecay.data import DataConfig, order, prepare


def main(out: Path, steps: int = 60) -> None:
    corpus = prepare(DataConfig(source="embedded", window=64, vocab_size=400, max_tokens=100_000))
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=corpus.vocab_size, hidden_size=64, intermediate_size=172, num_hidden_layers=2, num_attention_heads=4
        )
    )  # fmt: skip
    # Larger decay for modules with light-tailed spectra, smaller for heavy-tailed ones; measured anew every 20 steps.
    decay = AlphaDecay(model, base=0.1, ratio=(2 / 3, 5), gap=20, options=GroupOptions(log=out / "decay.jsonl"))
    optimizer = torch.optim.AdamW(decay.param_groups(), lr=3e-3)
    shuffled = order(corpus.train, 0, 0)
    for step in range(steps):
        items = [corpus.train[int(i)] for i in shuffled[step * 8 : step * 8 + 8]]
        ids = torch.stack([item["input_ids"] for item in items])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        decay.step(optimizer)  # before optimizer.step(), after clipping
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 19:
            least, most = min(decay.decays.values()), max(decay.decays.values())
            print(f"step {step + 1}: loss {loss.item():.3f}, decays {least:.3f} to {most:.3f}")
    model.save_pretrained(out)
    corpus.tokenizer.save_pretrained(out)
    torch.save({"optimizer": optimizer.state_dict(), "decay": decay.state_dict()}, out / "training.pt")
    print(f"wrote {out}: spectra analyze {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/plain_loop"))
