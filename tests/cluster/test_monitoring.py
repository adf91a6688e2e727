"""Dashboard and alert rules name metrics that exist, and Prometheus takes the rules."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from llava_serve.config import MediaConfig
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from scripts.monitoring import dashboard
from tests.cluster.conftest import Cluster
from tests.engines.holding import HoldingEngine

FOLDER = dashboard.FILE.parent
RULES = FOLDER / "alerts.yml"
CASES = FOLDER / "alerts_test.yml"
METRIC = re.compile(r"\bllava_(?:controller|worker)_\w+")


def named_in_dashboard() -> set[str]:
    panels = json.loads(dashboard.FILE.read_text(encoding="utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return set(METRIC.findall("\n".join(queries)))


def named_in_rules() -> set[str]:
    return set(METRIC.findall(RULES.read_text(encoding="utf-8")))


@pytest.fixture
async def exposed(cluster: Cluster) -> set[str]:
    """The names of all samples that a controller and a worker declare in `/metrics`."""
    worker = ModelWorker(HoldingEngine(), Gate(1, 1), MediaReader(MediaConfig()), worker_id="one")
    async with (
        served(build_worker(worker, max_body_bytes=10**6)) as address,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        texts = [(await http.get(f"{at}/metrics")).text for at in (cluster.address, address)]
    declared = [found for text in texts for found in re.findall(r"# TYPE (\w+) (\w+)", text)]
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + part for name, kind in declared for part in parts.get(kind, ("",))}


@pytest.mark.parametrize("named", [named_in_dashboard, named_in_rules])
async def test_every_metric_that_is_named_exists(
    named: Callable[[], set[str]], exposed: set[str]
) -> None:
    assert len(named()) > 6
    assert named() - exposed == set()


def test_the_dashboard_is_what_its_script_writes() -> None:
    assert json.loads(dashboard.FILE.read_text(encoding="utf-8")) == dashboard.dashboard()


def test_panels_lie_side_by_side() -> None:
    places = [panel["gridPos"] for panel in dashboard.dashboard()["panels"]]
    covered = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(covered) == len(set(covered))
    assert max(x for x, _ in covered) == 23


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    fired = re.findall(r"alertname: (\w+)\n\s+exp_alerts", CASES.read_text(encoding="utf-8"))
    assert sorted(alerts) == sorted(fired)


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    assert found is not None, "scripts/get_services.sh installs promtool"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", [["check", "rules", RULES.name], ["test", "rules", CASES.name]])
def test_prometheus_takes_the_rules_and_their_cases_hold(promtool: str, command: list[str]) -> None:
    done = subprocess.run(
        [promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_prometheus_takes_the_configuration(promtool: str, tmp_path: Path) -> None:
    for file in (RULES, FOLDER / "prometheus.yml"):
        shutil.copy(file, tmp_path)
    (tmp_path / "cluster-token").write_text("token")
    command = [promtool, "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
