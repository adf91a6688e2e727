"""Fingerprint of a loaded model: equal for engines whose greedy answers are equal."""

import hashlib
import json
from collections.abc import Iterator

import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.request import Conversation, Message

_SAMPLED = 64  # numbers of each weight
_SAMPLE = Conversation(
    (Message("user", ("Say  it:\n1 é",)), Message("assistant", ("ok",)), Message("user", ("?",)))
)


def fingerprint_of(loaded: LoadedModel) -> str:
    """Hash what an answer depends on; of each weight a few numbers, spread over it.

    That is the model as it computes: adapters, quantisation and precision are in it, and where its
    files lie is not.
    """
    digest = hashlib.sha256()
    for part in _parts(loaded):
        digest.update(part)
    return digest.hexdigest()[:32]


def _parts(loaded: LoadedModel) -> Iterator[bytes]:
    images, original = loaded.image_processor.to_dict(), loaded.original
    prompt = PromptTokenizer(loaded).tokenize(_SAMPLE)
    stops = sorted(loaded.stop_ids), loaded.format.stops
    yield repr((loaded.model_type, loaded.model.device.type, prompt, stops)).encode()
    yield repr(original and original.packing).encode()
    yield json.dumps(images, sort_keys=True, default=str).encode()
    yield json.dumps(sorted(loaded.tokenizer.get_vocab().items())).encode()
    for name, weight in loaded.model.state_dict().items():
        yield f"{name} {tuple(weight.shape)} {weight.dtype}".encode()
        yield _sampled(weight)


@torch.inference_mode()
def _sampled(weight: torch.Tensor) -> bytes:
    flat = weight.reshape(-1)
    values = flat[:: max(1, len(flat) // _SAMPLED)].contiguous()
    return bytes(values.view(torch.uint8).cpu().numpy().data)
