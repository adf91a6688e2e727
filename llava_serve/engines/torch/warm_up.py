"""A first request before the first user's, which tells how fast the machine is."""

import logging
import threading
import time
from dataclasses import dataclass

import PIL.Image

from llava_serve.engines.torch.cache import Segment
from llava_serve.engines.torch.decode import Decoder, unusable
from llava_serve.engines.torch.prepare import Preparer
from llava_serve.engines.torch.prompt import Prompt
from llava_serve.request import Conversation, GenerateRequest, Image, Message, SamplingParams

logger = logging.getLogger(__name__)

_SIZE = (64, 48)  # (width, height): not square, so that anyres tiles it
_LEAST_TOKENS = 64  # of fewer, a step costs hardly less
_STEP_S = 0.1  # how long prompts and pictures may hold up the answers beside them


@dataclass(frozen=True, slots=True)
class Pace:
    """What a step takes on beside running answers: tokens of prompts, and tiles of pictures.

    Each is what the machine does in a tenth of a second, where that is not too little to be
    worthwhile.
    """

    tokens: int
    tiles: int


def warm_up(preparer: Preparer, decoder: Decoder, kv_tokens: int) -> Pace:
    """Read a picture once, so that no user pays for it.

    Raises:
        CommandError: a cache of `kv_tokens` does not hold even that.
        RuntimeError: the model fails, as when memory is short.
    """
    started = time.monotonic()
    picture = Image(PIL.Image.new("RGB", _SIZE), sha256="warm-up")
    request = GenerateRequest(
        request_id="warm-up",
        prompt=Conversation((Message("user", (picture, "Hello")),)),
        sampling=SamplingParams(temperature=0),
    )
    preparation = preparer.begin(preparer.preprocess(request.prompt, threading.Event()))
    while preparation.pending:
        preparer.features.advance(preparation.pending)
    tiles = max(1, int(_STEP_S / preparer.features.seconds_per_tile()))
    prompt = preparer.prompt(preparation)
    length = len(prompt.tokens)
    if length + 1 > kv_tokens:
        raise unusable(kv_tokens, f"a small picture takes {length} tokens")
    pace = Pace(_tokens(decoder, prompt), tiles)
    logger.info(
        "warmed up in %.1f s; a step takes %d tokens of prompts or %d tiles beside answers",
        time.monotonic() - started,
        pace.tokens,
        pace.tiles,
    )
    return pace


def _tokens(decoder: Decoder, prompt: Prompt) -> int:
    length = len(prompt.tokens)
    decoder.forward(prompt.embeddings, [Segment(0, length, 0, 0)])
    decoder.forward(prompt.embeddings[:1], [Segment(0, 1, 0, length)])
    sample = min(length, _LEAST_TOKENS)
    started = time.monotonic()
    logits = decoder.forward(prompt.embeddings[:sample], [Segment(0, sample, 0, 0)])
    logits.argmax().item()  # waits for the device
    return max(_LEAST_TOKENS, int(sample * _STEP_S / (time.monotonic() - started)))
