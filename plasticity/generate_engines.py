"""The engine that an evaluation asks for: a checkpoint in this process, or a server with the checkpoint's tokenizer here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from plasticity.base_model import BaseModel, load_base, load_tokenizer
from plasticity.devices import chosen, put
from plasticity.evaluate_config import EvaluateConfig
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.generate import Engine


def engine_of(config: EvaluateConfig) -> tuple[Engine, BaseModel, dict[str, Any]]:
    """The engine, the checkpoint (no model where a server has it), and what the result says of both.

    Raises:
        SpectraError: the checkpoint cannot be loaded or put on its device, the server does not answer or does not have the model.
    """
    if config.engine == "server":
        return _server(config)
    from plasticity.generate_hf import HuggingFaceEngine

    where, dtype = chosen(config.device, config.precision)
    base = load_base(config.model)
    put(base.model, where, dtype, name=config.model)
    engine = HuggingFaceEngine(
        model=base.model, tokenizer=base.tokenizer, name=config.model, batch_size=config.batch_size
    )
    return engine, base, {"engine": dict(engine.describe()), **_machine(where)}


def _machine(where: str) -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name(where) if where.startswith("cuda") else None
    return {"device": where, "device_name": name, "threads": torch.get_num_threads()}


def _server(config: EvaluateConfig) -> tuple[Engine, BaseModel, dict[str, Any]]:
    from plasticity.generate_server import ServerEngine

    assert config.base_url is not None
    base = load_tokenizer(config.model)
    served = config.served_model or only_model(config.base_url)
    engine = ServerEngine(
        base_url=config.base_url, model=served, window=config.window or base.window, send="ids" if config.send == "ids" else "text",
        concurrency=config.concurrency,
    )  # fmt: skip
    return engine, base, {"engine": dict(engine.describe()) | {"base_url": config.base_url}}


def only_model(base_url: str) -> str:
    """The name of the only model that a server lists (`GET /v1/models`).

    Raises:
        SpectraError: it is not there, lists none or several.
    """
    import http.client
    import os
    from urllib.request import Request, urlopen

    url = f"{base_url.rstrip('/').removesuffix('/v1')}/v1/models"
    secret = os.environ.get("OPENAI_API_KEY")
    try:
        request = Request(url, headers={"Authorization": f"Bearer {secret}"} if secret else {})
        with urlopen(request, timeout=30) as answer:
            listed = [str(entry["id"]) for entry in json.load(answer)["data"]]
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise SpectraError(
            f"No server answers at {url}: {error}. Start it, or mend --base-url; --served-model NAME skips this question."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpectraError(
            f"{url} does not list models as an OpenAI-compatible server does. Name the model with --served-model."
        ) from error
    if len(listed) != 1:
        raise SpectraError(
            f"The server lists {len(listed)} models ({', '.join(listed[:8])}{', ...' if len(listed) > 8 else ''}). Name one with "
            "--served-model."
        )
    return listed[0]
