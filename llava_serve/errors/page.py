"""Page errors: those that only the browser page or its storage raises."""

from types import MappingProxyType

from llava_serve.errors.base import RETRY_AFTER, BadRequest, ServeError, Unavailable


class TooManyFiles(BadRequest):
    """More images and videos than one question on the page takes."""

    code = "too_many_files"
    status = 413
    remedy = "Attach fewer, or ask about the others in the next question."
    user_remedy = remedy

    def __init__(self, files: int, limit: int) -> None:
        super().__init__(f"{files} files are attached to one question; at most {limit} can be")


class QuestionEmpty(BadRequest):
    """Nothing is typed and nothing attached."""

    code = "question_empty"
    remedy = "Type a question or attach a picture."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the question is empty")


class PdfRefused(BadRequest):
    """Pages of a PDF cannot be shown."""

    code = "pdf_refused"
    remedy = (
        "Open it in a program that shows PDFs, and save it there without a password, or attach "
        "pictures of the pages that you ask about."
    )
    user_remedy = remedy
    quotes_user = True

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} {reason}")


class StillAnswering(BadRequest):
    """The last answer on the page is unfinished; the next question must wait."""

    code = "still_answering"
    status = 409
    remedy = "Wait for it, or stop it with its button or with Esc; what you have typed stays."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("an answer is still running, so the question was not sent")


class CannotContinue(BadRequest):
    """The worker cannot continue an answer that was cut."""

    code = "cannot_continue"
    remedy = "Ask for the rest in words of your own, or regenerate with more Max tokens."
    user_remedy = remedy

    def __init__(self, model: str) -> None:
        super().__init__(f"the worker of {model!r} cannot go on with an answer that was cut")


class AskedModelGone(Unavailable):
    """The model that a question went to is not served; another one is chosen now."""

    code = "asked_model_gone"
    remedy = (
        "Try again when it is back, or edit the question with its pencil and send it to the model "
        "that is chosen."
    )
    user_remedy = remedy

    def __init__(self, asked: str, chosen: str) -> None:
        super().__init__(
            f"{asked!r} was asked and is not served at the moment; {chosen!r} is chosen now"
        )


class ConversationBusy(BadRequest):
    """What is asked for cannot be done while an answer of the conversation is made."""

    code = "conversation_busy"
    status = 409
    remedy = "Wait for the answer, or stop it; then try again."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("an answer of this conversation is still being made")


class ImageUrlRefused(BadRequest):
    """The page gets no image from a URL."""

    code = "image_url_refused"
    remedy = (
        "Open the address in a browser: copy the address of the picture itself, or save the "
        "picture and attach the file."
    )
    user_remedy = remedy
    quotes_user = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"nothing was attached: {reason}")


class TooManyImageUrls(BadRequest):
    """A user asks for more images from URLs than the page fetches for one at once."""

    code = "too_many_image_urls"
    status = 429
    remedy = "Wait until they are attached, then try this one again."
    user_remedy = remedy

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} pictures are being fetched for you already, and no more are at once"
        )


class PageBusy(Unavailable):
    """The page does as much of a kind as it may, for all or for one address."""

    code = "page_busy"
    headers = MappingProxyType({RETRY_AFTER: "10"})
    remedy = "Wait as long as Retry-After says, then try again."
    user_remedy = "Wait a moment, then try again."

    def __init__(self, count: int, what: str) -> None:
        super().__init__(f"the page is busy with {count} {what}, and takes no more at once")


class ImportRefused(BadRequest):
    """The file is no conversation, or one that cannot be kept."""

    code = "import_refused"
    remedy = "Choose a file that this page has saved as JSON, as it was saved."
    user_remedy = remedy
    quotes_user = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"the file cannot be imported: {reason}")


class ConversationUnknown(BadRequest):
    """The page keeps no conversation under that address."""

    code = "conversation_unknown"
    status = 404
    remedy = "Check the address; otherwise begin a new one: this one may have been deleted."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("this server keeps no conversation under this address")


class NoCookies(BadRequest):
    """What is to be kept would be lost: nothing says which browser it belongs to."""

    code = "no_cookies"
    remedy = "Allow cookies for this page in the browser, reload the page, then try again."
    user_remedy = remedy

    def __init__(self, consequence: str) -> None:
        super().__init__(f"this browser keeps no cookies, so {consequence}")


class LoginRequired(BadRequest):
    """Who asks the page has not signed in, or not lately enough."""

    code = "login_required"
    status = 401
    remedy = "Sign in: open the page in a browser."
    user_remedy = "Reload the page, and sign in; what you have typed stays."

    def __init__(self) -> None:
        super().__init__("you are not signed in")


class OperatorsOnly(BadRequest):
    """Who asks the page about its cluster is none of its operators."""

    code = "operators_only"
    status = 403
    remedy = "Start the page with --admins NAME, or where nobody signs in with --local-admin."
    user_remedy = "If you run this server, look into its documentation for the page's operators."

    def __init__(self) -> None:
        super().__init__("the cluster is shown to the operators of this page only")


class LoginFailed(BadRequest):
    """Name and password do not go together."""

    code = "login_failed"
    status = 401
    remedy = "Check both, or ask whoever runs this page for a new password."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the name or the password is wrong")


class TooManyLogins(BadRequest):
    """Too many logins failed that came from one address."""

    code = "too_many_logins"
    status = 429
    remedy = "Wait, then try again with the right password."
    user_remedy = remedy

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            "too many logins failed from where you are; the next is possible within "
            f"{wait_s // 60} minutes"
        )
        self.headers = {RETRY_AFTER: str(wait_s)}


class LoginRefused(BadRequest):
    """The provider knows the user, and the page does not let them in."""

    code = "login_refused"
    status = 403
    remedy = "Add the address or its domain to --oidc-allow, or sign in as somebody else."
    user_told = "the account that you signed in with may not use this page"
    user_remedy = "Sign in with another one, or ask whoever runs this page to let you in."

    def __init__(self, who: str) -> None:
        super().__init__(f"you signed in as {who}, whom this page does not let in")


class ProviderFailed(Unavailable):
    """The OpenID provider does not answer as one does."""

    code = "provider_failed"
    status = 502
    remedy = "Check --oidc-issuer, the client's id and secret, and its redirect address."
    user_told = "the service that knows who you are did not answer as expected"
    user_remedy = "Try to sign in again. If it happens again, tell whoever runs this page."

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"the provider {provider} failed: {reason}")


class AnswerInterrupted(Unavailable):
    """The page's server stopped in mid-answer."""

    code = "answer_interrupted"
    remedy = "What had arrived is kept: continue it, or ask again."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("the page's server stopped in the middle of this answer")


class ModerationRefused(BadRequest):
    """The page's moderation check does not let the question pass."""

    code = "moderation_refused"
    remedy = "Put the question differently."
    user_remedy = remedy

    def __init__(self, categories: list[str]) -> None:
        super().__init__(f"the moderation check refused the question: {', '.join(categories)}")


class ModerationUnavailable(Unavailable):
    """The page's moderation check cannot be made."""

    code = "moderation_unavailable"
    remedy = "Try again; the operator can check --moderation-key-file and the network."
    user_told = "the question could not be checked, and so it was not asked"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the question was not checked, and so not asked: {reason}")


class StorageFailed(ServeError):
    """Conversations or images cannot be stored or read."""

    code = "storage_failed"
    remedy = "Check --state-dir and --database: the place must exist, be writable and not be full."
    user_told = "the server cannot keep or read conversations and pictures at the moment"

    def __init__(self, message: str, remedy: str = remedy) -> None:
        super().__init__(message)
        self.remedy = remedy
