"""Requests become bodies of SGLang's routes: messages for its own template, or a ready prompt."""

import base64
import io
import json
import threading
from collections.abc import Mapping, Sequence

from llava_serve.chat.rendering import PromptFormat
from llava_serve.chat.tool_rendering import shown_calls, shown_result
from llava_serve.engines.sglang.client import Body
from llava_serve.engines.sglang.served import Served
from llava_serve.engines.sglang.tools import choice_body, tools_body
from llava_serve.errors import UnsupportedField
from llava_serve.request import (
    IMAGE_PLACEHOLDER,
    Conversation,
    Image,
    Message,
    ReadyPrompt,
    SamplingParams,
    Video,
)

CHAT = "/v1/chat/completions"
GENERATE = "/generate"

Uris = Mapping[str, str]  # of a prompt's images, by their digests
_FASTEST = 1  # PNG's compression level: the server is near, and the image is decoded at once


def encode(prompt: Conversation | ReadyPrompt, stopped: threading.Event) -> Uris:
    """Encode the images of a prompt as `data:` URIs, until `stopped` is set."""
    if isinstance(prompt, ReadyPrompt):
        images = [*prompt.images]
    else:
        images = [image for message in prompt.messages for image in message.images]
    distinct = {image.sha256: image for image in images}
    return {name: data_uri(one) for name, one in distinct.items() if not stopped.is_set()}


def chat_body(
    conversation: Conversation, uris: Uris, sampling: SamplingParams, served: Served, rid: str
) -> Body:
    """Return a body for `CHAT`, which streams deltas."""
    images = sum(len(message.images) for message in conversation.messages)
    extra = {"modalities": "multi-images"} if served.is_original and images > 1 else {}
    body: Body = {
        "rid": rid,
        "model": served.model_id,
        **messages_body(conversation, uris, extra),
        "stream": True,
        "stream_options": {"include_usage": True},
        "separate_reasoning": False,
        "max_tokens": sampling.max_new_tokens,
        **_sampling(sampling),
        **_seed(sampling, served, "seed"),
        **choice_body(conversation, sampling),
    }
    if sampling.tells_usage:
        body["stream_options"]["continuous_usage_stats"] = True
    if sampling.min_new_tokens:  # a router takes no 0
        body["min_tokens"] = sampling.min_new_tokens
    if sampling.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": json.loads(sampling.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def messages_body(conversation: Conversation, uris: Uris, extra: Body) -> Body:
    """Return what says the conversation, with `extra` fields of each image."""
    said = conversation.messages
    messages = [_message(message, uris, extra) | shown_result(message, said) for message in said]
    body = {"messages": messages, **tools_body(conversation)}
    if not conversation.continues:
        return body
    messages[-1]["content"] = conversation.begun  # the server goes on with a plain text only
    return body | {"continue_final_message": True}


def generate_body(
    prompt: ReadyPrompt, uris: Uris, sampling: SamplingParams, served: Served, rid: str
) -> Body:
    """Return a body for `GENERATE`."""
    params: Body = {
        "max_new_tokens": sampling.max_new_tokens,
        "min_new_tokens": sampling.min_new_tokens,
        **_sampling(sampling),
        **_seed(sampling, served, "sampling_seed"),
    }
    if sampling.json_schema is not None:
        params["json_schema"] = sampling.json_schema
    said = {"input_ids": [*prompt.tokens]} if prompt.tokens else {"text": prompt.text}
    body: Body = {"rid": rid, **said, "stream": True, "sampling_params": params}
    if prompt.images:
        body["image_data"] = [uris[image.sha256] for image in prompt.images]
    if served.is_original and len(prompt.images) > 1:
        body["modalities"] = ["multi-images"]
    if sampling.top_logprobs is not None:
        body |= {
            "return_logprob": True,
            "top_logprobs_num": sampling.top_logprobs,
            "return_text_in_logprobs": True,
        }
    return body


def ready_prompt(conversation: Conversation, form: PromptFormat) -> ReadyPrompt:
    """Render messages with a conversation template of ours."""
    text, images = "", []
    for segment in form.render(conversation):
        if isinstance(segment, Image):
            images.append(segment)
            text += IMAGE_PLACEHOLDER
        elif not isinstance(segment, Video):
            text += segment.text
    return ReadyPrompt(text, tuple(images))


def check_seed(sampling: SamplingParams, served: Served) -> None:
    """Raises: UnsupportedField, for a seed that the server would ignore without a word."""
    is_greedy = sampling.temperature == 0 or sampling.top_k == 1
    if sampling.seed is not None and not is_greedy and not served.honours_seed:
        raise UnsupportedField(
            "seed",
            "has no effect on this SGLang server: it was started without "
            "--enable-deterministic-inference",
        )


def _sampling(sampling: SamplingParams) -> Body:
    """Return what both routes call by the same name."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,
        "repetition_penalty": sampling.repetition_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "min_p": sampling.min_p,
        "ignore_eos": sampling.ignore_eos,
        "stop": list(sampling.stop),
        "no_stop_trim": bool(sampling.stop),  # we cut there: the server would show half of one
        "regex": sampling.regex,
    }


def _seed(sampling: SamplingParams, served: Served, name: str) -> Body:
    return {name: sampling.seed} if served.honours_seed and sampling.seed is not None else {}


def _message(message: Message, uris: Uris, extra: Body) -> Body:
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": uris[part.sha256]}} | extra
        for part in _joined(message.parts)
    ]
    says_nothing = message.tool_calls and not any(message.parts)
    return {
        "role": message.role,
        "content": None if says_nothing else content,
        **shown_calls(message, str),
    }


def _joined(parts: Sequence[str | Image | Video]) -> list[str | Image]:
    """Join texts that stand together: some of SGLang's templates take only one, or add blanks."""
    joined: list[str | Image] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif not isinstance(part, Video):
            joined.append(part)
    return joined


def data_uri(image: Image) -> str:
    """Return the pixels as a `data:` URI, without loss."""
    encoded = io.BytesIO()
    image.image.save(encoded, "PNG", compress_level=_FASTEST)
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
