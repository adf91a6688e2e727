"""What an SGLang server says it serves, read from several of its routes into one value."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_serve.checkpoints.hub import name_of
from llava_serve.protocol.model_card import ModelCard, SamplingDefaults
from llava_serve.request import IMAGE_PLACEHOLDER

logger = logging.getLogger(__name__)

OLDEST_TRIED = "0.5.23"

# Architectures of LLaVA's own code. SGLang shows them only the first of several images unless it
# is told that there are several. Source: sglang 0.5.23, srt/multimodal/processors/llava.py.
_ORIGINAL = frozenset(
    f"Llava{base}ForCausalLM" for base in ("Llama", "Qwen", "Mistral", "Vid", "Mixtral")
)
_HONOURED = ["frequency_penalty", "presence_penalty", "min_p", "response_format", "regex"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One server's model and settings, as far as requests depend on them.

    `image_token` is the id of `<image>`, None where that is no single token. `has_template` says
    that the server renders messages itself, `shows_tools` that it shows the model what it may call.
    """

    address: str  # of the server itself, where a router stands before it
    model_path: str
    model_id: str  # what the server calls the model
    name: str  # what we call it
    context_length: int
    has_vision: bool
    version: str
    architecture: str
    sampling: SamplingDefaults
    streams_deltas: bool  # on /generate; otherwise all text so far comes again and again
    honours_seed: bool
    has_template: bool
    shows_tools: bool
    tool_call_parser: str | None
    image_token: int | None

    @property
    def is_original(self) -> bool:
        """Whether several images must be announced as such."""
        return self.architecture in _ORIGINAL

    @property
    def accepts_images(self) -> bool:
        """Whether images can be put where they belong.

        They stand in place of a token. Where that is no single one, models of the original layout
        show the image before everything else, without a word of warning. With others nobody can
        count beforehand whether each has its place, and the server exits where one has none.
        """
        return self.has_vision and self.image_token is not None

    @property
    def calls_tools(self) -> bool:
        """Whether the model learns what it may call, and its calls are read."""
        return self.shows_tools and self.tool_call_parser is not None

    @property
    def card(self) -> ModelCard:
        return ModelCard(
            id=self.name,
            context_length=self.context_length,
            accepts_images=self.accepts_images,
            accepts_video=False,  # its frames would be reserved wrong places in the prompt
            engine="sglang",
            sampling=self.sampling,
            supported_params=[*_HONOURED, *(["tools"] if self.calls_tools else [])],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of a server's routes, decoded."""

    address: str
    model: Mapping[str, Any]  # /model_info
    server: Mapping[str, Any]  # /server_info
    models: Mapping[str, Any]  # /v1/models
    image_tokens: list[int]  # `<image>`, tokenised
    has_template: bool
    shows_tools: bool


def served_of(answers: Answers, name: str | None) -> Served:
    """Put the answers together; `name` is what to serve the model under, if not its own name."""
    model, server = answers.model, answers.server
    (first, *_) = answers.models["data"]
    path = str(model["model_path"])
    tokens = answers.image_tokens
    return Served(
        address=answers.address,
        model_path=path,
        model_id=str(first["id"]),
        name=name or name_of(str(first["id"])),
        context_length=int(first["max_model_len"]),
        has_vision=bool(model.get("has_image_understanding", True)),
        version=str(server.get("version", "")),
        architecture=str((model.get("architectures") or [""])[0]),
        sampling=_sampling_of(path, model.get("preferred_sampling_params")),
        streams_deltas=bool(server.get("incremental_streaming_output")),
        honours_seed=bool(server.get("enable_deterministic_inference")),
        has_template=answers.has_template,
        shows_tools=answers.shows_tools,
        tool_call_parser=server.get("tool_call_parser"),
        image_token=tokens[0] if len(tokens) == 1 else None,
    )


def doubts_of(served: Served) -> Iterator[str]:
    """Say what the operator should know about a server that is used all the same."""
    version = served.version
    if not version:
        yield "the server does not tell its version"
    elif _numbers(version) < _numbers(OLDEST_TRIED):
        yield f"the server is SGLang {version}; the oldest that was tried is {OLDEST_TRIED}"
    if served.has_vision and not served.accepts_images:
        yield (
            f"pictures are refused: {IMAGE_PLACEHOLDER!r} is no token of the model; start the "
            "server with --tokenizer-path and the name of its twin in Hugging Face's layout"
        )
    if served.shows_tools and served.tool_call_parser is None:
        yield "tools are refused: start the server with --tool-call-parser NAME to have calls read"
    if served.tool_call_parser is not None and not served.shows_tools:
        yield "tools are refused: the server's chat template shows none"


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _sampling_of(model_path: str, preferred: Any) -> SamplingDefaults:
    """Return what a request that does not say is answered with.

    The server's own preference, or else the checkpoint's, which is greedy where it says nothing;
    SGLang by itself would sample there. A checkpoint that is not on this machine says nothing.
    """
    if isinstance(preferred, str):
        preferred = json.loads(preferred)
    settings = preferred or _generation_config(Path(model_path))
    if not settings or not settings.get("do_sample", preferred is not None):
        return SamplingDefaults(temperature=0.0)
    return SamplingDefaults(
        temperature=settings.get("temperature") or 1.0,
        top_p=settings.get("top_p") or 1.0,
        top_k=max(0, settings.get("top_k") or 0),
    )


def _generation_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
