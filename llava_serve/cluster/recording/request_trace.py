"""Trace of a request through the controller: what its span says, once it has ended."""

from llava_serve.cluster.recording.metrics import fault_of
from llava_serve.cluster.recording.request_record import RequestRecord
from llava_serve.tracing import genai, span


def trace_request(record: RequestRecord) -> None:
    """Tell the span of the request that is served what became of it. A request's observer."""
    current = span.current.get()
    if record.worker is not None:  # else nobody knows the model: it may be any text
        current.rename(genai.name_of(record.model))
        current.set(genai.of_model(record.model, record.request_id))
    current.set(
        {
            "gen_ai.request.stream": record.is_streamed,
            "llava.outcome": record.outcome,
            "llava.asked_workers": record.asked_workers,
            "llava.resumed": record.resumed,
            "llava.queue_s": record.queue_s,
        }
    )
    if record.first_text_at is not None:
        waited_s = record.first_text_at - record.arrived_at
        current.set({"gen_ai.response.time_to_first_chunk": waited_s})
    if (tokens := record.tokens) is not None:
        current.set(genai.of_usage(tokens.prompt_tokens, tokens.completion_tokens))
        current.set({"llava.usage.image_tokens": tokens.image_tokens})
    if fault_of(record.outcome) == "server":
        current.fail(record.outcome)
