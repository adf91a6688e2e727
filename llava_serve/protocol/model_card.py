"""Model card: what `GET /v1/models` says of each model that is served."""

import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class SamplingDefaults(BaseModel):
    """What a request that does not say is answered with: the checkpoint's own generation config."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


class ModelCard(BaseModel):
    """One entry of `GET /v1/models`: OpenAI's four fields, and what a chat page needs to know."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default_factory=lambda: int(time.time()))
    owned_by: str = "llava_serve"
    context_length: int
    accepts_images: bool
    accepts_video: bool
    engine: Literal["echo", "torch", "sglang"]
    sampling: SamplingDefaults = SamplingDefaults()
    slots: int | None = None  # answers made at once, as a controller adds up those of its workers
    sees: bool | None = None  # whether its answers follow pictures, as a controller found
    # Which of `FURTHER_FIELDS`, `detail` where an image may be asked for in one tile, and `tools`.
    supported_params: Annotated[list[str], Field(alias="honours")] = []

    @property
    def can_see(self) -> bool:
        """Whether pictures can be asked about: the model takes them, and was not found blind."""
        return self.accepts_images and self.sees is not False


class NamedModel(BaseModel):
    """An entry of which only the name is known: only LLaVA's own workers serve the model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["llava"] = "llava"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard | NamedModel]

    @property
    def cards(self) -> list[ModelCard]:
        """The models that more is known of."""
        return [model for model in self.data if isinstance(model, ModelCard)]
