"""Settings of the page that `launch` passes on to it: what its users may do, and how much."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from llava_serve import args
from llava_serve.login_config import LoginConfig


@dataclass(frozen=True, kw_only=True)
class PageConfig(LoginConfig):
    """Flags of the page, on its own and under `launch`."""

    model_list_mode: Annotated[
        Literal["once", "reload"], "ask for the models once, or again and again"
    ] = "reload"
    concurrency_count: Annotated[
        int, "questions answered at once, a comparison being one; more wait in line"
    ] = 16
    share: Annotated[bool, "open a public link through Gradio's servers"] = False
    allow_sharing: Annotated[
        bool, "let users make links by which everybody can read one of their conversations"
    ] = False
    allow_remote_media: Annotated[
        bool, "let users attach pictures from http(s) addresses of public hosts, fetched from here"
    ] = False
    moderate: Annotated[bool, "check each question with OpenAI's moderation first"] = False
    moderation_key_file: Annotated[Path | None, "file with the OpenAI key for --moderate"] = None
    embed: Annotated[bool, "leave out title and footer, for embedding in a page"] = False
    language_file: Annotated[
        tuple[Path, ...], "JSON file with the page's texts in a further language; may be repeated"
    ] = ()
    folder_images: Annotated[int, "pictures of a folder that are asked about in one run"] = 200
    folder_mb: Annotated[int, "megabytes of those pictures together"] = 500
    prices: Annotated[
        Path | None, "JSON file with prices per million tokens, from which comparisons tell costs"
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        args.require_positive(self, "concurrency_count", "folder_images", "folder_mb")
        if self.share and self.local_admin:
            raise ValueError(
                "--local-admin and --share exclude each other: the link comes from here"
            )
        if self.moderate and self.moderation_key_file is None:
            raise ValueError("--moderate needs --moderation-key-file")
        if self.moderation_key_file is not None and not self.moderate:
            raise ValueError("--moderation-key-file has no effect without --moderate")
