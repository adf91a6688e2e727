"""Controller options: what a controller of the cluster asks of an answer, beside the body."""

from dataclasses import replace
from typing import Any

from fastapi import Request

from llava_serve.protocol.cluster import BATCH
from llava_serve.request import SamplingParams
from llava_serve.worker.generation import Generation, ReadPrompt
from llava_serve.worker.resumption import take_resumption
from llava_serve.worker.usage import UsageTally
from llava_serve.worker.worker import ModelWorker


class ControllerOptions:
    """How one request's answer is resumed, stands back, and what is told of its usage."""

    def __init__(self, request: Request, content: Any) -> None:
        """Take them out of the headers and the decoded body.

        Raises:
            InvalidField: what is to be resumed is no answer.
        """
        self.resumption = take_resumption(request, content)
        self._is_batch = BATCH in request.headers
        self._tally = UsageTally.asked_for(request.headers)

    def generation(
        self,
        worker: ModelWorker,
        read_prompt: ReadPrompt,
        sampling: SamplingParams,
        count: int = 1,
        prompts: int = 1,
    ) -> Generation:
        """Return what generates the answers on these options."""
        if self._tally is not None:
            sampling = replace(sampling, tells_usage=True)
        resumed = self.resumption.tokens if self.resumption else ()
        generation = Generation(worker, read_prompt, sampling, count, resumed, prompts)
        generation.tally = self._tally
        generation.is_batch = self._is_batch
        return generation
