"""KubeRay manifest: its command lines are accepted, its ports, mounts and resources fit."""

import re
import shlex
import subprocess
from typing import Any

import yaml

from llava_serve import args, config
from llava_serve.http.serving import GRACE_S
from llava_serve.http.stopping import FINAL_WRITE_S
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.placement.options import placed_models
from llava_serve.launching.placement.replica_plan import Needs
from tests.deploy.deploy_files import FOLDER, ROOT, values_of

TEXT = (FOLDER / "kuberay.yaml").read_text(encoding="utf-8")
CLUSTER, CLAIM, SERVICE = yaml.safe_load_all(TEXT)
HEAD = CLUSTER["spec"]["headGroupSpec"]
FRONT, GPU = CLUSTER["spec"]["workerGroupSpecs"]


def _container(group: dict[str, Any]) -> dict[str, Any]:
    (container,) = group["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def _launch() -> LaunchConfig:
    (script,) = _container(FRONT)["args"]
    _, found, command = script.partition("exec python -m llava_serve.launch ")
    assert found
    return args.parse(LaunchConfig, shlex.split(command))


def _run(container: dict[str, Any]) -> str:
    """What a container runs, with a shell that says it instead."""
    shell, option = container["command"]
    (script,) = container["args"]
    said = 'ray() { echo ray "$@"; }; exec() { echo exec "$@"; }; ' + script
    generated = 'ray start --address=head:6379 --block --resources=\'"{\\"a b\\":1}"\''
    environment = {"KUBERAY_GEN_RAY_START_CMD": generated, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [shell, option, said], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_launch_is_one_that_its_program_accepts_and_others_reach() -> None:
    launch = _launch()
    assert (launch.ray, launch.host, launch.tls_cert) == ("auto", "0.0.0.0", None)
    (model,) = placed_models(launch)
    assert (model.model.name, model.options.least, model.options.most) == ("llava", 1, 2)


def test_each_replica_has_a_machine_that_takes_it() -> None:
    launch = _launch()
    needs = Needs.of(placed_models(launch)[0], launch, has_gpus=True)
    limits = _container(GPU)["resources"]["limits"]
    assert needs.gpus == int(limits["nvidia.com/gpu"])
    assert needs.cpus <= int(limits["cpu"])
    assert GPU["replicas"] >= placed_models(launch)[0].options.most
    for group in (HEAD, FRONT):  # nothing is placed beside Ray's head and the controller
        assert group["rayStartParams"]["num-cpus"] == "0"


def test_ray_runs_in_the_background_of_the_launch_and_alone_elsewhere() -> None:
    assert CLUSTER["metadata"]["annotations"] == {"ray.io/overwrite-container-cmd": "true"}
    ray, launch = _run(_container(FRONT)).splitlines()
    assert ray == 'ray start --address=head:6379 --resources="{\\"a b\\":1}"'
    assert launch.startswith("exec python -m llava_serve.launch --ray auto")
    for group in (HEAD, GPU):
        assert "--block" in _run(_container(group))


def test_the_service_leads_to_the_ports_of_the_launch() -> None:
    launch = _launch()
    ports = {port["name"]: port["containerPort"] for port in _container(FRONT)["ports"]}
    assert ports == {"controller": launch.controller_port, "page": launch.web_port}
    assert {port["targetPort"]: port["port"] for port in SERVICE["spec"]["ports"]} == ports
    assert SERVICE["spec"]["selector"] == {
        "ray.io/cluster": CLUSTER["metadata"]["name"],
        "ray.io/group": FRONT["groupName"],
    }


def test_every_mount_has_a_volume_in_a_folder_that_the_image_gives_to_its_user() -> None:
    state = f"/home/llava/.local/state/{config.STATE.name}"
    for group, target in ((FRONT, state), (GPU, "/home/llava/.cache/huggingface")):
        (mount,), (volume,) = (
            _container(group)["volumeMounts"],
            group["template"]["spec"]["volumes"],
        )
        assert (mount["name"], mount["mountPath"]) == (volume["name"], target)
    claim = FRONT["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == CLAIM["metadata"]["name"]


def test_every_pod_is_of_the_image_without_root_and_has_the_time_to_end() -> None:
    for group in (HEAD, FRONT, GPU):
        pod, container = group["template"]["spec"], _container(group)
        assert container["image"] == "llava_serve:cuda"
        assert [str(pod["securityContext"]["runAsUser"])] == values_of("USER")
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod["terminationGracePeriodSeconds"] > GRACE_S + FINAL_WRITE_S
        for probe in ("readinessProbe", "livenessProbe"):
            assert "ray health-check" in container[probe]["exec"]["command"][-1]


def test_the_image_has_the_ray_that_the_manifest_says() -> None:
    pins = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8")
    assert f"\nray=={CLUSTER['spec']['rayVersion']}\n" in pins
    extras = re.findall(r"extras=([a-z,]+)", " ".join(values_of("RUN")))
    assert all("ray" in one.split(",") for one in extras)
