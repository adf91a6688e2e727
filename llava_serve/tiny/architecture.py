"""The checkpoint's shape: a SigLIP tower, a Qwen2 text model, and what joins them."""

from transformers import LlavaOnevisionConfig, Qwen2Config, SiglipVisionConfig

from llava_serve.tiny.tiles import PATCH, PINPOINTS, TILE

VISION_WIDTH, TEXT_WIDTH = 144, 160


def vision_config() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=TILE,
        patch_size=PATCH,
        vision_use_head=False,
    )


def model_config(vocabulary: dict[str, int]) -> LlavaOnevisionConfig:
    """Configure the model for a tokenizer's vocabulary."""
    end = vocabulary["<|im_end|>"]
    text = Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=TEXT_WIDTH,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    return LlavaOnevisionConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=vocabulary["<image>"],
        video_token_index=vocabulary["<video>"],
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_9",
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
