"""A sharded bfloat16 checkpoint of any size, of long matrices: `python -m benchmarks.generated FOLDER GIGABYTES`.

Layers of an imaginary Llama whose MLP goes from 512 to 131072: `down_proj` is 512 x 131072, `up_proj` its transpose.
Files are written by hand (u64 header length, JSON header, data), one matrix in memory at a time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHORT, LONG = 512, 131072
BYTES = 2 * SHORT * LONG
PER_SHARD = 8
SHAPES = {"up_proj": (LONG, SHORT), "down_proj": (SHORT, LONG)}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": SHORT, "intermediate_size": LONG}


def values(rng: np.random.Generator) -> NDArray[np.uint16]:
    """Bits of a Gaussian matrix in bfloat16 (float32 cut after 16 bits), flat."""
    bits = np.empty(SHORT * LONG, dtype=np.uint16)
    for part in np.array_split(bits, 64):
        part[:] = (rng.standard_normal(part.size, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return bits


def write(folder: Path, gigabytes: float) -> None:
    """Shards of at most eight matrices, their index, and a config."""
    count = max(2, round(gigabytes * 1e9 / BYTES))
    names = [f"model.layers.{i // 2}.mlp.{tuple(SHAPES)[i % 2]}.weight" for i in range(count)]
    shards = [names[start : start + PER_SHARD] for start in range(0, count, PER_SHARD)]
    rng = np.random.default_rng(0)
    where = {}
    for number, inside in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        header = {
            name: {
                "dtype": "BF16",
                "shape": SHAPES[name.split(".")[-2]],
                "data_offsets": [i * BYTES, (i + 1) * BYTES],
            }
            for i, name in enumerate(inside)
        }
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for name in inside:
                values(rng).tofile(out)
                where[name] = file
    index = {"metadata": {"total_size": count * BYTES}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    layers = {"num_hidden_layers": (count + 1) // 2}
    (folder / "config.json").write_text(json.dumps(CONFIG | layers), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), float(sys.argv[2]))
