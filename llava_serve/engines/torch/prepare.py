"""Requests become prompts that can be read: tokens, feature rows, and a limit for the answer."""

import threading
import time

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.text_bound import TextBound, texts_of
from llava_serve.engines.torch.answer import Answer
from llava_serve.engines.torch.features import Features, Media
from llava_serve.engines.torch.job import Preparation, Preprocessed, Progress
from llava_serve.engines.torch.prompt import Prompt, splice
from llava_serve.engines.torch.sampling import Chooser
from llava_serve.engines.torch.tokens import PromptTokenizer
from llava_serve.errors import ContextOverflow
from llava_serve.request import Conversation, GenerateRequest, ReadyPrompt, SamplingParams


class Preparer:
    """Prepares requests for one checkpoint, whose context holds `context` tokens."""

    def __init__(self, loaded: LoadedModel, features: Features, context: int) -> None:
        self._loaded = loaded
        self.features = features
        self._context = context
        self._tokenizer = PromptTokenizer(loaded)
        self._bound = TextBound(self._tokenizer.encode, loaded.tokenizer.get_vocab(), context)
        self._tokenizing = threading.Lock()  # a long text takes memory: one at a time

    def preprocess(
        self, prompt: Conversation | ReadyPrompt, stopped: threading.Event
    ) -> Preprocessed:
        """Tokenise the prompt and cut its pictures into tiles; safe to call from any thread.

        Once `stopped` is set nobody wants the result, and the work ends at its next stage.

        Raises:
            BadRequest: the prompt cannot be rendered, or its text cannot fit into the context.
        """
        with self._tokenizing:
            self._bound.check(texts_of(prompt), stopped)
            items = self._tokenizer.tokenize(prompt)
        began_at = time.monotonic()
        tiles = self.features.preprocess(_media_of(prompt))
        return Preprocessed(items, tiles, time.monotonic() - began_at)

    def begin(self, preprocessed: Preprocessed) -> Preparation:
        """Look up the prompt's pictures; those not seen before have the tower before them."""
        media = [item for item in preprocessed.items if not isinstance(item, int)]
        return Preparation(preprocessed.items, self.features.begin(media, preprocessed.tiles))

    def prompt(self, preparation: Preparation) -> Prompt:
        """Put the rows where the pictures stand, all of which are done."""
        return splice(self._loaded, preparation.items, preparation.encodings)

    def progress(self, request: GenerateRequest, preparation: Preparation) -> Progress:
        """Return a request that is ready to be read.

        Raises:
            ContextOverflow: the context does not hold prompt and answer.
        """
        loaded, sampling = self._loaded, request.sampling
        prompt = self.prompt(preparation)
        limit = self._limit(len(prompt.tokens), sampling)
        answer = Answer(loaded.tokenizer, sampling, loaded.stop_ids, loaded.format.stops, limit)
        if isinstance(request.prompt, Conversation) and request.prompt.continues:
            answer.follow(prompt.tokens)
        return Progress(prompt, Chooser.of(sampling), answer)

    def _limit(self, prompt_tokens: int, sampling: SamplingParams) -> int:
        """Return how many tokens the answer may have."""
        left = self._context - prompt_tokens
        limit = left if sampling.max_new_tokens is None else sampling.max_new_tokens
        if limit > left or left < 1:
            raise ContextOverflow(prompt_tokens, max(limit, 1), self._context)
        return limit


def _media_of(prompt: Conversation | ReadyPrompt) -> list[Media]:
    if isinstance(prompt, ReadyPrompt):
        return list(prompt.images)
    return [part for each in prompt.messages for part in each.parts if not isinstance(part, str)]
