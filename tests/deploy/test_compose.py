"""Compose file: its services, ports, mounts and secrets fit, its command lines are accepted."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from llava_serve import config
from llava_serve.http.serving import GRACE_S
from llava_serve.http.stopping import FINAL_WRITE_S
from tests.deploy.deploy_files import (
    FOLDER,
    ROOT,
    env_file,
    image_health_url,
    parsed,
    values_of,
)

THEIR_PORTS = {"redis": 6379, "prometheus": 9090, "grafana": 3000}


def _interpolated(text: str, values: Mapping[str, str]) -> str:
    """Compose's `${NAME}`, `${NAME:-default}` and `${NAME:?reason}`."""

    def value(found: re.Match[str]) -> str:
        name, sign, rest = found.groups()
        if given := values.get(name):
            return given
        assert sign != ":?", f"{name} is missing: {rest}"
        return rest or ""

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text)


def _compose(**changed: str) -> dict[str, Any]:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    values = env_file(FOLDER / "env.example") | changed
    loaded: dict[str, Any] = yaml.safe_load(_interpolated(text, values))
    return loaded


COMPOSE = _compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {
    name: parsed(service["command"])
    for name, service in SERVICES.items()
    if "llava_serve" in service.get("command", "")
}


def test_compose_starts_two_of_each_kind_and_the_page() -> None:
    kinds = [type(one) for one in OURS.values()]
    wanted = {config.ControllerConfig: 2, config.WorkerConfig: 2, config.WebConfig: 1}
    assert {kind: kinds.count(kind) for kind in kinds} == wanted
    registries = {one.registry for one in OURS.values() if isinstance(one, config.ControllerConfig)}
    assert registries == {"redis://:a1b2@redis:6379"}
    assert "--requirepass a1b2" in SERVICES["redis"]["command"]


def test_flags_of_the_env_file_reach_each_kind_of_process() -> None:
    text = (FOLDER / "env.example").read_text(encoding="utf-8")
    given = dict(re.findall(r"^#?(\w+_FLAGS)=(\S.*)$", text, re.MULTILINE))
    services = _compose(**given)["services"]
    assert parsed(services["controller-2"]["command"]).audit
    assert parsed(services["worker-2"]["command"]).model_path.startswith("llava-hf/")
    assert parsed(services["page"]["command"]).allowed_names == ("chat.example.com",)


def test_the_env_file_names_what_compose_reads() -> None:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    read = set(re.findall(r"\$\{(\w+)", text))
    assert read | {"COMPOSE_FILE"} == env_file(FOLDER / "env.example").keys()


def test_compose_without_a_password_is_refused() -> None:
    with pytest.raises(AssertionError, match="REDIS_PASSWORD is missing"):
        _compose(REDIS_PASSWORD="")


def test_every_address_is_a_service_at_its_port() -> None:
    ports = THEIR_PORTS | {name: one.port for name, one in OURS.items()}
    files = [FOLDER / "prometheus.yml", FOLDER / "grafana" / "datasource.yml"]
    text = json.dumps(SERVICES) + "".join(file.read_text(encoding="utf-8") for file in files)
    named = set(re.findall(r"(?:http://|@|\")([a-z][a-z0-9-]*):(\d+)\b(?!\.)", text))
    assert {name for name, _ in named} == ports.keys() - {"page", "grafana"}
    assert [(name, port) for name, port in named if ports[name] != int(port)] == []
    for name, service in SERVICES.items():
        published = [int(entry.rsplit(":", 1)[1]) for entry in service.get("ports", [])]
        assert published in ([], [ports[name]])


def test_workers_and_page_know_both_controllers() -> None:
    both = ("http://controller-1:10000", "http://controller-2:10000")
    for name, one in OURS.items():
        if not isinstance(one, config.ControllerConfig):
            assert one.controller == both
        if isinstance(one, config.WorkerConfig):
            assert one.worker_address == f"http://{name}:{one.port}"


def test_published_ports_differ_and_are_this_machines_alone() -> None:
    published = [entry for service in SERVICES.values() for entry in service.get("ports", [])]
    assert all(entry.startswith("127.0.0.1:") for entry in published)
    assert len({entry.split(":")[1] for entry in published}) == len(published)


def test_every_service_restarts_has_a_health_check_and_the_time_to_end() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped"
        if name in OURS:  # the image has the health check
            address = f"http://127.0.0.1:{OURS[name].port}/health"
            assert service.get("environment", {}).get("HEALTH_URL", image_health_url()) == address
            assert int(service["stop_grace_period"].removesuffix("s")) > GRACE_S + FINAL_WRITE_S
        else:
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_every_path_that_is_mounted_is_there() -> None:
    state = "/home/llava/.local/state/llava_serve"
    used = set()
    for name, service in SERVICES.items():
        for source, target, *_ in (entry.split(":") for entry in service.get("volumes", [])):
            if source.startswith("."):
                assert (FOLDER / source).is_file(), source
                continue
            used.add(source)
            if name in OURS:  # a folder that the image gives to its user
                assert target in (state, "/home/llava/.cache/huggingface")
                assert target.removeprefix("/home/llava") in values_of("RUN")[-1]
    assert used == COMPOSE["volumes"].keys()
    assert state.endswith(str(config.STATE.relative_to(Path.home())))


def test_secrets_are_declared_mounted_and_kept_out_of_git() -> None:
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
    for name, one in OURS.items():
        file = one.api_key_file if name == "page" else one.cluster_token_file
        assert file == Path("/run/secrets/cluster-token")
        assert SERVICES[name]["secrets"] == ["cluster-token"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert COMPOSE["secrets"] == {"cluster-token": {"file": "./secrets/cluster-token"}}
    assert {"scripts/deploy/.env", "scripts/deploy/secrets/"} <= set(ignored)


def test_redis_is_reached_by_controllers_alone() -> None:
    networks = {name: service.get("networks", ["default"]) for name, service in SERVICES.items()}
    reach = {name for name, names in networks.items() if "registry" in names}
    assert reach == {"redis", "controller-1", "controller-2"}
    assert COMPOSE["networks"]["registry"] == {"internal": True}
    assert networks["redis"] == ["registry"]


def test_prometheus_asks_all_processes_with_the_token() -> None:
    loaded = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    plain = yaml.safe_load((ROOT / "scripts/monitoring/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in loaded["scrape_configs"]}
    assert list(jobs) == [job["job_name"] for job in plain["scrape_configs"]]  # alerts name them
    asked = {t for job in jobs.values() for t in job["static_configs"][0]["targets"]}
    assert asked == {f"{name}:{one.port}" for name, one in OURS.items() if name != "page"}
    for job in jobs.values():
        assert job["authorization"] == {"credentials_file": "/run/secrets/cluster-token"}
    assert SERVICES["prometheus"]["secrets"] == ["cluster-token"]
    targets = [entry.split(":")[1] for entry in SERVICES["prometheus"]["volumes"]]
    assert [f"/etc/prometheus/{file}" for file in loaded["rule_files"]] == [targets[1]]


def test_grafana_finds_the_dashboard_and_its_data() -> None:
    mounts = dict(entry.split(":")[1::-1] for entry in SERVICES["grafana"]["volumes"])
    provider = yaml.safe_load((FOLDER / "grafana/dashboards.yml").read_text(encoding="utf-8"))
    folder = provider["providers"][0]["options"]["path"]
    assert mounts[f"{folder}/llava.json"] == "../monitoring/dashboard.json"
    data = yaml.safe_load((FOLDER / "grafana/datasource.yml").read_text(encoding="utf-8"))
    assert [(one["type"], one["isDefault"]) for one in data["datasources"]] == [
        ("prometheus", True)
    ]


def test_compose_gives_the_image_all_its_build_arguments() -> None:
    names = {one.partition("=")[0] for one in values_of("ARG")}
    for name in OURS:
        assert SERVICES[name]["build"]["args"].keys() == names
        context = FOLDER / SERVICES[name]["build"]["context"]
        assert (context / SERVICES[name]["build"]["dockerfile"]).samefile(FOLDER / "Dockerfile")


def test_the_file_for_gpus_gives_each_worker_its_own() -> None:
    added = yaml.safe_load((FOLDER / "compose.cuda.yaml").read_text(encoding="utf-8"))["services"]
    devices = [one["deploy"]["resources"]["reservations"]["devices"][0] for one in added.values()]
    assert added.keys() == {name for name in OURS if name.startswith("worker")}
    assert [device["device_ids"] for device in devices] == [["0"], ["1"]]


@pytest.mark.slow
def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "scripts/get_services.sh installs promtool"
    shutil.copy(ROOT / "scripts/monitoring/alerts.yml", tmp_path)
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/", ""))
    (tmp_path / "cluster-token").write_text("token")
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
