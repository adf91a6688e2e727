"""Operators are those that the flags name, however the requests of others are dressed up."""

from pathlib import Path
from typing import Any

import pytest

from llava_serve.args import parse
from llava_serve.config import WebConfig
from llava_serve.errors import OperatorsOnly
from llava_serve.login_config import LoginConfig
from llava_serve.logins.user import User
from llava_serve.web.operators.rights import NOBODY_OPERATES, Operators

LOCAL = Operators(are_local=True)


def asked(user: User | None = None, client: str = "127.0.0.1", **headers: str) -> dict[str, Any]:
    """Return the scope of a request; `_` in the name of a header stands for `-`."""
    named = {"host": "localhost:7860", **headers}
    return {
        "type": "http",
        "client": (client, 1),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()],
        "state": {"user": user} if user else {},
    }


def test_by_default_nobody_is_one_not_even_on_this_machine() -> None:
    assert not NOBODY_OPERATES.exist
    assert not Operators.of(LoginConfig()).include(asked())
    with pytest.raises(OperatorsOnly):
        NOBODY_OPERATES.check(asked())


def test_of_the_users_of_a_file_those_that_are_named() -> None:
    operators = Operators.of(LoginConfig(auth_file=Path("users"), admins="alice, carol"))
    assert operators.include(asked(User("alice", "alice", "stamp")))
    assert not operators.include(asked(User("bob", "bob", "alice")))
    assert not operators.include(asked())  # nobody in particular, on this machine


def test_of_a_providers_users_those_whose_address_it_has_verified() -> None:
    config = LoginConfig(
        oidc_issuer="https://issuer.example",
        oidc_client_id="page",
        oidc_client_secret_file=Path("secret"),
        oidc_allow="*",
        admins="Alice@example.com",
    )
    operators = Operators.of(config)
    mail = "alice@example.com"
    assert operators.include(asked(User("https://issuer.example#1", mail, mail)))
    assert not operators.include(asked(User("https://issuer.example#2", mail, "")))
    assert not operators.include(asked(User(mail, mail, "")))


def test_where_nobody_signs_in_a_browser_on_this_machine_alone() -> None:
    assert LOCAL.include(asked())
    assert LOCAL.include(asked(host="127.0.0.1:7860", origin="http://127.0.0.1:7860"))
    assert LOCAL.include(asked(client="::1", host="[::1]:7860"))


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param(asked(client="10.0.0.9"), id="from elsewhere"),
        pytest.param(asked(host="chat.example.com"), id="under the page's name"),
        pytest.param(asked(host="10.0.0.1:7860"), id="at the network's address"),
        pytest.param(asked(host=""), id="without a name"),
        pytest.param(asked(origin="https://chat.example.com"), id="from a page elsewhere"),
        pytest.param(asked(origin="null"), id="from a page of no origin"),
        pytest.param(asked(x_forwarded_for="10.0.0.9"), id="through a proxy"),
        pytest.param(asked(forwarded="for=10.0.0.9"), id="through a proxy of today"),
        pytest.param(asked(host="[::1"), id="by a broken name"),
    ],
)
def test_a_request_that_may_be_somebody_elses_is_refused(scope: dict[str, Any]) -> None:
    assert not LOCAL.include(scope)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--admins alice", "--admins needs --auth-file or --oidc-issuer"),
        ("--local-admin --auth-file users", "--local-admin and logins exclude each other"),
        ("--local-admin --public-address https://x.example", "and --public-address exclude"),
        ("--local-admin --share", "--local-admin and --share exclude each other"),
    ],
)
def test_flags_that_say_nothing_safe_are_refused(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(WebConfig, line.split())
    assert said in capsys.readouterr().err
