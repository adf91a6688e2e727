"""Folder errors: what the page does not do with a folder of images, and what to do instead."""

from llava_serve.errors.base import BadRequest


class FolderUnknown(BadRequest):
    """The page keeps no folder of images under that address."""

    code = "folder_unknown"
    status = 404
    remedy = "Check the address; otherwise begin a new one: this one may have been deleted."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("this server keeps no folder of yours under this address")


class FolderRefused(BadRequest):
    """What is asked for cannot be done with a folder of images; each reason has a class."""

    code = "folder_refused"
    remedy = "Begin another folder."
    user_remedy = remedy


class FolderWithoutQuestion(FolderRefused):
    """Nothing is asked about the images."""

    code = "folder_without_question"
    remedy = "Type what the models are to be asked about each picture."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the question is empty")


class FolderWithoutImages(FolderRefused):
    """There is nothing to ask about."""

    code = "folder_without_images"
    remedy = "Begin another folder with one picture or more."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("there are no pictures to ask about")


class FolderModelCount(FolderRefused):
    """No model is asked, too many are, or one of them twice."""

    code = "folder_model_count"
    remedy = "Change the choice of models, then ask again."
    user_remedy = remedy

    def __init__(self, models: int, different: int, most: int) -> None:
        super().__init__(
            f"{models} models are chosen, of which {different} are different: choose one to {most} "
            "models, each of them once"
        )


class BlindModelChosen(FolderRefused):
    """A model that is asked about images takes none, or was found not to see them."""

    code = "blind_model_chosen"
    remedy = "Choose among the models that the page offers for a folder: they see pictures."
    user_remedy = remedy

    def __init__(self, models: list[str]) -> None:
        super().__init__(f"these models cannot see pictures: {', '.join(models)}")


class NoImage(FolderRefused):
    """A file of the folder is a video, or an image that moves."""

    code = "no_image"
    remedy = "Choose pictures that do not move; a video can be asked about in a conversation."
    user_remedy = remedy
    quotes_user = True


class FolderBegun(FolderRefused):
    """An image comes too late: some answers to the others are there."""

    code = "folder_begun"
    remedy = "Begin another folder with the pictures that are missing."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("no picture can be added: the models have begun to answer")


class FolderBusy(FolderRefused):
    """The models are still answering about a folder of the same user."""

    code = "folder_busy"
    remedy = "Wait until they have answered, or open that folder and stop them; then try again."
    user_remedy = remedy

    def __init__(self, which: str) -> None:
        super().__init__(f"the models are still answering about {which}")


class FolderTooLarge(BadRequest):
    """More images, or more bytes of them, than the page takes at once."""

    code = "folder_too_large"
    status = 413
    remedy = "Choose fewer, or raise --folder-images and --folder-mb of the page."
    user_remedy = "Choose fewer or smaller pictures, or ask about the others in another run."

    def __init__(self, images: int, size_bytes: int, most: int, most_bytes: int) -> None:
        super().__init__(
            f"{images:,} pictures of {size_bytes / 1e6:,.1f} MB are too many at once; this page "
            f"takes {most:,} of {most_bytes / 1e6:,.1f} MB together"
        )
