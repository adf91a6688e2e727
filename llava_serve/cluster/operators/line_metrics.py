"""Metrics of the waiting lines, read at each scrape; vLLM's name for what means the same."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llava_serve.cluster.waiting.line import Line


class LineCollector(Collector):
    """How many wait; how long they did, and who was refused, is counted with their requests."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily(
            "llava_controller_num_requests_waiting",
            "Requests that wait in line for a free slot of their model.",
            labels=["model_name"],
        )
        for model, length in self._line.lengths().items():
            waiting.add_metric([model], length)
        yield waiting
