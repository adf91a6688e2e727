"""Model runner: the language model's forward pass over a flat batch of all scheduled tokens."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from llava_serve.engines.torch import attention
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.kv_cache import Allocation, KVMemory
from llava_serve.engines.torch.scheduler import ScheduledTokens
from llava_serve.errors import CommandError

logger = logging.getLogger(__name__)


class ModelRunner:
    """Runs the language model of one checkpoint over one KV cache."""

    def __init__(self, model: Any, kv_tokens: int) -> None:
        """Reserve the KV cache; `model` computes attention over segments from then on.

        Raises:
            CommandError: the memory does not hold the cache.
        """
        self._language_model = model.model.language_model
        self._head = model.lm_head
        self._language_model.set_attn_implementation(attention.NAME)
        config = model.config.get_text_config(decoder=True)
        devices = [next(layer.parameters()).device for layer in self._language_model.layers]
        try:
            self._memory = KVMemory(config, kv_tokens, self._embed.weight.dtype, devices)
        except RuntimeError as exc:
            logger.error("the KV cache cannot be reserved", exc_info=exc)
            raise unusable(kv_tokens, "the memory does not hold it") from exc

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

    def copy_prefixes(self, allocations: Iterable[Allocation]) -> None:
        """Copy the cached tokens of allocations into their regions, in this order."""
        for each in allocations:
            if each.copy_from is not None:
                self._memory.copy(each.copy_from, each.region.start, each.num_cached_tokens)

    def execute(self, scheduled: Iterable[ScheduledTokens]) -> torch.Tensor:
        """Compute the scheduled tokens; returns logits, float32 (sequences, vocabulary)."""
        segments, embeddings, offset = [], [], 0
        for each in scheduled:
            sequence, count = each.sequence, each.count
            start = sequence.num_computed_tokens
            segments.append(AttentionSegment(offset, count, sequence.region.start, start))
            rows = sequence.prompt.embeddings[start : start + count]
            generated = sequence.generated_tokens(start, start + count)
            embeddings.append(torch.cat([rows, self.embed(generated)]) if generated else rows)
            offset += count
        return self.forward(torch.cat(embeddings), segments)

    @torch.inference_mode()
    def forward(
        self, embeddings: torch.Tensor, segments: Sequence[AttentionSegment]
    ) -> torch.Tensor:
        """Compute the segments of a flat batch and write their keys and values.

        Args:
            embeddings: (tokens, hidden), in the model's dtype and on its device.
            segments: what the batch consists of, in its order.

        Returns:
            Logits of what comes after each segment, float32 (segments, vocabulary).
        """
        positions = [
            torch.arange(
                each.num_computed_tokens,
                each.num_computed_tokens + each.count,
                device=embeddings.device,
            )
            for each in segments
        ]
        self._memory.set_segments(segments)
        output = self._language_model(
            inputs_embeds=embeddings[None],
            position_ids=torch.cat(positions)[None],
            past_key_values=self._memory,
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
