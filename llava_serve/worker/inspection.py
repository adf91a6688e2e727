"""Inspection of a request: it waits in line as one that is answered, and takes no slot."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.media.limits import PixelReservation
from llava_serve.request import Conversation, InspectRequest, SamplingParams
from llava_serve.worker.worker import ModelWorker

ReadConversation = Callable[[PixelReservation], Awaitable[Conversation]]


class InspectionBody(Response):
    """A response that inspects a request, until its client leaves."""

    def __init__(
        self,
        worker: ModelWorker,
        read_conversation: ReadConversation,
        sampling: SamplingParams,
        *,
        with_pixels: bool,
    ) -> None:
        super().__init__()
        self._worker = worker
        self._read_conversation = read_conversation
        self._sampling = sampling
        self._with_pixels = with_pixels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inspection = await unless_client_leaves(self._inspected(), receive)
        if inspection is not None:
            await Response(inspection, media_type="application/json")(scope, receive, send)

    async def _inspected(self) -> str:
        worker = self._worker
        async with worker.media.reservation() as reservation:
            with worker.gate.line():
                request = InspectRequest(
                    conversation=await self._read_conversation(reservation),
                    sampling=self._sampling,
                    with_pixels=self._with_pixels,
                )
                return (await worker.engine.inspect(request)).model_dump_json()
