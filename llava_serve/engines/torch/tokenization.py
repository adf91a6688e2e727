"""Tokenisation for clients, by the code that prepares prompts; tokens as text again."""

import threading
from itertools import groupby
from typing import Any

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.prompt import PromptProcessor
from llava_serve.engines.torch.prompt_inspection import PromptInspector
from llava_serve.errors import InvalidField
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import IMAGE_PLACEHOLDER, Conversation, DetokenizeRequest, TokenizeRequest


class ClientTokenizer:
    """Tokenises for the clients of one engine; safe to call from any thread."""

    def __init__(
        self, loaded: LoadedModel, processor: PromptProcessor, inspector: PromptInspector
    ) -> None:
        self._loaded = loaded
        self._processor = processor
        self._inspector = inspector
        embed: Any = loaded.model.get_input_embeddings()
        self._vocabulary = max(len(loaded.tokenizer), embed.num_embeddings)

    def tokenize(self, request: TokenizeRequest, stopped: threading.Event) -> Tokenization:
        """Tell the tokens of a prompt.

        Raises:
            BadRequest: it cannot be rendered, or is far too long.
        """
        prompt = request.prompt
        if isinstance(prompt, Conversation):
            tokens = self._inspector.tokens_of(prompt, stopped)
        else:
            items = self._processor.tokenize(
                prompt, stopped, is_prefixed=request.adds_special_tokens
            )
            tokens = [item for item in items if isinstance(item, int)]  # no image comes with it
        return Tokenization(
            count=len(tokens),
            max_model_len=self._processor.context,
            tokens=tokens,
            token_strs=list(map(self._string, tokens)) if request.with_strings else None,
        )

    def detokenize(self, request: DetokenizeRequest, _: threading.Event) -> Detokenization:
        """Tell the text of tokens.

        Raises:
            InvalidField: one of them is no token of the model.
        """
        for token in request.tokens:
            if not self._is_token(token):
                raise InvalidField(request.field, f"{token} is no token of this model")
        runs = groupby(request.tokens, lambda token: token >= 0)
        texts = (
            self._decode(list(tokens))
            if are_in_vocabulary
            else IMAGE_PLACEHOLDER * len(list(tokens))
            for are_in_vocabulary, tokens in runs
        )
        return Detokenization(prompt="".join(texts))

    def _decode(self, tokens: list[int]) -> str:
        text = self._loaded.tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def _is_token(self, token: int) -> bool:
        return 0 <= token < self._vocabulary or token == self._loaded.image_token_id

    def _string(self, token: int) -> str:
        if token < 0:
            return IMAGE_PLACEHOLDER
        return str(self._loaded.tokenizer.convert_ids_to_tokens([token])[0] or "")
