"""View of the cluster as HTML: the sums, the failures of the last hour, one row for each worker."""

from collections.abc import Callable, Iterable
from html import escape

from llava_serve.protocol.cluster_snapshot import (
    UNHEARD_STATES,
    ClusterSnapshot,
    FailureSummary,
    WorkerSnapshot,
)
from llava_serve.web.operators.sparkline import sparkline
from llava_serve.web.translations.language import translate

_STATES = {
    "alive": "operators.state.alive",
    "draining": "operators.state.draining",
    "drained": "operators.state.drained",
    "silent": "operators.state.silent",
    "unreachable": "operators.state.unreachable",
}
_BREAKERS = {"half_open": "operators.breaker.half_open", "open": "operators.breaker.open"}
_SEES = {True: "operators.sees", False: "operators.blind", None: "operators.sight_unknown"}
_FAULTS = {
    "server": "operators.fault.server",
    "client": "operators.fault.client",
    "none": "operators.fault.none",
}
_FAILURE_HEAD = (
    *("operators.error", "operators.count", "operators.fault", "operators.last"),
    "operators.to_do",
)


def render(snapshot: ClusterSnapshot, search: str) -> str:
    """Render a snapshot; texts of workers and requests are escaped."""
    return _sums(snapshot) + _workers(snapshot, search) + _failures(snapshot.failures)


def _sums(snapshot: ClusterSnapshot) -> str:
    counts = {"alive": 0} | snapshot.states
    facts = {
        "operators.workers": translate("page.comma").join(
            translate("operators.in_state", workers=f"{counts[one]:,}", state=_state_name(one))
            for one in counts
        ),
        "operators.answers": _of_slots(snapshot.queue_length, snapshot.slots),
        "operators.in_line": f"{sum(snapshot.waiting.values()):,}",
        "operators.tokens_per_second": f"{snapshot.tokens_per_s:,.0f}",
        "operators.controller": _version(snapshot.version, snapshot.uptime_s),
    }
    shown = "".join(
        f"<div><dt>{translate(key)}</dt><dd>{value}</dd></div>" for key, value in facts.items()
    )
    return f'<dl class="sums" data-level="{escape(snapshot.log_level)}">{shown}</dl>'


def _state_name(state: str) -> str:
    return translate(_STATES[state]) if state in _STATES else escape(state)


def _of_slots(running: int, slots: int) -> str:
    return translate("operators.of_slots", running=f"{running:,}", slots=f"{slots:,}")


def _version(version: str, uptime_s: float) -> str:
    return translate("operators.version", version=escape(version), age=age(uptime_s))


def _ago(seconds: float) -> str:
    return translate("operators.ago", age=age(seconds))


def _workers(snapshot: ClusterSnapshot, search: str) -> str:
    title = translate("operators.workers")
    if not snapshot.workers:
        is_search = search.strip() and snapshot.states
        said = translate("operators.nothing_found" if is_search else "operators.no_workers")
        return f'<h2>{title}</h2><p class="hint">{said}</p>'
    head = _head((*_COLUMNS, "operators.actions"))
    rows = "".join(_row(worker) for worker in snapshot.workers)
    more = ""
    if snapshot.matching > len(snapshot.workers):
        counts = {"shown": f"{len(snapshot.workers):,}", "found": f"{snapshot.matching:,}"}
        more = f'<p class="hint">{translate("operators.more", **counts)}</p>'
    return (
        f"<h2>{title}</h2>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f'<table class="workers">{head}<tbody>{rows}</tbody></table></div>{more}'
    )


def _head(keys: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{translate(key)}</th>' for key in keys)
    return f"<thead><tr>{cells}</tr></thead>"


def _cell(key: str, shown: str) -> str:
    """Render a cell; on a narrow window its column's name stands above it."""
    return f'<td data-column="{key}" data-name="{translate(key)}">{shown}</td>'


def _row(worker: WorkerSnapshot) -> str:
    (_, name), *rest = ((key, show(worker)) for key, show in _COLUMNS.items())
    cells = "".join(_cell(key, shown) for key, shown in rest)
    return (
        f'<tr data-worker="{escape(worker.address)}" data-state="{escape(worker.state)}">'
        f'<th scope="row">{name}</th>{cells}{_cell("operators.actions", _action(worker))}</tr>'
    )


def _action(worker: WorkerSnapshot) -> str:
    address = escape(worker.address)
    do, word = "drain", translate("operators.drain")
    label = translate("operators.drain_worker", worker=address)
    if worker.state in ("draining", "drained"):
        do, word = "undrain", translate("operators.undrain")
        label = translate("operators.undrain_worker", worker=address)
    return f'<button type="button" data-do="{do}" aria-label="{label}">{word}</button>'


def _name(worker: WorkerSnapshot) -> str:
    told = worker.vitals
    note = (
        translate("operators.no_version") if told is None else _version(told.version, told.uptime_s)
    )
    address = escape(worker.address.partition("//")[2])
    return (
        f'<span class="address" title="{escape(worker.id)}">{address}</span><small>{note}</small>'
    )


def _state(worker: WorkerSnapshot) -> str:
    notes = [translate("operators.heard", age=age(worker.last_seen_s))]
    if breaker := _BREAKERS.get(worker.breaker):
        notes.insert(0, translate(breaker))
    word, note = _state_name(worker.state), translate("page.semicolon").join(notes)
    return f'<b class="state {escape(worker.state)}">{word}</b><small>{note}</small>'


def _model(worker: WorkerSnapshot) -> str:
    precision = worker.vitals.precision if worker.vitals else None
    runs = ", ".join(filter(None, (worker.engine, precision)))
    return f"{escape(', '.join(worker.models))}<small>{escape(runs)}</small>"


def _slots(worker: WorkerSnapshot) -> str:
    if worker.slots is None:
        return f"{worker.queue_length:,}<small>{translate('operators.no_slots')}</small>"
    running = min(worker.queue_length, worker.slots)
    line = f"{worker.queue_length - running:,}"
    return (
        f"{translate('operators.of', some=f'{running:,}', all=f'{worker.slots:,}')}"
        f"<small>{translate('operators.in_its_line', requests=line)}</small>"
    )


def _speed(worker: WorkerSnapshot) -> str:
    newest = worker.tokens_per_s[-1] if worker.tokens_per_s else None
    if newest is None or worker.state in UNHEARD_STATES:
        return _unknown()
    return f"{newest:,.1f}{sparkline(worker.tokens_per_s)}"


def _kv(worker: WorkerSnapshot) -> str:
    engine = worker.vitals.engine if worker.vitals else None
    newest = worker.kv_fraction[-1] if worker.kv_fraction else None
    if engine is None or newest is None or worker.state in UNHEARD_STATES:
        return _unknown()
    kept = f"{engine.kv_tokens_cached / max(engine.kv_tokens_total, 1):.0%}"
    curve = sparkline(worker.kv_fraction, top=1.0)
    room = translate("operators.kv_kept", kept=kept, tokens=f"{engine.kv_tokens_total:,}")
    return f"{translate('operators.kv_used', used=f'{newest:.0%}')}{curve}<small>{room}</small>"


def _caches(worker: WorkerSnapshot) -> str:
    vitals = worker.vitals
    if vitals is None or vitals.engine is None:
        return _unknown()
    engine = vitals.engine
    looked_up = engine.feature_hits + engine.feature_misses
    prefix = _rate(vitals.cached_tokens, vitals.prompt_tokens)
    images = _rate(engine.feature_hits, looked_up)
    size = f"{engine.feature_bytes / 1e6:,.1f} MB"
    return (
        f"{translate('operators.hits_of_prompts', rate=prefix)}<br>"
        f"{translate('operators.hits_of_images', rate=images)}"
        f"<small>{translate('operators.features', size=size)}</small>"
    )


def _sight(worker: WorkerSnapshot) -> str:
    return f'<span title="{escape(worker.sight)}">{translate(_SEES[worker.sees])}</span>'


def _errors(worker: WorkerSnapshot) -> str:
    if not worker.failures:
        return translate("operators.no_errors")
    shown = "".join(
        f"<li><code>{escape(one.code)}</code> {_ago(one.ago_s)}<small>"
        f"{translate('operators.request', id=escape(one.request_id))}</small></li>"
        for one in worker.failures
    )
    last = worker.failures[0]
    return (
        f'<details data-key="{escape(worker.address)}"><summary><code>{escape(last.code)}</code> '
        f"{_ago(last.ago_s)}</summary><ol>{shown}</ol></details>"
    )


_COLUMNS: dict[str, Callable[[WorkerSnapshot], str]] = {
    "operators.worker": _name,
    "operators.state": _state,
    "operators.model": _model,
    "operators.answers": _slots,
    "operators.tokens_per_s": _speed,
    "operators.kv_cache": _kv,
    "operators.hits": _caches,
    "operators.images": _sight,
    "operators.last_errors": _errors,
}


def _failures(failures: list[FailureSummary]) -> str:
    title = translate("operators.failures")
    if not failures:
        return f'<h2>{title}</h2><p class="hint">{translate("operators.no_failures")}</p>'
    rows = "".join(map(_failure, failures))
    return (
        f'<h2>{title}</h2><table class="failures">{_head(_FAILURE_HEAD)}'
        f"<tbody>{rows}</tbody></table>"
    )


def _failure(one: FailureSummary) -> str:
    fault = translate(_FAULTS[one.fault]) if one.fault in _FAULTS else escape(one.fault)
    shown = (f"{one.count:,}", fault, _ago(one.ago_s), escape(one.remedy))
    cells = "".join(map(_cell, _FAILURE_HEAD[1:], shown))
    return f'<tr><th scope="row"><code>{escape(one.code)}</code></th>{cells}</tr>'


def _unknown() -> str:
    return f'<span class="none" title="{translate("operators.unknown")}">\N{EN DASH}</span>'


def _rate(hits: int, looked_up: int) -> str:
    return f"{hits / looked_up:.0%}" if looked_up else "\N{EN DASH}"


def age(seconds: float) -> str:
    """Return a time in its largest unit, and the next smaller one for days."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return translate("operators.days", days=days, hours=hours % 24)
    if hours:
        return translate("operators.hours", hours=hours)
    if minutes:
        return translate("operators.minutes", minutes=minutes)
    return translate("operators.seconds", seconds=int(seconds))
