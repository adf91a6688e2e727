"""The language model with an explicit KV cache: one prefill, then one token at a time."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from llava_serve.engines.torch.prompt import Prompt


@dataclass(slots=True)
class Sequence:
    """One answer in the making: every token so far and the cache of all but the last."""

    tokens: list[int]
    cache: DynamicCache
    generated: list[int] = field(default_factory=list)

    def append(self, token: int) -> None:
        self.tokens.append(token)
        self.generated.append(token)


class Decoder:
    """Runs the language model of one checkpoint."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._config = model.config.get_text_config(decoder=True)

    def prefill(self, prompt: Prompt) -> tuple[Sequence, torch.Tensor]:
        """Read the whole prompt; return its sequence and the logits of what comes next."""
        sequence = Sequence(list(prompt.tokens), DynamicCache(config=self._config))
        return sequence, self._forward(sequence, inputs_embeds=prompt.embeddings[None])

    def step(self, sequence: Sequence) -> torch.Tensor:
        """Read the sequence's last token; return logits, float32 (1, vocabulary)."""
        last = torch.tensor([sequence.tokens[-1:]], device=self._model.device)
        return self._forward(sequence, input_ids=last)

    @torch.inference_mode()
    def _forward(self, sequence: Sequence, **inputs: torch.Tensor) -> torch.Tensor:
        output = self._model(
            **inputs, past_key_values=sequence.cache, use_cache=True, logits_to_keep=1
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits
