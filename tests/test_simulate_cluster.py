"""The simulation of a cluster runs the same way twice from one seed."""

from dataclasses import asdict
from typing import Any

import pytest

from llava_serve.cluster.registry.dispatch import DISPATCH
from scripts.simulate_cluster import Load, Simulation


def figures(policy: str, seed: int) -> dict[str, Any]:
    load = Load(
        workers=20, rate=200, seconds=3, images=50, think_s=0.5, churn_per_s=0.05, seed=seed
    )
    outcome = asdict(Simulation(policy, load).run())
    del outcome["dispatch_us"]  # of this machine
    return outcome


@pytest.mark.parametrize("policy", DISPATCH)
def test_one_seed_gives_equal_runs_and_another_gives_another(policy: str) -> None:
    run = figures(policy, seed=1)
    assert run == figures(policy, seed=1)
    assert run != figures(policy, seed=2)
    assert run["requests"] > 400
    assert run["asked_again"] > 0
