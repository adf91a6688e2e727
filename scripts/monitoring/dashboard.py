"""Grafana dashboard: `python -m scripts.monitoring.dashboard` writes dashboard.json."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "dashboard.json"
_WIDTH, _HEIGHT = 8, 8  # of a panel, in units of which a row has 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: a title, its unit in Grafana's words, and queries by their legend."""

    title: str
    unit: str
    queries: dict[str, str]


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


def _quantiles(metric: str, by: str) -> dict[str, str]:
    """Return the median and the slowest hundredth of a histogram."""
    rate = _rate(f"{metric}_bucket", f"le, {by}")
    return {
        f"p{percent} {{{{{by}}}}}": f"histogram_quantile({percent / 100}, {rate})"
        for percent in (50, 99)
    }


def _controller(metric: str) -> dict[str, str]:
    return _quantiles(f"llava_controller_{metric}", "model_name")


def _worker(metric: str) -> dict[str, str]:
    return _quantiles(f"llava_worker_{metric}", "instance")


_REQUESTS = "llava_controller_model_requests_total"
ROWS = {
    "Requests, as the controllers see them": [
        Panel("Requests", "reqps", {"{{model_name}}": _rate(_REQUESTS, "model_name")}),
        Panel(
            "Errors by code",
            "reqps",
            {"{{fault}}: {{outcome}}": _rate(f'{_REQUESTS}{{outcome!="ok"}}', "fault, outcome")},
        ),
        Panel("Total time", "s", _controller("e2e_request_latency_seconds")),
        Panel("Time to first token", "s", _controller("time_to_first_token_seconds")),
        Panel(
            "Requests in line",
            "short",
            {"{{model_name}}": "sum by (model_name) (llava_controller_num_requests_waiting)"},
        ),
        Panel("Time in line", "s", _controller("request_queue_time_seconds")),
        Panel("Time per token", "s", _controller("request_time_per_output_token_seconds")),
        Panel(
            "Tokens of prompts and answers",
            "short",
            {
                "prompt {{model_name}}": _rate(
                    "llava_controller_prompt_tokens_total", "model_name"
                ),
                "answer {{model_name}}": _rate(
                    "llava_controller_generation_tokens_total", "model_name"
                ),
            },
        ),
        Panel(
            "Requests that other workers went on with",
            "reqps",
            {
                "before the first token, {{wire}}": _rate(
                    "llava_controller_taken_back_total", "wire"
                ),
                "in mid-answer, {{wire}}": _rate("llava_controller_resumed_total", "wire"),
            },
        ),
        Panel(
            "Live workers of each model",
            "short",
            {"{{model_name}}": "max by (model_name) (llava_controller_model_workers)"},
        ),
    ],
    "Workers, as the controllers see them": [
        Panel("Alive", "bool", {"{{worker}}": "max by (worker) (llava_controller_worker_up)"}),
        Panel(
            "Breakers that are not closed",
            "short",
            {
                "{{state}} {{worker}}": "max by (worker, state)"
                ' (llava_controller_breaker{state!="closed"}) > 0'
            },
        ),
        Panel(
            "See pictures", "bool", {"{{worker}}": "min by (worker) (llava_controller_worker_sees)"}
        ),
        Panel(
            "Checks for sight",
            "reqps",
            {"{{outcome}}": _rate("llava_controller_canary_checks_total", "outcome")},
        ),
        Panel(
            "Requests in flight",
            "short",
            {"{{worker}}": "sum by (worker) (llava_controller_in_flight)"},
        ),
        Panel(
            "Answers made and waiting, by slot",
            "percentunit",
            {
                "{{worker}}": "max by (worker) (llava_controller_worker_queue_length"
                " / (llava_controller_worker_slots > 0))"
            },
        ),
    ],
    "Inside the workers": [
        Panel(
            "Running and waiting answers",
            "short",
            {
                "running {{instance}}": "llava_worker_num_requests_running",
                "waiting {{instance}}": "llava_worker_num_requests_waiting",
                "slots {{instance}}": "llava_worker_slots",
            },
        ),
        Panel("Queue time", "s", _worker("request_queue_time_seconds")),
        Panel("Prefill time", "s", _worker("request_prefill_time_seconds")),
        Panel("Time to first token", "s", _worker("time_to_first_token_seconds")),
        Panel("Gap between tokens", "s", _worker("inter_token_latency_seconds")),
        Panel("Total time", "s", _worker("e2e_request_latency_seconds")),
        Panel(
            "KV cache in use",
            "percentunit",
            {"{{instance}}": "llava_worker_kv_cache_usage_perc"},
        ),
        Panel(
            "Cache hits",
            "percentunit",
            {
                "prefixes {{instance}}": _rate("llava_worker_prefix_cache_hits_total", "instance")
                + " / "
                + _rate("llava_worker_prefix_cache_queries_total", "instance"),
                "pictures {{instance}}": _rate("llava_worker_mm_cache_hits_total", "instance")
                + " / "
                + _rate("llava_worker_mm_cache_queries_total", "instance"),
            },
        ),
        Panel(
            "Requests by outcome",
            "reqps",
            {"{{outcome}}": _rate("llava_worker_requests_total", "outcome")},
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "title": "llava_serve",
        "uid": "llava-serve",
        "tags": ["llava_serve"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": list(_laid_out()),
    }


def _laid_out() -> Iterator[dict[str, Any]]:
    y = number = 0
    for title, panels in ROWS.items():
        yield {"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
        y += 1
        for i, panel in enumerate(panels):
            row, column = divmod(i, 24 // _WIDTH)
            place = {"x": column * _WIDTH, "y": y + row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            number += 1
            yield _graph(panel, number, place)
        y += -(-len(panels) * _WIDTH // 24) * _HEIGHT


def _graph(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": shown,
            }
            for i, (shown, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
