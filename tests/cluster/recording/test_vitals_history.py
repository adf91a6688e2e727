"""The history of vitals makes rates of sums, and forgets workers that have left."""

from llava_serve.cluster.recording.vitals_history import SAMPLES, VitalsHistory
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.protocol.vitals import Vitals

W = "http://w:1"


def vitals(uptime_s: float, tokens: int) -> Vitals:
    return Vitals(version="1", uptime_s=uptime_s, generated_tokens=tokens)


def rates(history: VitalsHistory) -> list[float | None]:
    told = history.of(W)
    return [sample.tokens_per_s for sample in told.samples] if told else []


def test_a_rate_is_of_the_time_between_two_heartbeats() -> None:
    history = VitalsHistory(Registry(shortest_queue))
    history.add(W, vitals(1, 100), now=10)
    history.add(W, vitals(16, 400), now=25)
    history.add(W, vitals(16, 400), now=25)  # two at once have no rate between them
    assert rates(history) == [None, 20]
    assert history.rates([W, "http://unknown:1"]) == 20


def test_another_process_has_no_rate_to_the_one_before() -> None:
    history = VitalsHistory(Registry(shortest_queue))
    history.add(W, vitals(100, 900), now=10)
    history.add(W, vitals(1, 950), now=25)
    assert rates(history) == [None]


def test_samples_are_bounded_and_strangers_are_forgotten() -> None:
    history = VitalsHistory(Registry(shortest_queue))
    for n in range(3 * SAMPLES):
        history.add(W, vitals(n, n), now=float(n))
    assert len(rates(history)) == SAMPLES
    for n in range(200):
        history.add(f"http://gone:{n}", vitals(1, 1), now=1.0)
    assert sum(history.of(f"http://gone:{n}") is not None for n in range(200)) < 100
