"""Placing of a launch's replicas: its plan becomes the plans of all replicas there may be."""

import aiohttp

from llava_serve.cluster_token import bearer
from llava_serve.http.hosts import address_here
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.placement.demand import DemandClient
from llava_serve.launching.placement.machines import (
    controller_host,
    has_gpus,
    machine_ips,
    own_ip,
)
from llava_serve.launching.placement.options import PlacedModel
from llava_serve.launching.placement.replica_plan import (
    Needs,
    ReplicaPlan,
    config_of,
    found_elsewhere,
)
from llava_serve.launching.placement.replicas import Replicas, ReplicaSet
from llava_serve.launching.plan import Plan
from llava_serve.launching.supervisor import ProcessLog


def reached_controller(config: LaunchConfig) -> str:
    """Return the address at which the machines of the cluster reach the controller.

    Raises:
        CommandError: they cannot.
    """
    host = controller_host(config.host, machine_ips(), own_ip())
    return address_here(host, config.controller_port, config.scheme)


def replicas_of(
    plan: Plan,
    config: LaunchConfig,
    token: str,
    session: aiohttp.ClientSession,
    log: ProcessLog,
) -> Replicas:
    """Return the replicas of a plan, none of which runs yet."""
    controllers = (plan.controller.address, *config.controller)
    client = DemandClient(session, controllers, lambda: bearer(token))
    sets = [
        ReplicaSet(placed, _plans(plan, config, placed, token), config.idle_after, log)
        for placed in plan.placed
    ]
    return Replicas(sets, client)


def _plans(plan: Plan, config: LaunchConfig, placed: PlacedModel, token: str) -> list[ReplicaPlan]:
    controller = reached_controller(config)
    needs = Needs.of(placed, config, has_gpus())
    flags = ("--controller", controller, *config.controller, *plan.worker_flags)
    own, model = config_of(placed, config, needs), found_elsewhere(placed.model)
    return [
        ReplicaPlan(name, model, needs, own, flags, controller, token, number)
        for number, name in enumerate(placed.names, placed.first_port)
    ]
