"""What stands behind a model's name, and what is said when it is wrong or means nothing."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import BUNDLED, Model
from llava_serve.launching.placement.options import (
    PlacedModel,
    ReplicaOptions,
    placed_models,
    refuse_options,
)


def placed(*specs: str, sglang: tuple[str, ...] = ()) -> tuple[PlacedModel, ...]:
    return placed_models(LaunchConfig(ray="auto", model=specs, sglang=sglang))


@pytest.mark.parametrize(
    ("spec", "name", "options"),
    [
        ("a/x", "x", ReplicaOptions()),
        ("a/x:replicas=4:gpus=1", "x", ReplicaOptions(4, 4, gpus=1)),
        ("a/x=big:min=2:max=5:cpus=0.5", "big", ReplicaOptions(2, 5, cpus=0.5)),
        ("a/x=big:max=3", "big", ReplicaOptions(1, 3)),
        ("a/x=big:min=3", "big", ReplicaOptions(3, 3)),
        ("a/x=llava:7b:gpus=0", "llava:7b", ReplicaOptions(gpus=0)),
        ("a/x=llava:7b", "llava:7b", ReplicaOptions()),
        ("a/lora@a/x=tuned:replicas=2", "tuned", ReplicaOptions(2, 2)),
    ],
)
def test_options_stand_behind_the_name(spec: str, name: str, options: ReplicaOptions) -> None:
    (one,) = placed(spec)
    assert (one.model.name, one.options, one.is_sglang) == (name, options, False)


def test_an_sglang_server_has_tp_and_no_gpus() -> None:
    (one,) = placed(sglang=("a/x=big:tp=4:replicas=2",))
    assert (one.model, one.options.tp, one.is_sglang) == (Model("a/x", None, "big"), 4, True)
    with pytest.raises(CommandError, match="no option 'gpus'; there are replicas, min, max, tp"):
        placed(sglang=("a/x=big:gpus=4",))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("replica=4", "no option 'replica'; there are replicas, min, max, gpus, cpus"),
        ("tp=4", "no option 'tp'"),
        ("replicas=0", "replicas must be a whole number above 0, not '0'"),
        ("min=two", "min must be a whole number above 0, not 'two'"),
        ("max=", "max must be a whole number above 0, not ''"),
        ("gpus=1.5", "gpus must be a whole number, or a part of one like 0.5, not '1.5'"),
        ("cpus=-1", "cpus must be a whole number"),
        ("cpus=nan", "cpus must be a whole number"),
        ("min=3:max=2", "min=3 is above max=2"),
        ("replicas=3:max=4", "replicas= goes without min= and max="),
        ("gpus=1:gpus=2", "an option stands there twice"),
    ],
)
def test_a_wrong_option_is_refused_with_the_reason(options: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason) as refused:
        placed(f"a/x=big:{options}")
    assert refused.value.message.startswith(f"--model 'a/x=big:{options}'")
    assert "replicas=4" in refused.value.remedy


def test_options_without_ray_are_refused_and_other_colons_are_not() -> None:
    with pytest.raises(CommandError, match="replicas= has no effect without --ray"):
        refuse_options(["a/y", "a/x:replicas=2"])
    refuse_options(["a/x:foo=bar", "a/x=llava:7b", "C:/x=1"])


def test_a_folder_may_be_called_like_options(tmp_path: Path) -> None:
    folder = tmp_path / "run:gpus"
    folder.mkdir()
    refuse_options([f"{folder}=2"])
    two, tuned = placed(f"{folder}=2", f"{folder}=tuned")
    assert two.model.path == tuned.model.path == str(folder)
    assert (two.model.name, tuned.model.name) == ("2", "tuned")
    assert two.options == tuned.options == ReplicaOptions()


def test_the_ports_of_models_do_not_meet() -> None:
    models = placed("a/x:max=3", "a/y:replicas=2", sglang=("a/z",))
    assert [one.first_port for one in models] == [0, 3, 5]
    assert models[0].names == ["x", "x#2", "x#3"]


def test_a_model_stands_there_once() -> None:
    with pytest.raises(CommandError, match="'x' may stand there once"):
        placed("a/x", "a/x")
    with pytest.raises(CommandError, match="'x' may stand there once"):
        placed("a/x", sglang=("a/x",))
    with pytest.raises(CommandError, match="'x#2' may stand there once"):
        placed("a/x:max=2", "a/y=x#2")


def test_without_a_flag_the_bundled_models_are_placed() -> None:
    assert tuple(one.model for one in placed()) == BUNDLED
