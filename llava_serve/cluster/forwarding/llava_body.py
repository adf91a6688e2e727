"""Requests for workers that speak LLaVA's wire only: what they cannot do is refused by name.

Such a worker tells nothing of its model but the name. So the prompt is rendered here, with the
template that LLaVA's page chooses by that.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import PIL.Image

from llava_serve.chat.markers import UserText
from llava_serve.chat.rendering import from_template
from llava_serve.chat.templates import Template
from llava_serve.errors import InvalidField, RemoteMediaRefused, UnsupportedField
from llava_serve.media.fetch import is_data_uri, read_data_uri, trimmed
from llava_serve.protocol.content_part import ImagePart, TextPart, VideoPart
from llava_serve.protocol.openai import FURTHER_FIELDS, ChatRequest
from llava_serve.request import IMAGE_PLACEHOLDER, Conversation, Image, Message, Role

# Source: haotian-liu/LLaVA@c121f04, llava/serve/model_worker.py and gradio_web_server.py: what the
# worker cuts a longer limit to, and what the page asks for where its user sets nothing.
_MOST_NEW_TOKENS = 1024
_NEW_TOKENS, _TEMPERATURE, _TOP_P = 512, 0.2, 0.7
_CANNOT = "is not supported by LLaVA's own workers, and no other serves this model"

_NO_TOOLS = "LLaVA's own workers do not know, and no other serves this model"

_HONOURED = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
    *("temperature", "top_p", "user", "safety_identifier", "prompt_cache_key"),
}
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "ignore_eos": (False,),
    "logprobs": (False,),
    "min_tokens": (0,),
    "n": (1,),
    "parallel_tool_calls": (True, False),  # without tools
    "repetition_penalty": (1,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_k": (0,),
    "top_logprobs": (0,),
    **FURTHER_FIELDS,
}
_NO_PIXELS = PIL.Image.new("RGB", (1, 1))  # the worker decodes pictures


async def llava_body(chat: ChatRequest, template: Template) -> dict[str, Any]:
    """Return the body of LLaVA's wire that asks for the same.

    Raises:
        BadRequest: it asks for what these workers cannot do.
    """
    _check(chat)
    prompt, urls = _rendered(chat, template)
    return {
        "model": chat.model,
        "prompt": prompt,
        "stop": template.stop,
        "images": [await asyncio.to_thread(_base64, url) for url in urls],
        **_sampling(chat),
    }


def _check(chat: ChatRequest) -> None:
    """Refuse by name what workers of LLaVA's wire cannot do."""
    for name, field in ChatRequest.model_fields.items():
        value = getattr(chat, name)
        default = field.get_default(call_default_factory=True, validated_data={})
        if name in _HONOURED or value is None or value == default:
            continue
        if value not in _NEUTRAL.get(name, ()):
            told = "" if name == "tools" else f"{value!r:.80} "
            raise UnsupportedField(name, told + _CANNOT)
    for at, said in enumerate(chat.messages):
        if said.tool_calls or said.role == "tool":
            name = "tool_calls" if said.tool_calls else "role"
            raise UnsupportedField(f"messages.{at}.{name}", f"speaks of tools, which {_NO_TOOLS}")
    limits = {chat.max_tokens, chat.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise InvalidField("max_tokens", "differs from max_completion_tokens; send one of them")
    if max((limit for limit in limits if limit), default=0) > _MOST_NEW_TOKENS:
        raise InvalidField(
            "max_tokens", f"is above {_MOST_NEW_TOKENS:,}, the most that LLaVA's own workers give"
        )


def _sampling(chat: ChatRequest) -> dict[str, Any]:
    """Return how the answer is sampled, in the words of LLaVA's wire; a top_p of 0 is greedy."""
    temperature = _TEMPERATURE if chat.temperature is None else chat.temperature
    top_p = _TOP_P if chat.top_p is None else chat.top_p
    return {
        "temperature": temperature if top_p else 0.0,
        "top_p": top_p or 1.0,
        "max_new_tokens": chat.max_completion_tokens or chat.max_tokens or _NEW_TOKENS,
    }


def _rendered(chat: ChatRequest, template: Template) -> tuple[str, list[str]]:
    """Return the prompt, and the addresses of its pictures in their order."""
    urls: dict[int, str] = {}
    messages = []
    for at, said in enumerate(chat.messages):
        role: Role = "system" if said.role == "developer" else said.role
        parts: list[str | Image] = []
        for part in said.parts():
            if isinstance(part, TextPart):
                parts.append(part.text)
                continue
            image = Image(_NO_PIXELS, "")
            urls[id(image)] = _url_of(part, f"messages.{at}.content")
            parts.append(image)
        messages.append(Message(role, tuple(parts)))
    prompt, shown = "", []
    for segment in from_template(template).render(Conversation(tuple(messages))):
        if isinstance(segment, Image):
            prompt += IMAGE_PLACEHOLDER
            shown.append(urls[id(segment)])
        elif isinstance(segment, UserText) and IMAGE_PLACEHOLDER in segment.text:
            raise InvalidField("messages", f"a text contains {IMAGE_PLACEHOLDER}")
        else:
            prompt += getattr(segment, "text", "")
    return prompt, shown


def _url_of(part: ImagePart | VideoPart, place: str) -> str:
    if isinstance(part, VideoPart):
        raise UnsupportedField(f"{place}.video_url", _CANNOT)
    if part.image_url.detail == "low":
        raise UnsupportedField(f"{place}.image_url.detail", f"'low' {_CANNOT}")
    url = trimmed(part.image_url.url)
    if not is_data_uri(url):
        raise RemoteMediaRefused("LLaVA's own workers fetch no web addresses")
    return url


def _base64(url: str) -> str:
    return base64.b64encode(read_data_uri(url, len(url))).decode("ascii")
