import pytest
import torch

from llava_serve.args import bytes_of
from llava_serve.checkpoints import precision
from llava_serve.checkpoints.instantiate import loading_options, require_on_gpus
from llava_serve.checkpoints.precision import gpu_limits
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_one_device_needs_no_limits() -> None:
    assert gpu_limits(ModelConfig(), CPU) is None
    assert loading_options(CPU, None) == {"device_map": {"": CPU}}


def test_one_gpu_with_a_limit_holds_the_whole_model() -> None:
    assert loading_options(CUDA, {0: 10**9}) == {"device_map": {"": CUDA}}


def test_several_gpus_share_the_layers_within_their_limits() -> None:
    limits = {0: 10**9, 1: 10**9}
    assert loading_options(CUDA, limits) == {"device_map": "balanced", "max_memory": limits}


@pytest.mark.parametrize(
    ("flags", "named"),
    [({"num_gpus": 2}, "--num-gpus 2"), ({"max_gpu_memory": "8GiB"}, "--max-gpu-memory 8GiB")],
)
def test_flags_of_gpus_are_refused_before_loading_where_the_model_runs_on_a_cpu(
    flags: dict[str, object], named: str
) -> None:
    config = ModelConfig(device="cpu", **flags)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=f"{named}: the model runs on cpu.*Leave the flag"):
        precision.choose(config, None)


def test_more_gpus_than_there_are_is_refused_with_how_many_there_are() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(CheckpointError, match=f"finds {count} CUDA device.* Give --num-gpus"):
        gpu_limits(ModelConfig(num_gpus=count + 2), CUDA)


def test_a_part_without_room_on_the_gpus_is_named() -> None:
    model = torch.nn.Identity()
    model.hf_device_map = {"model.vision_tower": 0, "model.language_model.layers.31": "disk"}  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match=r"1 parts found no room .*: model\.language_model"):
        require_on_gpus(model)


@pytest.mark.parametrize(
    ("size", "count"), [("20GiB", 20 * 2**30), ("1.5 gb", 1_500_000_000), ("800MiB", 800 * 2**20)]
)
def test_sizes_of_memory_are_read(size: str, count: int) -> None:
    assert bytes_of(size) == count


@pytest.mark.parametrize("size", ["20", "much", "0GiB", "-1GB"])
def test_what_is_no_size_of_memory_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match="takes a size like 20GiB"):
        ModelConfig(max_gpu_memory=size)


def test_a_number_of_gpus_is_above_zero() -> None:
    with pytest.raises(ValueError, match="--num-gpus must be above 0"):
        ModelConfig(num_gpus=0)
