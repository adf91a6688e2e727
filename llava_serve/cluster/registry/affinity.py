"""Affinity of a request: what a worker may hold of it already, as numbers to compare."""

from collections.abc import Iterable
from typing import Any

from llava_serve.cluster.registry.hash_ring import hash_of
from llava_serve.protocol.content_part import ImagePart, VideoPart
from llava_serve.protocol.openai import ChatRequest

_SAMPLE = 1_000  # characters at either end and in the middle of a file's base64
_LLAVA_PROMPT = 200  # characters: about the system prompt and some of the first question


def of_chat(chat: ChatRequest) -> tuple[int, ...]:
    """Return the affinity to the first image, if there is one, and to the conversation."""
    opening: list[str] = []
    images: list[str] = []
    for message in chat.messages:
        for part in message.parts():
            if isinstance(part, ImagePart):
                images.append(part.image_url.url)
            elif isinstance(part, VideoPart):
                images.append(part.video_url.url)
            else:
                opening.append(part.text)
        if message.role == "user":
            break  # what follows is not there yet in the conversation's first request
    return _affinity(images, "\0".join(opening))


def of_llava(prompt: str, images: Any) -> tuple[int, ...]:
    """Return the affinity of a body of LLaVA's wire, whose `images` may be anything."""
    files = images if isinstance(images, list) else []
    return _affinity((one for one in files if isinstance(one, str)), prompt[:_LLAVA_PROMPT])


def of_text(prompt: str | list[int]) -> tuple[int, ...]:
    """Return the affinity of a text that is to go on: to others that begin as it does."""
    return _affinity((), str(prompt[:_LLAVA_PROMPT]))


def _affinity(images: Iterable[str], opening: str) -> tuple[int, ...]:
    first = next(iter(images), None)
    beginning = hash_of(f"{_sampled(first or '')}\0{opening}".encode(errors="replace"))
    if first is None:
        return (beginning,)
    return hash_of(_sampled(first).encode(errors="replace")), beginning


def _sampled(text: str) -> str:
    """Return enough of a long text to know it by; a mistake costs a cache, and no more."""
    if len(text) <= 3 * _SAMPLE:
        return text
    middle = len(text) // 2
    return f"{len(text)} {text[:_SAMPLE]}{text[middle : middle + _SAMPLE]}{text[-_SAMPLE:]}"
