"""Tokenisation by an SGLang server: texts and messages that bring no pictures."""

from typing import Any

from llava_serve.chat.rendering import PromptFormat
from llava_serve.engines.sglang import payload
from llava_serve.engines.sglang.client import Body, SglangClient
from llava_serve.engines.sglang.served import Served
from llava_serve.errors import InvalidField, SglangFailed, UnsupportedField
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import Conversation, DetokenizeRequest, ReadyPrompt, TokenizeRequest

NO_TEMPLATE = (
    "the SGLang server has no chat template; start it with --chat-template, or this worker with "
    "--conv-mode"
)
_CALL_S = 10.0
_IMAGES = (
    "holds pictures, and an SGLang server does not tell what they become; serve the model with "
    "python -m llava_serve.model_worker as well"
)


class ServerTokenizer:
    """Asks the server; `form` renders messages in place of its chat template."""

    def __init__(self, client: SglangClient, form: PromptFormat | None) -> None:
        self._client = client
        self._form = form

    async def tokenize(self, request: TokenizeRequest, served: Served) -> Tokenization:
        """Tell the tokens of a prompt.

        Raises:
            UnsupportedField: it asks for what the server does not tell.
            InvalidField: nobody can render the messages.
        """
        if request.with_strings:
            raise UnsupportedField("return_token_strs", "is not told by an SGLang server")
        answer = await self._call("/v1/tokenize", self._asked(request, served), served)
        tokens = _told(answer, "tokens", list)
        return Tokenization(count=len(tokens), max_model_len=served.context_length, tokens=tokens)

    async def detokenize(self, request: DetokenizeRequest, served: Served) -> Detokenization:
        """Tell the text of tokens."""
        asked = {"tokens": list(request.tokens), "skip_special_tokens": False}
        answer = await self._call("/v1/detokenize", asked, served)
        return Detokenization(prompt=_told(answer, "text", str))

    def _asked(self, request: TokenizeRequest, served: Served) -> Body:
        prompt = request.prompt
        if isinstance(prompt, Conversation):
            if any(message.media for message in prompt.messages):
                raise UnsupportedField("messages", _IMAGES)
            if self._form is None:
                if not served.has_template:
                    raise InvalidField("messages", NO_TEMPLATE)
                return payload.messages_body(prompt, {}, {})
            prompt = payload.ready_prompt(prompt, self._form)
        return _text(prompt, request.adds_special_tokens)

    async def _call(self, path: str, asked: Body, served: Served) -> Any:
        return await self._client.call(path, _CALL_S, served.address, asked)


def _text(prompt: ReadyPrompt, adds_special_tokens: bool) -> Body:
    return {"prompt": prompt.text, "add_special_tokens": adds_special_tokens}


def _told(answer: Any, field: str, kind: type[Any]) -> Any:
    if not isinstance(answer, dict) or not isinstance(answer.get(field), kind):
        raise SglangFailed(f"it answers {str(answer)[:100]!r} where {field} should be told")
    return answer[field]
