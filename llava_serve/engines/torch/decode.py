"""The language model over a flat batch: whatever is due of every request, in one forward pass."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from llava_serve.engines.torch import attention
from llava_serve.engines.torch.cache import Segment, SpanCache
from llava_serve.errors import CommandError

logger = logging.getLogger(__name__)


class Decoder:
    """Runs the language model of one checkpoint over one KV cache."""

    def __init__(self, model: Any, total: int) -> None:
        """Reserve a cache of `total` tokens; `model` computes attention our way from now on.

        Raises:
            CommandError: the memory does not hold the cache.
        """
        self._language_model = model.model.language_model
        self._head = model.lm_head
        self._language_model.set_attn_implementation(attention.NAME)
        config = model.config.get_text_config(decoder=True)
        devices = [next(layer.parameters()).device for layer in self._language_model.layers]
        try:
            self.cache = SpanCache(config, total, self._embed.weight.dtype, devices)
        except RuntimeError as exc:
            logger.error("the KV cache cannot be reserved", exc_info=exc)
            raise unusable(total, "the memory does not hold it") from exc

    @property
    def device(self) -> torch.device:
        """Where embeddings go in; with several devices, the first."""
        device: torch.device = self._embed.weight.device
        return device

    @property
    def _embed(self) -> Any:
        return self._language_model.get_input_embeddings()

    @torch.inference_mode()
    def embed(self, tokens: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of text tokens: (tokens, hidden)."""
        ids = torch.tensor(tokens, device=self.device)
        embeddings: torch.Tensor = self._embed(ids)
        return embeddings

    @torch.inference_mode()
    def forward(self, embeddings: torch.Tensor, segments: Sequence[Segment]) -> torch.Tensor:
        """Read the segments of a flat batch into the cache.

        Args:
            embeddings: (tokens, hidden), in the model's dtype and on its device.
            segments: what the batch consists of, in its order.

        Returns:
            Logits of what comes after each segment, float32 (segments, vocabulary).
        """
        positions = [
            torch.arange(each.past, each.past + each.count, device=embeddings.device)
            for each in segments
        ]
        self.cache.place(segments)
        output = self._language_model(
            inputs_embeds=embeddings[None],
            position_ids=torch.cat(positions)[None],
            past_key_values=self.cache,
            use_cache=True,
            segments=segments,
        )
        last = [each.offset + each.count - 1 for each in segments]
        logits: torch.Tensor = self._head(output.last_hidden_state[0, last])
        return logits.float()


def unusable(kv_tokens: int, why: str) -> CommandError:
    return CommandError(
        f"a KV cache of {kv_tokens} tokens cannot be used: {why}",
        "Choose another --kv-cache-tokens, or free memory where it is left out.",
    )
