"""Loaded models: what an engine gets of a checkpoint, whatever layout it has."""

from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from llava_serve.chat.rendering import PromptFormat
from llava_serve.checkpoints.original.image_processing import FrameProcessor, ImageProcessing
from llava_serve.checkpoints.original.legacy_tokenizer import LegacyLlamaTokenizer
from llava_serve.protocol.model_card import ModelCard, SamplingDefaults

_SUPPORTED_PARAMS = (
    *("frequency_penalty", "presence_penalty", "logit_bias", "min_p"),
    *("response_format", "regex", "detail"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A checkpoint in memory.

    `model_type` is transformers' name of the family and decides how images are tiled. `frames`
    turns the frames of a video into float32 (frames, 3, height, width), normalised; it is None for
    a family without video. `image_token_id` stands in the token list where image features go; it is
    negative where the tokenizer has no token for that. `original` is how LLaVA's own code prepares
    and packs images, and `legacy_tokenizer` how it tokenises texts; None leaves these to
    transformers.
    """

    name: str
    model_type: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    image_processor: Any  # one of transformers' classes, PIL backend
    frames: FrameProcessor | None
    format: PromptFormat
    context_length: int
    image_token_id: int
    video_token_id: int | None
    stop_ids: frozenset[int]
    original: ImageProcessing | None = None
    legacy_tokenizer: LegacyLlamaTokenizer | None = None

    @property
    def precision(self) -> str:
        """How the weights are kept, such as `bfloat16` or `float16, 4 bits`."""
        bits = [f"{n} bits" for n in (4, 8) if getattr(self.model, f"is_loaded_in_{n}bit", False)]
        return ", ".join([str(self.model.dtype).removeprefix("torch."), *bits])

    @property
    def card(self) -> ModelCard:
        """What clients are told of the model."""
        return ModelCard(
            id=self.name,
            context_length=self.context_length,
            accepts_images=True,
            accepts_video=self.frames is not None,
            engine="torch",
            sampling=_sampling_of(self.model.generation_config),
            supported_params=[*_SUPPORTED_PARAMS, *(("tools",) if self.format.tool_calls else ())],
        )


def _sampling_of(config: GenerationConfig | None) -> SamplingDefaults:
    """Return what transformers' `generate` would do; without `do_sample` that is greedy."""
    if config is None or not config.do_sample:
        return SamplingDefaults(temperature=0.0)
    return SamplingDefaults(
        temperature=1.0 if config.temperature is None else config.temperature,
        top_p=1.0 if config.top_p is None else config.top_p,
        top_k=config.top_k or 0,
    )
