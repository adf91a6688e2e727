"""Text length check: what cannot fit into the context is refused before it is tokenised whole.

A tokenizer's time and memory grow with the text, by some hundred bytes for each character of a
long word, and nothing interrupts it. So the length in bytes is checked first, and then tokens are
counted slice by slice.
"""

import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from llava_serve.errors import ShuttingDown, TextTooLong
from llava_serve.request import Conversation, ReadyPrompt

# Bytes: 128 spaces, the longest of LLaVA's language models. Source: Qwen/Qwen2-7B, vocab.json.
LONGEST_TOKEN = 128
_SLICE_CHARACTERS = 16_384
# Bytes of a text that become one byte of a token where a tokenizer composes (NFC), at most: U+03B0,
# 2 bytes, of three characters of 2 bytes each. Source: Unicode Standard Annex #15, over all of
# Python's unicodedata.
_NORMALISED = 3
_CERTAINLY = 2  # words are cut where slices meet, so this many times the context is beyond doubt


def texts_of(prompt: Conversation | ReadyPrompt) -> list[str]:
    """Return the texts of a prompt, without its images and videos."""
    if isinstance(prompt, ReadyPrompt):
        return [prompt.text]
    said = [text for message in prompt.messages for text in message.texts]
    tools = [text for tool in prompt.tools for text in (tool.description, _json(tool.parameters))]
    calls = [_json(call.arguments) for message in prompt.messages for call in message.tool_calls]
    return [*said, *(text for text in tools if text is not None), *calls]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def check_length(texts: Sequence[str], context: int, longest_token: int = LONGEST_TOKEN) -> None:
    """Check the length of one prompt's texts, where no token has more than so many bytes.

    Raises:
        TextTooLong: they cannot fit into the context.
    """
    size = sum(map(len, texts))
    if size > context * longest_token * _NORMALISED:
        raise TextTooLong(f"{size} characters", context)


class TextLengthCheck:
    """Checks texts against a context of so many tokens, for one vocabulary."""

    def __init__(
        self, encode: Callable[[str], list[int]], vocabulary: Collection[str], context: int
    ) -> None:
        self._encode = encode
        self._context = context
        self._longest_token = max(len(token.encode()) for token in vocabulary)

    def check(self, texts: Sequence[str], stopped: threading.Event) -> None:
        """Check the texts of one prompt together.

        Raises:
            TextTooLong: they cannot fit.
            ShuttingDown: `stopped` was set meanwhile.
        """
        check_length(texts, self._context, self._longest_token)
        if sum(map(len, texts)) <= max(self._context, _SLICE_CHARACTERS):  # quickly tokenised
            return
        tokens = 0
        for text in texts:
            for start in range(0, len(text), _SLICE_CHARACTERS):
                if stopped.is_set():
                    raise ShuttingDown
                tokens += len(self._encode(text[start : start + _SLICE_CHARACTERS]))
                if tokens > _CERTAINLY * self._context:
                    raise TextTooLong(f"more than {self._context} tokens", self._context)
