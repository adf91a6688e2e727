"""Every flag published for LLaVA's commands is accepted by ours."""

from pathlib import Path
from typing import Any

import pytest

from llava_serve import config
from llava_serve.args import addresses_of, parse
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.launching.config import LaunchConfig
from llava_serve.terminal.config import CliConfig

# Source: the README and docs of haotian-liu/LLaVA@c121f04.
PUBLISHED = [
    (config.ControllerConfig, "--host 0.0.0.0 --port 10000 --dispatch-method shortest_queue"),
    (config.ControllerConfig, "--dispatch-method lottery"),
    (
        config.WorkerConfig,
        "--host 0.0.0.0 --controller http://localhost:10000 --port 40000 "
        "--worker http://localhost:40000 --model-path liuhaotian/llava-v1.5-13b",
    ),
    (
        config.WorkerConfig,
        "--controller-address http://c:1 --worker-address http://w:2 --model-path p --model-base b "
        "--model-name n --device cuda --load-8bit --use-flash-attn --limit-model-concurrency 5 "
        "--no-register",
    ),
    (config.WorkerConfig, "--model-path p --device mps --load-4bit"),
    (
        SglangWorkerConfig,
        "--host 0.0.0.0 --controller http://localhost:10000 --port 40000 "
        "--worker http://localhost:40000 --sgl-endpoint http://127.0.0.1:30000 --model-name n "
        "--limit-model-concurrency 5 --no-register",
    ),
    (
        config.WebConfig,
        "--host 0.0.0.0 --controller http://localhost:10000 --model-list-mode reload",
    ),
    (
        config.WebConfig,
        "--controller-url http://c:1 --concurrency-count 16 --model-list-mode once --share --embed "
        "--moderate --moderation-key-file key",
    ),
    (CliConfig, "--model-path p --image-file https://example.org/view.jpg --load-4bit"),
    (
        CliConfig,
        "--model-path p --model-base b --image-file f --device cpu --conv-mode vicuna_v1 "
        "--temperature 0.2 --max-new-tokens 512 --load-8bit --debug",
    ),
]


@pytest.mark.parametrize(("command", "line"), PUBLISHED)
def test_a_published_command_line_is_accepted(command: type[Any], line: str) -> None:
    parse(command, line.split())


def test_a_worker_is_reached_where_it_listens_unless_told_otherwise() -> None:
    assert config.WorkerConfig(port=5).worker_address == "http://127.0.0.1:5"
    assert config.WorkerConfig(worker="http://w:9/").worker_address == "http://w:9"
    assert config.WorkerConfig(host="::1", port=5).worker_address == "http://[::1]:5"
    secure = config.WorkerConfig(port=5, tls_cert=Path("c.pem"), tls_key=Path("c.key"))
    assert secure.worker_address == "https://127.0.0.1:5"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (config.WorkerConfig, "--load-8bit --load-4bit"),
        (config.WorkerConfig, "--limit-model-concurrency 0"),
        (config.WorkerConfig, "--num-frames 100"),
        (config.WorkerConfig, "--max-megapixels-in-flight 49"),
        (config.ControllerConfig, "--heartbeat-expiry 0"),
        (config.WebConfig, "--moderate"),
        (config.WebConfig, "--folder-images 0"),
        (config.WebConfig, "--folder-mb 0"),
        (CliConfig, "--temperature -1"),
        (CliConfig, "--ca-file ca.pem"),
        (config.WorkerConfig, "--tls-key server.key"),
        (config.ControllerConfig, "--port 65536"),
        (config.WorkerConfig, "--port 0"),
        (config.WorkerConfig, "--worker localhost:40000"),
        (config.WorkerConfig, "--controller localhost:10000"),
        (config.WorkerConfig, "--controller http://a:1 --controller http://b:1,c:1"),
        (config.ControllerConfig, "--registry localhost:6379"),
        (LaunchConfig, "--registry localhost:6379"),
        (LaunchConfig, "--controller localhost:10000"),
        (config.WebConfig, "--controller localhost:10000"),
        (CliConfig, "--controller localhost:10000"),
        (SglangWorkerConfig, "--sgl-endpoint localhost:30000"),
    ],
)
def test_a_contradiction_is_refused(command: type[Any], line: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(command, line.split())
    assert exit_.value.code == 2


@pytest.mark.parametrize(
    ("line", "addresses"),
    [
        ("", ("http://127.0.0.1:10000",)),
        ("--controller http://a:1/", ("http://a:1",)),
        ("--controller http://a:1 --controller-address http://b:2", ("http://a:1", "http://b:2")),
        ("--controller http://a:1,http://b:2 http://a:1", ("http://a:1", "http://b:2")),
    ],
)
def test_controllers_are_one_or_several(line: str, addresses: tuple[str, ...]) -> None:
    assert addresses_of(parse(config.WorkerConfig, line.split()).controller) == addresses
    assert addresses_of(parse(config.WebConfig, line.split()).controller) == addresses


@pytest.mark.parametrize("names", ["a.example.com, .example.org,localhost", "*", "", "a_b-c."])
def test_host_names_are_accepted(names: str) -> None:
    config.WebConfig(allowed_hosts=names)


@pytest.mark.parametrize("names", ["http://a.com", "a.com:80", "a/b", "a..b", "*.a.com", "a b"])
def test_what_is_no_host_name_is_refused(names: str) -> None:
    with pytest.raises(ValueError, match="--allowed-hosts takes host names"):
        config.ControllerConfig(allowed_hosts=names)
