"""Requests become prompts that can be read: tokens, feature rows, and a limit for the answer."""

import logging
from collections.abc import Sequence

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.base import GenerateRequest, Sampling
from llava_serve.engines.torch.answer import Answer
from llava_serve.engines.torch.features import Encoded, Features, Media
from llava_serve.engines.torch.job import Progress
from llava_serve.engines.torch.prompt import Prompt, splice
from llava_serve.engines.torch.sampling import Chooser
from llava_serve.engines.torch.tokens import Item, PromptTokenizer
from llava_serve.errors import ContextOverflow

logger = logging.getLogger(__name__)

_Rows = Sequence[Encoded] | None


class Preparer:
    """Prepares requests for one checkpoint, whose context holds `context` tokens."""

    def __init__(self, loaded: LoadedModel, features: Features, context: int) -> None:
        self._loaded = loaded
        self._features = features
        self._context = context
        self._tokenizer = PromptTokenizer(loaded)

    def tokenize(self, request: GenerateRequest) -> list[Item]:
        """Raises: BadRequest, when the prompt cannot be rendered."""
        return self._tokenizer.tokenize(request.prompt)

    def encode_together(self, prompts: Sequence[Sequence[Item]]) -> Sequence[_Rows]:
        """Return the rows of every prompt's media; None where each had better try its own."""
        if len(prompts) > 1:
            try:
                return self._features.encode_all([media_of(items) for items in prompts])
            except Exception as exc:  # noqa: BLE001 - raised again for the one that causes it
                logger.info("the pictures of %d requests failed together: %s", len(prompts), exc)
        return [None] * len(prompts)

    def prompt(self, items: Sequence[Item], rows: _Rows = None) -> Prompt:
        """Put the rows where the media stand, encoding them where that is not done."""
        encoded = self._features.encode(media_of(items)) if rows is None else rows
        return splice(self._loaded, items, encoded)

    def progress(self, request: GenerateRequest, items: Sequence[Item], rows: _Rows) -> Progress:
        """Return a request that is ready to be read.

        Raises:
            ContextOverflow: the context does not hold prompt and answer.
        """
        loaded, sampling = self._loaded, request.sampling
        prompt = self.prompt(items, rows)
        limit = self._limit(len(prompt.tokens), sampling)
        answer = Answer(loaded.tokenizer, sampling, loaded.stop_ids, loaded.format.stops, limit)
        return Progress(prompt, Chooser.of(sampling), answer)

    def _limit(self, prompt_tokens: int, sampling: Sampling) -> int:
        """Return how many tokens the answer may have."""
        left = self._context - prompt_tokens
        limit = left if sampling.max_new_tokens is None else sampling.max_new_tokens
        if limit > left or left < 1:
            raise ContextOverflow(prompt_tokens, max(limit, 1), self._context)
        return limit


def media_of(items: Sequence[Item]) -> list[Media]:
    return [item for item in items if not isinstance(item, int)]
