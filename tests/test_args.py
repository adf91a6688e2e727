"""A dataclass becomes a command line that refuses what the dataclass refuses."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from llava_serve.args import is_http, parse


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Do something."""

    address: Annotated[str, "where"] = "here"
    mode: Annotated[Literal["fast", "slow"], "how", "--manner"] = "fast"
    limit_s: Annotated[float | None, "how long"] = None
    colour: Annotated[Literal["red", "blue"] | None, "which of two"] = None
    verbose: Annotated[bool, "say more"] = False
    file: Annotated[tuple[str, ...], "which; may be repeated"] = ()

    def __post_init__(self) -> None:
        if self.limit_s is not None and self.limit_s <= 0:
            raise ValueError("--limit-s must be above 0")


def test_nothing_given_is_the_dataclass_itself() -> None:
    assert parse(Settings, []) == Settings()


def test_every_kind_of_flag_is_read() -> None:
    argv = ["--manner", "slow", "--limit-s", "2.5", "--verbose", "--file", "a", "b", "--file", "c"]
    assert parse(Settings, [*argv, "--colour", "red"]) == Settings(
        mode="slow", limit_s=2.5, colour="red", verbose=True, file=("a", "b", "c")
    )


def test_what_is_given_replaces_the_default_of_a_flag_that_may_be_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @dataclass(frozen=True)
    class Repeated:
        file: Annotated[tuple[str, ...], "which"] = ("x", "y")

    assert parse(Repeated, []) == Repeated()
    assert parse(Repeated, ["--file", "a", "--file", "b"]) == Repeated(("a", "b"))
    with pytest.raises(SystemExit):
        parse(Repeated, ["--help"])
    assert "which (default: x y)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["--mode", "magic"], id="not a choice"),
        pytest.param(["--colour", "green"], id="not a choice where there may be none"),
        pytest.param(["--limit-s", "0"], id="refused by the dataclass"),
        pytest.param(["--limit-s", "soon"], id="not a number"),
        pytest.param(["--addr", "x"], id="an abbreviation"),
    ],
)
def test_a_bad_value_ends_with_a_sentence_and_code_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(Settings, argv)
    assert exit_.value.code == 2
    assert argv[0] in capsys.readouterr().err


def test_the_usage_of_an_unknown_flag_names_the_command_and_the_way_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse(Settings, ["--bogus", "1"], program="do it", hint=" (look elsewhere)")
    shown = capsys.readouterr().err
    assert shown.startswith("usage: do it ")
    assert "unrecognized arguments: --bogus 1 (look elsewhere)" in shown


@pytest.mark.parametrize("host", ["w:1", "[::1]:1", "w_1.local.:443/", "ü.de", "w/v1"])
def test_an_address_has_a_scheme_and_a_host(host: str) -> None:
    assert is_http(f"http://{host}")
    assert not is_http(host)


@pytest.mark.parametrize("host", ["", ":80", "[::1", "w:65536", "w:0", "w..w:1", "w" * 64])
def test_an_address_that_there_cannot_be_is_none(host: str) -> None:
    assert not is_http(f"https://{host}")
