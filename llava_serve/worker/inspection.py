"""Inspection of a request: what it would become, told by the engine that would answer it."""

from collections.abc import Awaitable, Callable

from llava_serve.media.limits import PixelReservation
from llava_serve.protocol.inspection import Inspection
from llava_serve.request import Conversation, InspectRequest, SamplingParams
from llava_serve.worker.line_body import LineBody
from llava_serve.worker.worker import ModelWorker

ReadConversation = Callable[[PixelReservation], Awaitable[Conversation]]


class InspectionBody(LineBody):
    """A response that inspects a request, until its client leaves."""

    def __init__(
        self,
        worker: ModelWorker,
        read_conversation: ReadConversation,
        sampling: SamplingParams,
        *,
        with_pixels: bool,
    ) -> None:
        async def inspected(reservation: PixelReservation) -> Inspection:
            request = InspectRequest(
                conversation=await read_conversation(reservation),
                sampling=sampling,
                with_pixels=with_pixels,
            )
            return await worker.engine.inspect(request)

        super().__init__(worker, inspected)
