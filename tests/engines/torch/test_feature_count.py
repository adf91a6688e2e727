from pathlib import Path

import pytest

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.feature_count import FeatureCounter
from scripts import random_checkpoint


@pytest.mark.parametrize("family", ["llava_next_video", "llava_onevision"])
def test_the_rows_of_a_video_do_not_depend_on_the_dtype(tmp_path: Path, family: str) -> None:
    random_checkpoint.write(family, tmp_path)  # type: ignore[arg-type]
    counts = [
        FeatureCounter(load(ModelConfig(model_path=str(tmp_path), device="cpu", dtype=dtype)))
        for dtype in ("float32", "bfloat16")
    ]
    one, two = (counter.of_video(3, patches=16) for counter in counts)
    assert one == two
    assert one.total > 0
