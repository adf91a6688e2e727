"""Status of a placement: a table of the replicas in a Ray cluster, from the replicas themselves."""

import asyncio
from typing import Any

import ray
from ray.exceptions import RayError

from llava_serve.launching.placement.machines import NAMESPACE
from llava_serve.launching.placement.replica import ReplicaReport
from llava_serve.text_table import text_table

_ANSWER_S = 3.0
_HEAD = ("model", "replica", "machine", "address", "state", "gpus", "restarts")
_WAITS = "waits for resources"  # or Ray makes its process, which takes seconds


def placement_table() -> str:
    """Return a line for each replica of all launches in the cluster that this is connected to."""
    named = ray.util.list_named_actors(all_namespaces=True)
    names = sorted(one["name"] for one in named if one["namespace"] == NAMESPACE)
    if not names:
        return "no replicas run in this cluster\n"
    rows = [row_of(name, report) for name, report in zip(names, _reports(names), strict=True)]
    return text_table([_HEAD, *rows])


def _reports(names: list[str]) -> list[ReplicaReport | None]:
    async def ask_all() -> list[ReplicaReport | None]:
        return list(await asyncio.gather(*map(_report, names)))

    return asyncio.run(ask_all())


async def _report(name: str) -> ReplicaReport | None:
    """Return what a replica says; None where it does not answer, as one without a machine."""
    try:
        actor: Any = ray.get_actor(name, namespace=NAMESPACE)
        report: ReplicaReport = await asyncio.wait_for(actor.status.remote(), _ANSWER_S)
    except (TimeoutError, ValueError, RayError):
        return None
    return report


def row_of(name: str, report: ReplicaReport | None) -> tuple[object, ...]:
    """Return the cells of a replica's line; None is one that does not answer."""
    if report is None:
        return name.partition("#")[0], name, "", "", _WAITS, "", ""
    state = "ready" if report.missing is None else f"starting: {report.missing}"
    own = (report.machine, report.address or "", state, f"{report.gpus:g}", report.restarts)
    return report.model, name, *own
