"""Ray cluster as a launch uses it: the connection, what its machines have, actors on them."""

import os
import socket
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from llava_serve.credential import is_here
from llava_serve.errors import CommandError
from llava_serve.http.hosts import address_here, is_loopback
from llava_serve.launching.placement.replica import Replica
from llava_serve.launching.placement.replica_plan import ReplicaPlan

NAMESPACE = "llava_serve"
_CONNECT_S = 5.0


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be a driver of the Ray cluster at an address, or of the one that runs here, `auto`.

    Raises:
        CommandError: it cannot be reached from this machine.
    """
    remedy = "Start Ray here: `ray start --head`, or `ray start --address HOST:PORT` to join."
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, OverflowError) as exc:
            raise CommandError(f"--ray {address}: nothing answers there: {exc}", remedy) from exc
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError, RayError) as exc:
        reason = str(exc).partition("\n")[0]
        raise CommandError(f"--ray {address}: {reason}", remedy) from exc
    try:
        yield
    finally:
        ray.shutdown()


def machine_ips() -> set[str]:
    """Return the IP addresses of the machines that live."""
    return {str(one["NodeManagerAddress"]) for one in ray.nodes() if one["Alive"]}


def own_ip() -> str:
    """Return the IP address that this machine has in the cluster."""
    return str(ray.util.get_node_ip_address())


def controller_host(host: str, ips: Collection[str], own: str) -> str:
    """Return under which host machines with `ips` reach a controller of `own` one at `host`.

    Raises:
        CommandError: it listens to this machine alone, and there are others.
    """
    others = sorted(ip for ip in ips if not is_here(address_here(ip, 1)))
    if others and is_loopback(host):
        raise CommandError(
            f"--host {host}: the cluster's other machines ({', '.join(others)}) cannot reach a "
            "controller that listens there",
            "Add --host 0.0.0.0, or the address of this machine in the cluster's network.",
        )
    return own if host in ("0.0.0.0", "::") else host


def has_gpus() -> bool:
    """Tell whether any machine has a GPU."""
    return bool(ray.cluster_resources().get("GPU", 0))


def what_is_free() -> str:
    """Say what the cluster has, and what of it is free."""
    free, alive = ray.available_resources(), [one for one in ray.nodes() if one["Alive"]]
    total = Counter[str]()
    for one in alive:
        total.update({name: one["Resources"].get(name, 0) for name in ("GPU", "CPU")})
    parts = (f"{free.get(name, 0):g} of {total[name]:g} {name}" for name in ("GPU", "CPU"))
    count = len(alive)
    return f"{' and '.join(parts)} free on {count} machine{'' if count == 1 else 's'}"


class PlacedActor:
    """An actor that Ray has been asked for, on a machine that has what it needs."""

    def __init__(self, plan: ReplicaPlan) -> None:
        """Raises: CommandError, when there is an actor of its name already."""
        needs = plan.needs
        self._group: Any = None
        strategy: Any = "SPREAD"
        if needs.gpus > 1:
            self._group = placement_group([needs.resources], strategy="STRICT_PACK")
            strategy = PlacementGroupSchedulingStrategy(self._group, 0)
        actor = ray.remote(Replica).options(
            name=plan.name,
            max_restarts=-1,
            num_gpus=needs.gpus,
            num_cpus=needs.cpus,
            scheduling_strategy=strategy,
        )
        try:
            self.handle: Any = actor.remote(plan)
        except ValueError as exc:
            self._remove_group()
            raise CommandError(
                f"the cluster has a replica named {plan.name!r} already, of another launch",
                "End that launch, or give the model another name: PATH=NAME.",
            ) from exc

    def kill(self) -> None:
        """End it at once, and give back what it took."""
        ray.kill(self.handle, no_restart=True)
        self._remove_group()

    def _remove_group(self) -> None:
        if self._group is not None:
            remove_placement_group(self._group)
