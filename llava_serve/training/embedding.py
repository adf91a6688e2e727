"""Embeddings of a batch for a checkpoint in LLaVA's own layout, whose features are packed its way.

Transformers' classes pack features of a few sizes of images, and those of several images, in
another way than LLaVA's code; what a model is trained on here is what it will be served.
"""

from typing import Any

import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import family_of, newline_of, pack_video, project
from llava_serve.training.dataset import placeholders_of
from llava_serve.training.feature_rows import tiles_of


def embedded(loaded: LoadedModel, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what the model takes instead of a batch of `BatchCollator`'s.

    `inputs_embeds`, (batch, length, hidden), depends on the weights of the vision tower, the
    projector and the newline, so these can be trained. The other keys are `attention_mask` and
    `labels`.
    """
    ids = batch["input_ids"]
    embed: Any = loaded.model.get_input_embeddings()
    embeddings: torch.Tensor = embed(ids.clamp(min=0))
    image, video = placeholders_of(loaded)
    for token, rows in ((image, _image_rows(loaded, batch)), (video, _video_rows(loaded, batch))):
        if rows:
            places = (ids == token)[..., None].expand_as(embeddings)
            embeddings = embeddings.masked_scatter(places, torch.cat(rows).to(embeddings))
    kept = {key: batch[key] for key in ("attention_mask", "labels")}
    return {"inputs_embeds": embeddings, **kept}


def _image_rows(loaded: LoadedModel, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the rows of each image, (rows, hidden)."""
    if "pixel_values" not in batch:
        return []
    sizes = [(width, height) for height, width in batch["image_sizes"].tolist()]
    counts = [tiles_of(loaded, size, is_alone=False) for size in sizes]
    tiles = [own[:count] for own, count in zip(batch["pixel_values"], counts, strict=True)]
    features = torch.split(project(loaded, torch.cat(tiles)), counts)
    pack, newline = family_of(loaded).pack, newline_of(loaded)
    return [pack(loaded, own, size, newline) for own, size in zip(features, sizes, strict=True)]


def _video_rows(loaded: LoadedModel, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [pack_video(loaded, frames) for frames in batch.get("pixel_values_videos", ())]
