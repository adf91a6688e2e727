"""Which processes a launch lays out."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from llava_serve import args
from llava_serve.config import ControllerConfig, WebConfig, WorkerConfig
from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.plan import Port, Process, check_ports, make_plan


def _flags(process: Process | None) -> list[str]:
    assert process is not None
    return list(process.command[4:])  # behind: python -m die_with_parent MODULE


def test_the_bundled_models_get_a_worker_each_on_ports_that_count_up() -> None:
    plan = make_plan(LaunchConfig(worker_port=41000))
    assert [worker.name for worker in plan.workers] == ["llava-tiny", "llava-tiny-one-word"]
    assert [worker.address for worker in plan.workers] == [
        "http://127.0.0.1:41000",
        "http://127.0.0.1:41001",
    ]


def test_with_other_controllers_workers_join_all_and_the_page_asks_this_one_first() -> None:
    others = ("http://b:1,http://c:1", "http://d:1")
    config = LaunchConfig(controller=others, registry="redis://r")
    plan = make_plan(config, ["--engine", "echo"])
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    page = args.parse(WebConfig, _flags(plan.page))
    worker = args.parse(WorkerConfig, _flags(plan.workers[0]))
    assert controller.registry == "redis://r"
    assert page.controller == worker.controller == ("http://127.0.0.1:10000", *others)


def test_every_command_line_is_one_its_program_accepts() -> None:
    plan = make_plan(LaunchConfig(device="cpu", controller_port=41010), ["--engine", "echo"])
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    page = args.parse(WebConfig, _flags(plan.page))
    worker = args.parse(WorkerConfig, _flags(plan.workers[1]))
    assert controller.port == 41010
    assert page.controller == worker.controller == (plan.controller.address,)
    assert (worker.engine, worker.device, worker.model_name) == (
        "echo",
        "cpu",
        "llava-tiny-one-word",
    )
    assert worker.model_base is not None


def test_two_workers_of_one_model_have_different_names() -> None:
    plan = make_plan(LaunchConfig(model=("a/x", "a/x")))
    assert [(worker.name, worker.model) for worker in plan.workers] == [("x", "x"), ("x#2", "x")]


def test_the_stages_put_the_controller_first_and_the_page_last() -> None:
    plan = make_plan(LaunchConfig())
    assert plan.stages == ((plan.controller,), (), plan.workers, (plan.page,))
    assert make_plan(LaunchConfig(no_web=True)).stages[-1] == ()


def test_a_wildcard_host_is_reached_on_loopback() -> None:
    assert make_plan(LaunchConfig(host="0.0.0.0")).controller.address == "http://127.0.0.1:10000"
    assert make_plan(LaunchConfig(host="::")).controller.address == "http://[::1]:10000"


@pytest.mark.parametrize(
    "flag", ["--port", "--model-path=x", "--no-register", "--cluster-token-file=x"]
)
def test_worker_flags_that_launch_sets_are_refused_by_name(flag: str) -> None:
    with pytest.raises(CommandError, match=flag.partition("=")[0]):
        make_plan(LaunchConfig(), [flag])


def test_an_unknown_worker_flag_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        make_plan(LaunchConfig(), ["--bogus"])
    assert exit_.value.code == 2
    assert "--bogus" in capsys.readouterr().err


def test_host_names_and_open_metrics_reach_who_listens_for_others() -> None:
    plan = make_plan(
        LaunchConfig(
            host="0.0.0.0",
            allowed_hosts="chat.example.com",
            cors_origin=("https://a.example.com", "*"),
            public_metrics=True,
        )
    )
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    page = args.parse(WebConfig, _flags(plan.page))
    assert controller.allowed_names == page.allowed_names == ("chat.example.com",)
    assert controller.origins == ("https://a.example.com", "*")
    assert controller.public_metrics


def test_traces_of_every_process_go_to_one_collector() -> None:
    collector = "http://collector:4318"
    plan = make_plan(LaunchConfig(otlp_endpoint=collector, model=("x/a",)))
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    page = args.parse(WebConfig, _flags(plan.page))
    (worker,) = (args.parse(WorkerConfig, _flags(worker)) for worker in plan.workers)
    assert {controller.otlp_endpoint, page.otlp_endpoint, worker.otlp_endpoint} == {collector}


def test_where_keys_are_kept_reaches_the_controller_alone() -> None:
    database = "postgresql://db/accounts"
    config = LaunchConfig(require_keys=True, audit=True, database=database)
    plan = make_plan(config)
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    assert (controller.require_keys, controller.audit) == (True, True)
    assert controller.database == database
    others = [*plan.workers, plan.page]
    assert not any(database in process.command for process in others if process)
    assert "--database" not in make_plan(LaunchConfig()).controller.command


def test_what_is_kept_is_the_controller_s_affair() -> None:
    config = LaunchConfig(keep_responses_days=3, files_quota_mb=5, files_dir=Path("/uploads"))
    plan = make_plan(config)
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    assert (controller.keep_responses_days, controller.files_quota_mb) == (3, 5)
    assert controller.files_dir == Path("/uploads")
    assert not any("/uploads" in worker.command for worker in plan.workers)


def test_workers_ask_for_keys_where_the_controller_does_on_loopback() -> None:
    def asks(config: LaunchConfig) -> set[bool]:
        workers = make_plan(config).workers
        return {args.parse(WorkerConfig, _flags(worker)).require_keys for worker in workers}

    assert asks(LaunchConfig(require_keys=True)) == {True}
    assert asks(LaunchConfig()) == {False}


def test_a_port_in_use_is_named_with_who_needs_it_and_the_flag() -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CommandError) as refused:
            check_ports([Port("127.0.0.1", number, "the page", "--web-port")])
    assert refused.value.message == f"port {number}, which the page needs, is in use"
    assert "--web-port" in refused.value.remedy


def test_a_free_port_is_free_afterwards_too() -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
    port = Port("127.0.0.1", number, "the controller", "--controller-port")
    check_ports([port])
    check_ports([port])


def test_one_port_for_two_processes_is_refused() -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
    ports = [
        Port("127.0.0.1", number, "the controller", "--controller-port"),
        Port("127.0.0.1", number, "the page", "--web-port"),
    ]
    with pytest.raises(CommandError, match="wanted by the controller and by the page"):
        check_ports(ports)


@pytest.mark.parametrize("number", [0, 65536])
def test_a_number_that_is_no_port_is_refused(number: int) -> None:
    with pytest.raises(CommandError, match=f"there is no port {number}"):
        check_ports([Port("127.0.0.1", number, "the page", "--web-port")])


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandError, match=r"cannot listen on 192\.0\.2\.1:41999") as refused:
        check_ports([Port("192.0.2.1", 41999, "the page", "--web-port")])
    assert "--host" in refused.value.remedy


def test_the_certificates_reach_every_process_and_the_addresses_are_https(tmp_path: Path) -> None:
    certificate, key, ca_file = tmp_path / "c.pem", tmp_path / "c.key", tmp_path / "ca.pem"
    config = LaunchConfig(tls_cert=certificate, tls_key=key, ca_file=ca_file)
    plan = make_plan(config, ["--engine", "echo"])
    controller = args.parse(ControllerConfig, _flags(plan.controller))
    page = args.parse(WebConfig, _flags(plan.page))
    worker = args.parse(WorkerConfig, _flags(plan.workers[0]))
    for one in (controller, page, worker):
        assert (one.tls_cert, one.tls_key, one.ca_file) == (certificate, key, ca_file)
    assert page.controller == worker.controller == ("https://127.0.0.1:10000",)
    assert worker.worker_address == plan.workers[0].address == "https://127.0.0.1:40000"


def test_a_worker_gets_no_certificate_of_its_own_from_behind_the_dashes() -> None:
    with pytest.raises(CommandError, match="--tls-cert"):
        make_plan(LaunchConfig(), ["--tls-cert=x"])


def test_who_may_sign_in_is_the_page_s_alone_to_know(tmp_path: Path) -> None:
    plan = make_plan(LaunchConfig(auth_file=tmp_path / "users", public_address="https://c.org"))
    page = args.parse(WebConfig, _flags(plan.page))
    assert (page.auth_file, page.public_address) == (tmp_path / "users", "https://c.org")
    args.parse(ControllerConfig, _flags(plan.controller))


# Flags of the page beside those that launch passes on: it gives its own, or none.
SET_BY_LAUNCH = {"controller", "host", "port", "state_dir", "log_level", "otlp_endpoint"}
SET_BY_LAUNCH |= {"allowed_hosts", "tls_cert", "tls_key", "ca_file"}
LEFT_OUT = {
    "database",  # launch's own is that of keys and usage
    "api_key_file",  # the page shows the cluster's token
    *("max_body_mb", "max_text_mb"),  # of controller, workers and page, each by itself
}
PASSED_ON: tuple[dict[str, Any], ...] = (
    {
        "auth_file": Path("users"),
        "admins": "ann",
        "public_address": "https://chat.example.com",
        "model_list_mode": "once",
        "concurrency_count": 3,
        "share": True,
        "allow_sharing": True,
        "allow_remote_media": True,
        "moderate": True,
        "moderation_key_file": Path("key"),
        "embed": True,
        "language_file": (Path("pl.json"), Path("ru.json")),
        "folder_images": 7,
        "folder_mb": 8,
        "prices": Path("prices.json"),
    },
    {
        "oidc_issuer": "https://login.example.com",
        "oidc_client_id": "page",
        "oidc_client_secret_file": Path("secret"),
        "oidc_allow": "example.com",
    },
    {"local_admin": True},
)


def test_every_flag_of_the_page_is_passed_on_set_by_launch_or_left_out_by_name() -> None:
    known = [*SET_BY_LAUNCH, *LEFT_OUT, *(name for given in PASSED_ON for name in given)]
    assert sorted(known) == sorted(field.name for field in fields(WebConfig))


@pytest.mark.parametrize("given", PASSED_ON, ids=lambda given: next(iter(given)))
def test_what_the_page_may_do_is_passed_on_to_it_alone(given: dict[str, Any]) -> None:
    plan = make_plan(LaunchConfig(**given))
    page = args.parse(WebConfig, _flags(plan.page))
    assert {name: getattr(page, name) for name in given} == given
    others = [flag for one in (plan.controller, *plan.workers) for flag in _flags(one)]
    assert not {args.flag_of(name) for name in given} & {*others}


def test_a_flag_of_the_page_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="--allow-sharing has no effect with --no-web"):
        LaunchConfig(no_web=True, allow_sharing=True)
