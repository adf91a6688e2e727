"""View of the cluster as HTML: the sums, the failures of the last hour, one row for each worker."""

from collections.abc import Callable
from html import escape

from llava_serve.protocol.cluster_snapshot import (
    UNHEARD_STATES,
    ClusterSnapshot,
    FailureSummary,
    WorkerSnapshot,
)
from llava_serve.web.operators.sparkline import sparkline

NO_WORKERS = "No worker has registered with the controller."
NOTHING_FOUND = "No worker matches."
NO_FAILURES = "No request failed within the last hour."
_UNKNOWN = '<span class="none" title="It does not tell this controller">\N{EN DASH}</span>'
_WORKERS, _FAILURES = "Workers", "Failures of the last hour"
_STATES = {
    "alive": "alive",
    "draining": "draining",
    "drained": "drained",
    "silent": "silent",
    "unreachable": "unreachable",
}
_BREAKERS = {"half_open": "on trial: one request at a time", "open": "failed requests"}
_SEES = {True: "sees", False: "blind", None: "not known"}
_FAULTS = {"server": "ours", "client": "the caller's", "none": "nobody's"}
_DRAIN, _UNDRAIN = "Drain", "Undrain"


def render(snapshot: ClusterSnapshot, search: str) -> str:
    """Render a snapshot; texts of workers and requests are escaped."""
    return _sums(snapshot) + _workers(snapshot, search) + _failures(snapshot.failures)


def _sums(snapshot: ClusterSnapshot) -> str:
    alive = snapshot.states.get("alive", 0)
    rest = [f"{n:,} {escape(state)}" for state, n in snapshot.states.items() if state != "alive"]
    waiting = sum(snapshot.waiting.values())
    facts = (
        ("Workers", f"{alive:,} alive" + "".join(f", {one}" for one in rest)),
        ("Answers", f"{snapshot.queue_length:,} of {snapshot.slots:,} slots"),
        ("In line", f"{waiting:,}"),
        ("Tokens per second", f"{snapshot.tokens_per_s:,.0f}"),
        ("Controller", f"{escape(snapshot.version)}, up {age(snapshot.uptime_s)}"),
    )
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="sums" data-level="{escape(snapshot.log_level)}">{shown}</dl>'


def _workers(snapshot: ClusterSnapshot, search: str) -> str:
    if not snapshot.workers:
        said = NOTHING_FOUND if search.strip() and snapshot.states else NO_WORKERS
        return f'<h2>{_WORKERS}</h2><p class="hint">{said}</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    rows = "".join(_row(worker) for worker in snapshot.workers)
    more = ""
    if snapshot.matching > len(snapshot.workers):
        more = (
            f'<p class="hint">The first {len(snapshot.workers):,} of {snapshot.matching:,}; those '
            "with something wrong come first. Search for the others.</p>"
        )
    return (
        f"<h2>{_WORKERS}</h2>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_WORKERS}">'
        f'<table class="workers"><thead><tr>{head}<th scope="col">Actions</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )


def _row(worker: WorkerSnapshot) -> str:
    cells = [(name, show(worker)) for name, show in _COLUMNS.items()]
    (first, name), *rest = cells
    shown = "".join(f'<td data-name="{title}">{cell}</td>' for title, cell in rest)
    return (
        f'<tr data-worker="{escape(worker.address)}" data-state="{escape(worker.state)}">'
        f'<th scope="row" data-name="{first}">{name}</th>{shown}'
        f'<td data-name="Actions">{_action(worker)}</td></tr>'
    )


def _action(worker: WorkerSnapshot) -> str:
    is_drained = worker.state in ("draining", "drained")
    word, do = (_UNDRAIN, "undrain") if is_drained else (_DRAIN, "drain")
    label = f"{word} {escape(worker.address)}"
    return f'<button type="button" data-do="{do}" aria-label="{label}">{word}</button>'


def _name(worker: WorkerSnapshot) -> str:
    told = worker.vitals
    age_ = f"{escape(told.version)}, up {age(told.uptime_s)}" if told else "version not told"
    address = escape(worker.address.partition("//")[2])
    return (
        f'<span class="address" title="{escape(worker.id)}">{address}</span><small>{age_}</small>'
    )


def _state(worker: WorkerSnapshot) -> str:
    notes = [f"heard {age(worker.last_seen_s)} ago"]
    if breaker := _BREAKERS.get(worker.breaker):
        notes.insert(0, breaker)
    word = _STATES.get(worker.state, escape(worker.state))
    return f'<b class="state {escape(worker.state)}">{word}</b><small>{"; ".join(notes)}</small>'


def _model(worker: WorkerSnapshot) -> str:
    precision = worker.vitals.precision if worker.vitals else None
    runs = ", ".join(filter(None, (worker.engine, precision)))
    return f"{escape(', '.join(worker.models))}<small>{escape(runs)}</small>"


def _slots(worker: WorkerSnapshot) -> str:
    if worker.slots is None:
        return f"{worker.queue_length:,}<small>slots not told</small>"
    running = min(worker.queue_length, worker.slots)
    line = worker.queue_length - running
    return f"{running:,} of {worker.slots:,}<small>{line:,} in its line</small>"


def _speed(worker: WorkerSnapshot) -> str:
    newest = worker.tokens_per_s[-1] if worker.tokens_per_s else None
    if newest is None or worker.state in UNHEARD_STATES:
        return _UNKNOWN
    return f"{newest:,.1f}{sparkline(worker.tokens_per_s)}"


def _kv(worker: WorkerSnapshot) -> str:
    engine = worker.vitals.engine if worker.vitals else None
    newest = worker.kv_fraction[-1] if worker.kv_fraction else None
    if engine is None or newest is None or worker.state in UNHEARD_STATES:
        return _UNKNOWN
    kept = engine.kv_tokens_cached / max(engine.kv_tokens_total, 1)
    curve = sparkline(worker.kv_fraction, top=1.0)
    room = f"{kept:.0%} kept of {engine.kv_tokens_total:,} tokens"
    return f"{newest:.0%} used{curve}<small>{room}</small>"


def _caches(worker: WorkerSnapshot) -> str:
    vitals = worker.vitals
    if vitals is None or vitals.engine is None:
        return _UNKNOWN
    engine = vitals.engine
    looked_up = engine.feature_hits + engine.feature_misses
    prefix = _rate(vitals.cached_tokens, vitals.prompt_tokens)
    return (
        f"prompts {prefix}<br>pictures {_rate(engine.feature_hits, looked_up)}"
        f"<small>{engine.feature_bytes / 1e6:,.1f} MB of features</small>"
    )


def _sight(worker: WorkerSnapshot) -> str:
    return f'<span title="{escape(worker.sight)}">{_SEES[worker.sees]}</span>'


def _errors(worker: WorkerSnapshot) -> str:
    if not worker.failures:
        return "none"
    shown = "".join(
        f"<li><code>{escape(one.code)}</code> {age(one.ago_s)} ago<small>request "
        f"{escape(one.request_id)}</small></li>"
        for one in worker.failures
    )
    last = worker.failures[0]
    return (
        f'<details data-key="{escape(worker.address)}"><summary><code>{escape(last.code)}</code> '
        f"{age(last.ago_s)} ago</summary><ol>{shown}</ol></details>"
    )


_COLUMNS: dict[str, Callable[[WorkerSnapshot], str]] = {
    "Worker": _name,
    "State": _state,
    "Model": _model,
    "Answers": _slots,
    "Tokens/s": _speed,
    "KV cache": _kv,
    "Hits": _caches,
    "Pictures": _sight,
    "Last errors": _errors,
}


def _failures(failures: list[FailureSummary]) -> str:
    if not failures:
        return f'<h2>{_FAILURES}</h2><p class="hint">{NO_FAILURES}</p>'
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(one.code)}</code></th><td data-name="Count">'
        f'{one.count:,}</td><td data-name="Fault">{_FAULTS.get(one.fault, escape(one.fault))}</td>'
        f'<td data-name="Last">{age(one.ago_s)} ago</td>'
        f'<td data-name="What to do">{escape(one.remedy)}</td></tr>'
        for one in failures
    )
    names = ("Error", "Count", "Fault", "Last", "What to do")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'<h2>{_FAILURES}</h2><table class="failures"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _rate(hits: int, looked_up: int) -> str:
    return f"{hits / looked_up:.0%}" if looked_up else "\N{EN DASH}"


def age(seconds: float) -> str:
    """Return a time in its largest unit, and the next smaller one for days."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"
