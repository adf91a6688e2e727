"""What a request says of tools is read so that all of it can be shown to a model."""

import pytest

from llava_serve.errors import InvalidField
from llava_serve.protocol.openai import parse_chat_request


@pytest.mark.parametrize("arguments", ["[]", '{"a', '{"a": "\\ud800"}', '{"\\udc00": 1}'])
def test_arguments_of_a_call_that_are_no_object_of_text_are_refused(arguments: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(InvalidField) as refused:
        parse_chat_request({"model": "m", "messages": messages})
    assert refused.value.param == "messages.1.tool_calls.0.function.arguments"
