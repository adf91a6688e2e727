"""The cluster's HTML says what is known and no more, and no worker can write into it."""

import re
from typing import Any

import pytest

from llava_serve.protocol.cluster_snapshot import (
    ClusterSnapshot,
    FailureSummary,
    WorkerFailure,
    WorkerSnapshot,
)
from llava_serve.protocol.vitals import EngineVitals, Vitals
from llava_serve.web.operators.cluster_view import age, render
from llava_serve.web.operators.sparkline import sparkline
from tests.web.wordless import wordless, words_left

HOSTILE = "<img src=x onerror=alert(1)>\"'"
CACHES = EngineVitals(
    kv_tokens_total=1000,
    kv_tokens_held=250,
    kv_tokens_cached=100,
    feature_bytes=5_000_000,
    feature_hits=3,
    feature_misses=1,
)


def worker(**fields: Any) -> WorkerSnapshot:
    known: dict[str, Any] = {
        "id": "id",
        "address": "http://w:1",
        "state": "alive",
        "breaker": "closed",
        "models": ["llava"],
        "engine": "torch",
        "slots": 4,
        "in_flight": 0,
        "queue_length": 6,
        "sees": True,
        "sight": "it named them",
        "last_seen_s": 3.0,
    }
    return WorkerSnapshot(**(known | fields))


def snapshot(*workers: WorkerSnapshot, **fields: Any) -> ClusterSnapshot:
    known: dict[str, Any] = {
        "version": "1.0",
        "uptime_s": 90.0,
        "log_level": "info",
        "states": {"alive": len(workers)} if workers else {},
        "slots": 4,
        "queue_length": 6,
        "waiting": {"llava": 2},
        "tokens_per_s": 12.0,
        "matching": len(workers),
        "workers": list(workers),
        "failures": [],
    }
    return ClusterSnapshot(**(known | fields))


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_worker_that_tells_everything_has_every_number() -> None:
    vitals = Vitals(
        version="1.2",
        uptime_s=90000,
        precision="bfloat16",
        prompt_tokens=200,
        cached_tokens=50,
        engine=CACHES,
    )
    html = render(
        snapshot(worker(vitals=vitals, tokens_per_s=[None, 5, 7.5], kv_fraction=[0.1, 0.2, 0.25])),
        "",
    )
    text = words(html)
    for said in (
        *("w:1", "1.2, up 1 d 1 h", "heard 3 s ago", "torch, bfloat16", "4 of 4 2 in its line"),
        *("7.5", "25% used", "10% kept of 1,000 tokens", "prompts 25%", "pictures 75%", "5.0 MB"),
        *("sees", "none", "1 alive", "6 of 4 slots", "In line 2"),
    ):
        assert said in text
    assert html.count("<svg") == 2


def test_of_a_worker_that_tells_nothing_no_number_is_made_up() -> None:
    html = render(snapshot(worker(slots=None, sees=None)), "")
    text = words(html)
    assert "version not told" in text and "slots not told" in text and "not known" in text
    assert html.count("does not tell this controller") == 3
    assert "<svg" not in html and "%" not in text


def test_failures_have_their_remedy_and_workers_their_last_errors() -> None:
    failed = WorkerFailure(code="worker_lost", ago_s=70, request_id="req-9")
    counted = FailureSummary(
        code="worker_lost", count=1234, fault="server", remedy="Ask again.", ago_s=4
    )
    text = words(render(snapshot(worker(failures=[failed]), failures=[counted]), ""))
    assert "worker_lost 1 min ago" in text and "request req-9" in text
    assert "worker_lost 1,234 ours 4 s ago Ask again." in text


def test_nothing_that_a_worker_or_a_request_says_is_html() -> None:
    vitals = Vitals(version=HOSTILE, uptime_s=1, precision=HOSTILE)
    failure = WorkerFailure(code=HOSTILE, ago_s=1, request_id=HOSTILE)
    counted = FailureSummary(code=HOSTILE, count=1, fault=HOSTILE, remedy=HOSTILE, ago_s=1)
    hostile = worker(
        id=HOSTILE,
        address=f"http://{HOSTILE}",
        models=[HOSTILE],
        engine=HOSTILE,
        state=HOSTILE,
        sight=HOSTILE,
        vitals=vitals,
        failures=[failure],
    )
    html = render(
        snapshot(
            hostile, version=HOSTILE, log_level=HOSTILE, states={HOSTILE: 1}, failures=[counted]
        ),
        HOSTILE,
    )
    assert "<img" not in html and not re.search(r'="[^"]*<', html)


def test_an_empty_cluster_and_a_search_without_result_say_so() -> None:
    assert "No worker has registered" in render(snapshot(), "")
    assert "No worker matches" in render(snapshot(states={"alive": 3}), "nope")
    assert "The first 1 of 700" in words(render(snapshot(worker(), matching=700), ""))
    assert "No request failed" in render(snapshot(), "")


@pytest.mark.parametrize(
    ("state", "do"), [("alive", "drain"), ("draining", "undrain"), ("drained", "undrain")]
)
def test_the_button_is_the_one_that_changes_something(state: str, do: str) -> None:
    assert re.findall(r'data-do="(\w+)"', render(snapshot(worker(state=state)), "")) == [do]


def test_a_sparkline_leaves_gaps_and_needs_two_values() -> None:
    assert sparkline([]) == sparkline([1.0]) == sparkline([None, 1.0]) == ""
    assert sparkline([1.0, None, 2.0, 3.0]).count("M") == 2
    assert "18.0" in sparkline([0.0, 0.0])  # all zero lies at the bottom


def test_ages_are_in_their_largest_unit() -> None:
    shown = [age(seconds) for seconds in (0.4, 59, 60, 3599, 3600, 90_000)]
    assert shown == ["0 s", "59 s", "1 min", "59 min", "1 h", "1 d 1 h"]


def test_a_worker_that_is_silent_has_no_figures_of_now() -> None:
    vitals = Vitals(version="1.2", uptime_s=1, engine=CACHES)
    told = {"vitals": vitals, "tokens_per_s": [70.5], "kv_fraction": [0.25]}
    for state, is_told in (("draining", True), ("silent", False), ("unreachable", False)):
        shown = words(render(snapshot(worker(state=state, **told)), ""))
        assert ("70.5" in shown, "25% used" in shown) == (is_told, is_told)


def test_every_word_of_it_is_in_the_catalogue() -> None:
    vitals = Vitals(version="1", uptime_s=90000, precision="fp", engine=CACHES)
    failed = WorkerFailure(code="ill", ago_s=70, request_id="9")
    counted = FailureSummary(code="ill", count=1, fault="client", remedy="wait", ago_s=7200)
    told = worker(
        vitals=vitals, tokens_per_s=[5], kv_fraction=[0.1], failures=[failed], breaker="half_open"
    )
    workers = (told, worker(slots=None, sees=None, state="draining"))
    with wordless():
        html = render(snapshot(*workers, failures=[counted], matching=9), "")
        known = {"torch", "fp", "llava", "ill", "wait", "id", "http", "MB", "it", "named", "them"}
        assert words_left(html) == known
        assert words_left(render(snapshot(), "") + render(snapshot(states={"new": 1}), "w")) == {
            "new"
        }
