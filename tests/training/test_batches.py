"""A batch teaches what serving reads: the same tokens, the same features, the same logits."""

from functools import cache
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from torch.nn import functional

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.vision import Item
from llava_serve.media.limits import FileLimits
from llava_serve.training.collator import BatchCollator
from llava_serve.training.dataset import PreparedSample, TrainingDataset
from llava_serve.training.embedding import embedded
from llava_serve.training.labels import IGNORED, AnswerLabeller, LabelledPrompt
from llava_serve.training.media_files import MediaFiles
from tests.checkpoints.encoded import load_from, merged
from tests.checkpoints.golden_cases import GOLDEN
from tests.training.conftest import WriteData, entry, examples

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4


def dataset(
    loaded: LoadedModel, write_data: WriteData, files: MediaFiles, entries: list[Any]
) -> TrainingDataset:
    return TrainingDataset(loaded, write_data(entries), files, AnswerLabeller(loaded), ())


def run(loaded: LoadedModel, samples: list[PreparedSample]) -> Any:
    batch = BatchCollator(loaded)(samples)
    with torch.inference_mode():
        if loaded.original is not None:
            return loaded.model(**embedded(loaded, batch))
        return loaded.model(**batch)


def by_serving(loaded: LoadedModel, files: MediaFiles, data: TrainingDataset, i: int) -> float:
    """Return the loss of a sample from the embeddings that serving reads."""
    sample = data.mixture.sample(i)
    media = [files.read(medium) for medium in sample.media]
    said = sample.conversation(media, keeps_line_breaks=loaded.format.per_chunk)
    prompt = AnswerLabeller(loaded).label(said)
    read = merged(loaded, prompt.items)
    labels = torch.tensor(spread(prompt, len(read.tokens)))
    with torch.inference_mode():
        logits = loaded.model(inputs_embeds=read.embeddings[None]).logits[0]
    return float(functional.cross_entropy(logits[:-1], labels[1:]))


def spread(prompt: LabelledPrompt, length: int) -> list[int]:
    """Return a label for each token, where images are of one size."""
    images = sum(not isinstance(item, int) for item in prompt.items)
    rows = (length - len(prompt.items) + images) // max(images, 1)
    labels: list[int] = []
    for item, label in zip(prompt.items, prompt.labels, strict=True):
        labels += [label] * (1 if is_token(item) else rows)
    return labels


def is_token(item: Item) -> bool:
    return isinstance(item, int)


def test_the_bundled_model_has_learnt_its_true_answers(
    bundled: LoadedModel, write_data: WriteData, files: MediaFiles
) -> None:
    right = dataset(bundled, write_data, files, examples())
    losses = [float(run(bundled, [right[i]]).loss) for i in range(len(right))]
    assert max(losses) < 0.3, losses
    wrong_entries = examples()
    for one in wrong_entries:
        one["conversations"][1]["value"] = "Seven purple elephants, and a white number."
    wrong = dataset(bundled, write_data, files, wrong_entries)
    assert min(float(run(bundled, [wrong[i]]).loss) for i in range(len(wrong))) > 2


def test_the_loss_is_that_of_serving_s_logits(
    bundled: LoadedModel, write_data: WriteData, files: MediaFiles
) -> None:
    data = dataset(bundled, write_data, files, [*examples(), entry("Hi", "Hello.")])
    for i in range(len(data)):
        loss = float(run(bundled, [data[i]]).loss)
        assert loss == pytest.approx(by_serving(bundled, files, data, i), abs=TOLERANCE)


def assert_padding_changes_nothing(loaded: LoadedModel, samples: list[PreparedSample]) -> None:
    together = run(loaded, samples)
    total, learnt = 0.0, 0
    for sample, logits in zip(samples, together.logits, strict=True):
        alone = run(loaded, [sample])
        length = len(sample.input_ids)
        torch.testing.assert_close(logits[:length], alone.logits[0], atol=TOLERANCE, rtol=0)
        count = int((sample.labels[1:] != IGNORED).sum())
        total += float(alone.loss) * count
        learnt += count
    assert float(together.loss) == pytest.approx(total / learnt, abs=TOLERANCE)


def test_padding_changes_nothing(
    bundled: LoadedModel, write_data: WriteData, files: MediaFiles
) -> None:
    data = dataset(bundled, write_data, files, [*examples(), entry("Hi", "Hello.")])
    assert_padding_changes_nothing(bundled, [data[0], data[len(data) - 1]])
    assert_padding_changes_nothing(bundled, [data[i] for i in range(len(data))])


def test_the_same_number_gives_the_same_sample(
    bundled: LoadedModel, write_data: WriteData, files: MediaFiles
) -> None:
    data = dataset(bundled, write_data, files, examples())
    for i in range(len(data)):
        one, two = data[i], data[i]
        assert torch.equal(one.input_ids, two.input_ids)
        assert torch.equal(one.labels, two.labels)
        assert all(map(torch.equal, one.tiles + one.frames, two.tiles + two.frames))


@cache
def stored(case: str) -> LoadedModel:
    return load_from(next(GOLDEN.glob(f"{case}_*")) / "checkpoint", dtype="float32")


@pytest.mark.parametrize("case", ["A", "B", "C", "D"])
def test_a_checkpoint_in_llava_s_layout_is_trained_as_it_is_served(
    case: str, write_data: WriteData
) -> None:
    """Also with a picture of a size that transformers' own classes pack otherwise."""
    loaded = stored(case)
    folder: Path = next(GOLDEN.glob(f"{case}_*")) / "images"
    files = MediaFiles(folder, folder, FileLimits(20_000_000, 50_000_000), num_frames=2)
    names = [path.name for path in sorted(folder.glob("*.png"))]
    chosen = {name for name in names if "edge" in name} or {*names[:1]}
    entries = [entry("<image>\nWhat?", "A bird.", image=name) for name in [names[0], *chosen]]
    data = dataset(loaded, write_data, files, [*entries, entry("Hi", "Hello.")])
    for i in range(len(data)):
        loss = float(run(loaded, [data[i]]).loss)
        assert loss == pytest.approx(by_serving(loaded, files, data, i), abs=TOLERANCE)
    assert_padding_changes_nothing(loaded, [data[0], data[len(data) - 1]])


def test_the_newline_and_the_projector_of_llava_s_layout_can_be_trained(
    write_data: WriteData,
) -> None:
    loaded = stored("B")
    folder = next(GOLDEN.glob("B_*")) / "images"
    files = MediaFiles(folder, folder, FileLimits(20_000_000, 50_000_000), num_frames=2)
    name = next(path.name for path in sorted(folder.glob("*.png")))
    data = dataset(loaded, write_data, files, [entry("<image>\nWhat?", "A.", image=name)])
    model: Any = loaded.model
    model(**embedded(loaded, BatchCollator(loaded)([data[0]]))).loss.backward()
    trained = [model.model.image_newline, *model.model.multi_modal_projector.parameters()]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in trained)
    model.zero_grad(set_to_none=True)


def test_a_batch_of_llava_s_layout_may_have_videos_beside_pictures(
    tmp_path: Path, write_data: WriteData
) -> None:
    loaded = stored("C")
    frames = [PIL.Image.new("RGB", (80, 60), color) for color in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.png")
    files = MediaFiles(tmp_path, tmp_path, FileLimits(20_000_000, 50_000_000), num_frames=2)
    entries = [
        entry("<video>\nWhat?", "It turns blue.", video="a.gif"),
        entry("<image>\nWhat?", "Red.", image="a.png"),
    ]
    data = dataset(loaded, write_data, files, entries)
    for i in range(len(data)):
        loss = float(run(loaded, [data[i]]).loss)
        assert loss == pytest.approx(by_serving(loaded, files, data, i), abs=TOLERANCE)
    assert_padding_changes_nothing(loaded, [data[0], data[1]])
