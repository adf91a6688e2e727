"""A question on the page begins a trace."""

from dataclasses import replace

from llava_serve.tracing.span import open_tracer
from llava_serve.web.chat_service import ChatService
from llava_serve.web.chat_state import ChatState
from llava_serve.web.controller_link import ControllerLink
from tests.tracing.receiver import Receiver
from tests.web.conftest import MakeServices
from tests.web.test_chat_service import ask


async def test_a_question_is_the_root_of_its_trace(
    controller: str, make_services: MakeServices
) -> None:
    async with Receiver().receiving() as receiver:
        tracer = open_tracer(receiver.address, "page")
        link = ControllerLink([controller], tracer=tracer)
        services = replace(make_services(controller), link=link)
        async with link.opened():
            await link.poll()
            await ask(ChatService(services), ChatState(), "one two three")
        services.store.close()
        asked = receiver.named("chat echo")
    assert (asked.service, asked.parent_id) == ("llava_serve.page", "")
    assert asked.attributes["gen_ai.usage.output_tokens"] == 3
