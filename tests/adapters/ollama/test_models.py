"""Models in Ollama's words, held against the types of its own client."""

from datetime import UTC, datetime

import ollama
import pytest

from llava_serve import __version__
from llava_serve.adapters.ollama import models
from llava_serve.engines.echo import EchoEngine
from llava_serve.protocol.model_card import NamedModel, SamplingDefaults

CARD = EchoEngine("echo").card.model_copy(
    update={"created": 1_700_000_000, "sampling": SamplingDefaults(temperature=0.2, top_k=5)}
)
NAMED = NamedModel(id="llava-v1.5-7b")


def test_what_is_listed_has_the_clients_type() -> None:
    echo, named = ollama.ListResponse(**models.listed([CARD, NAMED])).models
    assert (echo.model, named.model) == ("echo", "llava-v1.5-7b")
    assert echo.modified_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert named.modified_at is None  # nobody knows
    assert echo.details is not None
    assert echo.details.family == "llava"


def test_a_digest_is_of_the_model_and_not_of_when_it_was_asked_about() -> None:
    def digest(**changed: object) -> str:
        (only,) = models.listed([CARD.model_copy(update=changed)])["models"]
        return str(only["digest"])

    assert len(digest()) == 64
    assert digest() == digest(created=1, slots=8, sees=True)
    assert digest() != digest(context_length=1)


def test_what_is_served_runs_for_ever() -> None:
    (echo,) = ollama.ProcessResponse(**models.running([CARD])).models
    assert (echo.name, echo.context_length) == ("echo", CARD.context_length)
    assert echo.expires_at is not None
    assert echo.expires_at.year == 9999


def test_a_model_is_shown_with_what_is_known_of_it() -> None:
    shown = ollama.ShowResponse(**models.shown(CARD))
    assert shown.modelinfo == {
        "general.architecture": "llava",
        "llava.context_length": CARD.context_length,
    }
    assert shown.capabilities == ["completion", "vision"]
    assert shown.parameters == "temperature 0.2\ntop_p 1\ntop_k 5"
    blind = ollama.ShowResponse(**models.shown(CARD.model_copy(update={"sees": False})))
    assert blind.capabilities == ["completion"]
    assert ollama.ShowResponse(**models.shown(NAMED)).capabilities == ["completion", "vision"]


def test_the_version_is_the_protocols() -> None:
    assert models.version() == {"version": models.PROTOCOL_VERSION, "llava_serve": __version__}


async def test_the_client_finds_a_model_by_each_of_its_names(client: ollama.AsyncClient) -> None:
    assert [model.model for model in (await client.list()).models] == ["echo"]
    assert [model.model for model in (await client.ps()).models] == ["echo"]
    for name in ("echo", "echo:latest"):
        assert (await client.show(name)).capabilities == ["completion", "vision"]
        answer = await client.generate(name, "hello")
        assert (answer.response, answer.model) == ("hello", name)
    for name in ("echo:7b", "other:latest", ":latest"):
        with pytest.raises(ollama.ResponseError, match="is not served here"):
            await client.show(name)
