"""Vitals of a worker as it tells them: from its engine, its clock and its sums of tokens."""

from dataclasses import asdict

from llava_serve import __version__
from llava_serve.protocol.vitals import EngineVitals, Vitals
from llava_serve.worker.worker import ModelWorker


def vitals_of(worker: ModelWorker) -> Vitals:
    """Return a worker's vitals as they are; called with each heartbeat."""
    status, tokens = worker.engine.status(), worker.metrics.token_sums
    return Vitals(
        version=__version__,
        uptime_s=worker.clock() - worker.started_at,
        precision=worker.engine.precision,
        generated_tokens=tokens["generated"],
        prompt_tokens=tokens["prompt"],
        cached_tokens=tokens["cached"],
        engine=None if status is None else EngineVitals(**asdict(status)),
    )
