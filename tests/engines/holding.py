"""An engine that has caches, as the one that runs models does."""

from llava_serve.engines.base import EngineStatus
from llava_serve.engines.echo import EchoEngine


class HoldingEngine(EchoEngine):
    """Says what it holds."""

    def status(self) -> EngineStatus:  # type: ignore[override]
        return EngineStatus(
            kv_tokens_total=200,
            kv_tokens_held=50,
            kv_tokens_cached=100,
            feature_bytes=1024,
            feature_hits=3,
            feature_misses=1,
        )
