"""Models in Ollama's words: what is listed, shown and running of the models that are served.

Source: ollama/ollama@fb30760, api/types.go, ListResponse, ShowResponse and ProcessResponse.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from llava_serve import __version__
from llava_serve.protocol.model_card import ModelCard, NamedModel

# Clients compare it with the version that brought what they use, so it is the protocol's.
PROTOCOL_VERSION = "0.33.0"
_FAMILY = "llava"
# Far enough for Ollama's own client to say `Forever`: a model stays as long as its worker.
_NEVER = "9999-12-31T23:59:59Z"

Model = ModelCard | NamedModel


def version() -> dict[str, Any]:
    """Return the body of `GET /api/version`."""
    return {"version": PROTOCOL_VERSION, "llava_serve": __version__}


def listed(models: Iterable[Model]) -> dict[str, Any]:
    """Return the body of `GET /api/tags`."""
    return {"models": [_entry(model) | _modified(model) for model in models]}


def running(models: Iterable[Model]) -> dict[str, Any]:
    """Return the body of `GET /api/ps`: a model that is served is loaded."""
    loaded = {"expires_at": _NEVER, "size_vram": 0}
    return {"models": [_entry(model) | _context(model) | loaded for model in models]}


def shown(model: Model) -> dict[str, Any]:
    """Return the body of `POST /api/show`."""
    context = {f"{_FAMILY}.{name}": length for name, length in _context(model).items()}
    return {
        "details": _details(model),
        "model_info": {"general.architecture": _FAMILY, **context},
        "capabilities": _capabilities(model),
        "parameters": _parameters(model),
        **_modified(model),
    }


def _entry(model: Model) -> dict[str, Any]:
    """Return what lists have of a model; workers do not tell its size.

    The digest is of all that is known of the model: another one is another model.
    """
    known = model.model_dump_json(exclude={"created", "sees", "slots"})
    return {
        "name": model.id,
        "model": model.id,
        "size": 0,
        "digest": hashlib.sha256(known.encode()).hexdigest(),
        "details": _details(model),
        "capabilities": _capabilities(model),
    }


def _details(model: Model) -> dict[str, Any]:
    unknown = dict.fromkeys(("parent_model", "format", "parameter_size", "quantization_level"), "")
    return {**unknown, "family": _FAMILY, "families": [_FAMILY], **_context(model)}


def _context(model: Model) -> dict[str, int]:
    return {"context_length": model.context_length} if isinstance(model, ModelCard) else {}


def _capabilities(model: Model) -> list[str]:
    if not isinstance(model, ModelCard):
        return ["completion", "vision"]  # as LLaVA's own workers can
    further = {"vision": model.can_see, "tools": "tools" in model.supported_params}
    return ["completion", *(name for name, can in further.items() if can)]


def _parameters(model: Model) -> str:
    """Return what a request is answered with that leaves its options out, a line for each."""
    if not isinstance(model, ModelCard):
        return ""
    return "\n".join(f"{name} {value:g}" for name, value in model.sampling.model_dump().items())


def _modified(model: Model) -> dict[str, str]:
    """Return since when the model is served, where that is known."""
    if not model.created:
        return {}
    return {"modified_at": datetime.fromtimestamp(model.created, UTC).isoformat()}
