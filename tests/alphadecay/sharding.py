"""Run as a script: decays of a sharded model (FSDP2, two gloo processes, plain loop) beside those of one process.

python -m tests.alphadecay.sharding OUT.json. One process first; then two, forked, with the environment that torchrun gives.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from alphadecay import AdaDecay, AdaptiveWeightDecay, AlphaDecay, Policy

from .conftest import backward, tiny_llama

POLICIES: dict[str, Callable[[Any], Policy]] = {
    "alphadecay": lambda model: AlphaDecay(model, base=0.1, gap=1),
    "async": lambda model: AlphaDecay(model, base=0.1, gap=1, mode="async"),
    "spectral_norm": lambda model: AlphaDecay(model, base=0.1, gap=1, score="spectral_norm"),
    "awd": lambda model: AdaptiveWeightDecay(model, base=0.001),
    "adadecay": lambda model: AdaDecay(model, base=0.1, gap=1),
    "element": lambda model: AdaDecay(model, base=0.1, granularity="element"),
}


def decays(sharded: bool) -> dict[str, Any]:
    """Per policy: decays before step 1 (async: those of step 1, applied at step 2), and the weights' norm after it."""
    found: dict[str, Any] = {}
    for name, make in POLICIES.items():
        model = tiny_llama()
        if sharded:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh("cpu", (2,))
            for layer in model.model.layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
            assert all(hasattr(p, "full_tensor") for p in model.parameters())
        policy = make(model)
        optimizer = torch.optim.AdamW(policy.param_groups(), lr=0.0 if name == "async" else 0.01)
        for _ in range(2 if name == "async" else 1):
            optimizer.zero_grad()
            backward(model)
            policy.step(optimizer)
            optimizer.step()
        policy.finish()
        norms = {n: full(p).norm().item() for n, p in model.named_parameters()}
        found[name] = {
            "decays": policy.decays,
            "base": policy.base,
            "norms": norms,
            "state": policy.state_dict()["decays"],
        }
    return found


def full(parameter: torch.Tensor) -> torch.Tensor:
    gather = getattr(parameter, "full_tensor", None)
    return (gather() if gather is not None else parameter).detach()


def child(rank: int, port: int, out: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        torch.set_num_threads(1)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
        dist.init_process_group("gloo", rank=rank, world_size=2)
        out.with_suffix(f".{rank}").write_text(json.dumps(decays(True)))
        dist.destroy_process_group()
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    out = Path(sys.argv[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = [child(rank, port, out) for rank in range(2)]  # before this process has threads of its own
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    out.write_text(json.dumps(decays(False)))
    raise SystemExit(max(codes))


if __name__ == "__main__":
    main()
