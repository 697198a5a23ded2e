"""The checkpoint that is fine-tuned or evaluated, with its tokenizer: a folder, a hub id, a GGUF file, a LoRA adapter."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticity import adapters
from plasticity.hub_commit import commit_of
from plasticity.hub_network import hub_session, offline_without_network
from plasticity.loading_errors import auto_tokenizer, check_causal, failures, quiet
from spectra.errors import SpectraError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A causal language model in float32 on the CPU, and the tokenizer that goes with it.

    Attributes:
        source: what was named.
        model: None: only its tokenizer is here.
        window: positions that the model was made for; None: it does not say.
        revision: the commit of the source, where that is a hub id.
        base, base_revision: the checkpoint beneath an adapter, and its commit where that is a hub id.
    """

    source: str
    model: Any
    tokenizer: PreTrainedTokenizerBase
    window: int | None
    revision: str | None = None
    base: str | None = None
    base_revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What transformers is told.

    Attributes:
        source: what was named, for messages.
        where: folder or hub id.
        options: which GGUF file in it, or which commit.
        adapter: configuration file of an adapter; None: it is none.
        whole: a whole model lies beside the adapter.
    """

    source: str
    where: str
    options: dict[str, Any] = field(default_factory=dict)
    adapter: Path | None = None
    whole: bool = False

    @property
    def revision(self) -> str | None:
        """The commit of a hub id."""
        found: str | None = self.options.get("revision")
        return found

    def base(self) -> _Place | None:
        """The place of an adapter's base; None: no adapter."""
        if self.adapter is None:
            return None
        if self.whole:  # a name that no adapter has: transformers would load the adapter with the model
            return _Place(source=self.source, where=self.where, options={"adapter_kwargs": {"subfolder": "none"}})
        found = _place(adapters.known_base(self.source, self.adapter))
        if found.adapter is not None:
            raise SpectraError(
                f"{self.source} is an adapter whose base {found.source} is an adapter too. Merge that one into its base first."
            )
        return found


def load_base(source: str, *, from_scratch: bool = False, seed: int = 0) -> BaseModel:
    """Load a checkpoint; with `from_scratch` only its architecture and tokenizer, random weights by seed.

    Raises:
        SpectraError: it cannot be read, has no tokenizer or one that does not fit, has not all of its weights, is made for
            something else than continuing texts, or is an adapter without its base or that does not fit it.
    """
    with hub_session():
        return _loaded(source, from_scratch, seed)


def _loaded(source: str, from_scratch: bool, seed: int) -> BaseModel:
    place = _place(source)
    tokenizer = _tokenizer(place)
    beneath = place.base()
    model = (
        _random(place if beneath is None or place.whole else beneath, seed) if from_scratch else _model(place, beneath)
    )
    from alphadecay.models import emitted_ids

    rows, needed = model.get_input_embeddings().weight.shape[0], emitted_ids(tokenizer)
    if needed > rows:
        raise SpectraError(
            f"{source}: its tokenizer gives ids up to {needed - 1}, its embedding has {rows} rows. They are not of one model: name "
            "a checkpoint that carries its own tokenizer."
        )
    if tokenizer.eos_token_id is None:
        raise SpectraError(f"{source}: its tokenizer has no EOS token. Set eos_token in its tokenizer_config.json.")
    return _made(place, beneath, model, tokenizer, model.config)


def check_base(source: str) -> None:
    """Refuse what `load_base` would, as far as configuration and tokenizer tell: no weights are read.

    Raises:
        SpectraError: as `load_base`.
    """
    from transformers import AutoConfig

    with hub_session():
        place = _place(source)
        _tokenizer(place)
        beneath = place.base()
        under = place if beneath is None or place.whole else beneath
        try:
            config = AutoConfig.from_pretrained(under.where, **under.options)
        except failures() as error:
            raise _not_loaded(source, error) from error
        check_causal(source, config, {"missing_keys": [], "mismatched_keys": []})


def load_tokenizer(source: str) -> BaseModel:
    """A checkpoint whose weights are elsewhere (a server): tokenizer and window; raises as `load_base`."""
    from transformers import AutoConfig

    with hub_session():
        place = _place(source)
        tokenizer = _tokenizer(place)
        try:
            config = AutoConfig.from_pretrained(place.where, **place.options)
        except failures():
            config = None  # a folder with a tokenizer alone
        return _made(place, None, None, tokenizer, config)


def _made(place: _Place, beneath: _Place | None, model: Any, tokenizer: Any, config: Any) -> BaseModel:
    window = getattr(config, "max_position_embeddings", None)
    other = beneath if beneath is not None and not place.whole else None
    return BaseModel(
        source=place.source, model=model, tokenizer=tokenizer, window=window if isinstance(window, int) else None,
        revision=place.revision, base=other.source if other else None, base_revision=other.revision if other else None,
    )  # fmt: skip


def _place(source: str) -> _Place:
    """Folder, GGUF file or hub id; what is of a hub id is all read from one commit.

    Raises:
        SpectraError: a path where nothing is, the folder of a run, a hub id that neither hub nor cache can give.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return _Place(source=source, where=str(path.parent), options={"gguf_file": path.name})
    _check_path(source, path)
    if path.exists():
        adapter = path / adapters.CONFIG
        return _Place(
            source=source, where=str(path), adapter=adapter if adapter.is_file() else None, whole=adapters.is_embedded(path)
        )  # fmt: skip
    host = offline_without_network()
    commit, adapter_file = commit_of(source)
    if host is not None and commit is None:
        raise SpectraError(
            f"{source} is no folder here and is not in the hub's cache, and the hub cannot be asked: {host} has no address (no "
            "network?). Name a checkpoint folder or a GGUF file with --model."
        )
    return _Place(
        source=source, where=source, options={"revision": commit} if commit else {},
        adapter=Path(adapter_file) if adapter_file else None,
    )  # fmt: skip


def _check_path(source: str, path: Path) -> None:
    """Refuse a path that is not there, before it is taken for a hub id, and the folder of a run in place of its checkpoint."""
    if not path.exists():
        if source.startswith(("/", ".", "~")) or source.count("/") > 1 or path.suffix == ".gguf":
            raise SpectraError(
                f"{source}: no such folder or file. Expected a checkpoint folder, a hub id or a GGUF file."
            )
        return
    if not path.is_dir() or (path / "config.json").exists() or (path / adapters.CONFIG).exists():
        return
    steps = [
        int(name[1]) for one in path.iterdir() if (name := re.fullmatch(r"checkpoint-(\d+)", one.name)) and one.is_dir()
    ]
    if steps:
        raise SpectraError(
            f"{source} is a run: its newest checkpoint is {path / f'checkpoint-{max(steps)}'}; name that."
        )


def _tokenizer(place: _Place) -> PreTrainedTokenizerBase:
    try:
        found: PreTrainedTokenizerBase = auto_tokenizer(place.where, **place.options)
    except failures() as error:
        said = first_line(error).rstrip(".")
        why = (
            "" if said.startswith("Couldn't instantiate the backend tokenizer") else f" ({said})"
        )  # of a list that is cut off
        raise SpectraError(
            f"{place.source} has no tokenizer that can be loaded{why}. Expected a checkpoint folder "
            "with its tokenizer files, a hub id, or a GGUF file."
        ) from error
    return found


def _model(place: _Place, beneath: _Place | None) -> Any:
    """All weights in float32. An adapter's base is loaded by itself: transformers says of both together what the adapter lacks."""
    try:
        if beneath is None:
            return _whole(place)
        model = _whole(beneath)
        with quiet():
            adapters.put_on(model, place.source, place.where, place.revision)
        return model.float()
    except failures() as error:
        raise _not_loaded(place.source, error) from error


def _not_loaded(source: str, error: Exception) -> SpectraError:
    return SpectraError(
        f"{source} cannot be loaded as a causal language model ({first_line(error).rstrip('.')}). Expected a checkpoint "
        "folder, a hub id or a GGUF file."
    )


def _whole(place: _Place) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with quiet(), _no_gguf_bar():
        found: Any = AutoModelForCausalLM.from_pretrained(
            place.where, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **place.options
        )
        model, info = found
    check_causal(place.source, model.config, info)
    if "gguf_file" in place.options:
        _unmark(model)
    return model


@contextmanager
def _no_gguf_bar() -> Iterator[None]:
    """transformers reads GGUF files with a bar of its own, which its switch does not turn off."""
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    bar = reader.tqdm
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar


def _unmark(model: Any) -> None:
    """Weights of a GGUF file are float32 once read; transformers' mark of quantised ones refuses to train them, and to save them
    so that they can be loaded."""
    for name in ("is_quantized", "quantization_method", "hf_quantizer"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _random(place: _Place, seed: int) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(place.where, **place.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    except failures() as error:
        raise SpectraError(
            f"{place.source} has no architecture that a causal language model can be made of ({first_line(error).rstrip('.')}). "
            "Expected a checkpoint folder with its config.json, a hub id or a GGUF file."
        ) from error
