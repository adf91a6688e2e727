"""Token estimate of a request, for the line and for limits: its prompt and its longest answers."""

from collections.abc import Sequence

from llava_serve.protocol.content_part import ImagePart, TextPart
from llava_serve.protocol.openai import ChatRequest

_CHARACTERS = 4  # of English text in a token
# Source: LLaVA-1.5 makes 576 tokens of a picture, LLaVA-1.6 up to 2,880; LLaVA-OneVision 196 of a
# frame.
IMAGE_TOKENS = 1000
_TILE_TOKENS = 600  # where one is enough
_FRAME_TOKENS = 200
_FRAMES = 8  # where the request does not say
_ANSWER_TOKENS = 500  # where the request does not say
_MOST_EXPECTED = 32_000  # limits of answers are often far above any answer


def estimate_tokens(chat: ChatRequest) -> float:
    """Return what a request of the native wire will probably take."""
    tokens = 0.0
    for message in chat.messages:
        if isinstance(message.content, str):
            tokens += len(message.content) / _CHARACTERS
            continue
        for part in message.content:
            if isinstance(part, TextPart):
                tokens += len(part.text) / _CHARACTERS
            elif isinstance(part, ImagePart):
                tokens += _TILE_TOKENS if part.image_url.detail == "low" else IMAGE_TOKENS
            else:
                tokens += _FRAME_TOKENS * (part.video_url.num_frames or _FRAMES)
    tools = [tool.function for tool in chat.tools or ()]
    tokens += sum(len(tool.model_dump_json(exclude_none=True)) for tool in tools) / _CHARACTERS
    answer_tokens = chat.max_completion_tokens or chat.max_tokens or _ANSWER_TOKENS
    return tokens + answer_tokens * (chat.n or 1)


def estimate_llava_tokens(prompt: str, images: int, answer_tokens: object) -> float:
    """Return the same for a request of LLaVA's wire, whose fields nobody has checked yet."""
    if not isinstance(answer_tokens, int) or not 1 <= answer_tokens < 2**31:  # the worker says so
        answer_tokens = _ANSWER_TOKENS
    return len(prompt) / _CHARACTERS + images * IMAGE_TOKENS + answer_tokens


def estimate_text_tokens(prompts: Sequence[str | list[int]], answer_tokens: int) -> float:
    """Return the same for texts or tokens that are to go on, given the tokens of all answers."""
    counts = (len(one) / (_CHARACTERS if isinstance(one, str) else 1) for one in prompts)
    return sum(counts) + answer_tokens


def counted_tokens(estimate: float) -> int:
    """Return what of an estimate counts against the limits of a key."""
    return round(min(estimate, _MOST_EXPECTED))
