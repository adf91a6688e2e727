"""Every error this package raises on purpose.

    ServeError
    ├── BadRequest               the caller can fix it
    │   ├── InvalidField             a field has a value that cannot be served
    │   │   └── NotJson              a body that cannot be read at all
    │   ├── UnsupportedField         a field this engine does not honour, refused by name
    │   ├── MalformedHttp            the bytes are no HTTP request
    │   ├── NoSuchRoute              this process serves nothing at that path, or not that way
    │   ├── HostRefused              the request is for a host name that is not this server's
    │   ├── OriginRefused            a web page of another host sent it
    │   ├── ContentTypeRefused       the body is not declared as JSON
    │   ├── ForInsiders              it is for this machine, or for who has the cluster's token
    │   ├── KeyMissing               an API key is needed and none was sent
    │   ├── KeyRefused               the API key is unknown, expired or revoked
    │   ├── ModelNotAllowed          the API key does not allow the model
    │   ├── AdminOnly                it is for keys with the role admin
    │   ├── RateLimited              the API key has used its requests, tokens or answers at once
    │   ├── BudgetSpent              the API key has used its tokens of the month
    │   ├── ModelNotFound            nobody here serves that model
    │   ├── ContextOverflow          prompt and answer do not fit into the context
    │   │   └── TextTooLong              a text that cannot fit, told before it is tokenised
    │   ├── MediaNotAccepted         this model takes no pictures or no video
    │   ├── MediaCountMismatch       pictures and placeholders differ in number
    │   ├── MediaUnreadable          not a picture or video that can be decoded
    │   ├── MediaTooLarge            bytes, pixels, side, ratio or frames beyond a limit
    │   ├── RemoteMediaRefused       a web address that may not be fetched
    │   ├── HeadersTooLarge          the head of a request is beyond the limit
    │   ├── HeadersTimeout           the head of a request does not arrive in time
    │   ├── BodyTooLarge             the request itself is beyond the limit
    │   ├── BodyTimeout              the body of a request does not arrive in time
    │   ├── TextTooLarge             the request without its pictures is beyond the limit
    │   ├── ReaderTooSlow            the answer is made much faster than its client reads
    │   ├── SglangRefused            what the SGLang server says is wrong with the request
    │   ├── TooManyFiles             more pictures and videos than one question on the page takes
    │   ├── ModerationRefused        the page's moderation check does not let the question pass
    │   ├── StillAnswering           the page's last answer is open; the next question must wait
    │   ├── CannotContinue           the worker does not go on with an answer that was begun
    │   ├── ConversationUnknown      the page keeps no conversation under that address
    │   └── RegistrationRefused      a worker that may not join, with the reason
    ├── Unavailable              try again later, or elsewhere
    │   ├── NoWorker                 no live worker serves the model
    │   ├── WorkerUnreachable        the chosen worker does not answer
    │   ├── WorkerLost               the worker died in mid-answer
    │   ├── AnswerTimeout            an answer that is not streamed takes too long
    │   ├── WorkersLost              one worker after the other died with the request
    │   ├── ControllerUnreachable    nobody answers at the controller's address
    │   ├── NoRoomForBody            other large requests take the memory for bodies
    │   ├── TooManyConnections       the process has no connection left
    │   ├── ControllerLost           the controller died in mid-answer
    │   ├── AnswerInterrupted        the page's server stopped in mid-answer
    │   ├── Busy                     every slot and every waiting place is taken
    │   ├── SglangUnreachable        no SGLang server is ready behind the worker
    │   ├── SglangLost               the SGLang server died in mid-answer
    │   ├── SglangBusy               the SGLang server takes no more requests for the moment
    │   ├── ModerationUnavailable    the page's moderation check cannot be made
    │   ├── ShuttingDown             the process is about to stop
    │   └── Interrupted              the process stopped before the answer was complete
    ├── EngineFailure            ours to fix; the cause is in the log, never on the wire
    │   ├── EngineLost               the engine failed for good, and its worker with it
    │   ├── OutOfMemory              the request needs more memory than the device has
    │   └── SglangFailed             the SGLang server failed at a request that should be fine
    ├── StorageFailed            conversations or pictures cannot be kept or read
    ├── CheckpointError          a checkpoint that cannot be loaded; raised before serving starts
    ├── CommandError             a command cannot do as it is told: a file, flag, port or process
    │   ├── KeyNameTaken             another API key has that name
    │   └── NoSuchKey                no API key has that name or id
    └── RemoteError              an error another process of ours reported, passed on as it came

`code` names the error on the native wire, `number` on LLaVA's (its own numbers where it has one),
`status` is the HTTP status, `remedy` says what to do. Anything that is not a ServeError is a bug:
it is logged with its traceback and leaves as `EngineFailure`.

Each error has two texts. `message` and `remedy` are for who calls the API or runs the processes.
`user_message` and `user_remedy` are for who uses the page, who can start nothing and set no flag:
they name no address, flag, path or command. A class whose message names such has `user_told`.

With an error that has the header `NOT_ANSWERED`, on either wire, nothing of the request was
answered, and another process may well answer it: whoever passes requests on may try that. Its
value says what became of the request: it was declined, found no place (`busy`), or was accepted by
a process that was then `lost`. An error that a client may meet names no address of the cluster:
that stands in the log, under the request id.

Source of the numbers: haotian-liu/LLaVA@c121f04, llava/constants.py and llava/serve.
"""

from llava_serve.errors.access import (
    AdminOnly as AdminOnly,
)
from llava_serve.errors.access import (
    BudgetSpent as BudgetSpent,
)
from llava_serve.errors.access import (
    KeyMissing as KeyMissing,
)
from llava_serve.errors.access import (
    KeyNameTaken as KeyNameTaken,
)
from llava_serve.errors.access import (
    KeyRefused as KeyRefused,
)
from llava_serve.errors.access import (
    ModelNotAllowed as ModelNotAllowed,
)
from llava_serve.errors.access import (
    NoSuchKey as NoSuchKey,
)
from llava_serve.errors.access import (
    RateLimited as RateLimited,
)
from llava_serve.errors.base import (
    ASK_ANOTHER as ASK_ANOTHER,
)
from llava_serve.errors.base import (
    BUSY as BUSY,
)
from llava_serve.errors.base import (
    DECLINED as DECLINED,
)
from llava_serve.errors.base import (
    FOR_OPERATORS as FOR_OPERATORS,
)
from llava_serve.errors.base import (
    LOST as LOST,
)
from llava_serve.errors.base import (
    NOT_ANSWERED as NOT_ANSWERED,
)
from llava_serve.errors.base import (
    BadRequest as BadRequest,
)
from llava_serve.errors.base import (
    EngineFailure as EngineFailure,
)
from llava_serve.errors.base import (
    ServeError as ServeError,
)
from llava_serve.errors.base import (
    Unavailable as Unavailable,
)
from llava_serve.errors.base import (
    not_answered as not_answered,
)
from llava_serve.errors.cluster import (
    AnswerTimeout as AnswerTimeout,
)
from llava_serve.errors.cluster import (
    Busy as Busy,
)
from llava_serve.errors.cluster import (
    ControllerLost as ControllerLost,
)
from llava_serve.errors.cluster import (
    ControllerUnreachable as ControllerUnreachable,
)
from llava_serve.errors.cluster import (
    Interrupted as Interrupted,
)
from llava_serve.errors.cluster import (
    NoWorker as NoWorker,
)
from llava_serve.errors.cluster import (
    RegistrationRefused as RegistrationRefused,
)
from llava_serve.errors.cluster import (
    RemoteError as RemoteError,
)
from llava_serve.errors.cluster import (
    ShuttingDown as ShuttingDown,
)
from llava_serve.errors.cluster import (
    WorkerLost as WorkerLost,
)
from llava_serve.errors.cluster import (
    WorkersLost as WorkersLost,
)
from llava_serve.errors.cluster import (
    WorkerUnreachable as WorkerUnreachable,
)
from llava_serve.errors.command import (
    CheckpointError as CheckpointError,
)
from llava_serve.errors.command import (
    CommandError as CommandError,
)
from llava_serve.errors.engine import (
    EngineLost as EngineLost,
)
from llava_serve.errors.engine import (
    OutOfMemory as OutOfMemory,
)
from llava_serve.errors.engine import (
    SglangBusy as SglangBusy,
)
from llava_serve.errors.engine import (
    SglangFailed as SglangFailed,
)
from llava_serve.errors.engine import (
    SglangLost as SglangLost,
)
from llava_serve.errors.engine import (
    SglangRefused as SglangRefused,
)
from llava_serve.errors.engine import (
    SglangUnreachable as SglangUnreachable,
)
from llava_serve.errors.http import (
    BodyTimeout as BodyTimeout,
)
from llava_serve.errors.http import (
    BodyTooLarge as BodyTooLarge,
)
from llava_serve.errors.http import (
    ContentTypeRefused as ContentTypeRefused,
)
from llava_serve.errors.http import (
    ForInsiders as ForInsiders,
)
from llava_serve.errors.http import (
    HeadersTimeout as HeadersTimeout,
)
from llava_serve.errors.http import (
    HeadersTooLarge as HeadersTooLarge,
)
from llava_serve.errors.http import (
    HostRefused as HostRefused,
)
from llava_serve.errors.http import (
    InvalidField as InvalidField,
)
from llava_serve.errors.http import (
    MalformedHttp as MalformedHttp,
)
from llava_serve.errors.http import (
    NoRoomForBody as NoRoomForBody,
)
from llava_serve.errors.http import (
    NoSuchRoute as NoSuchRoute,
)
from llava_serve.errors.http import (
    NotJson as NotJson,
)
from llava_serve.errors.http import (
    OriginRefused as OriginRefused,
)
from llava_serve.errors.http import (
    ReaderTooSlow as ReaderTooSlow,
)
from llava_serve.errors.http import (
    TextTooLarge as TextTooLarge,
)
from llava_serve.errors.http import (
    TooManyConnections as TooManyConnections,
)
from llava_serve.errors.http import (
    UnsupportedField as UnsupportedField,
)
from llava_serve.errors.page import (
    AnswerInterrupted as AnswerInterrupted,
)
from llava_serve.errors.page import (
    CannotContinue as CannotContinue,
)
from llava_serve.errors.page import (
    ConversationUnknown as ConversationUnknown,
)
from llava_serve.errors.page import (
    ModerationRefused as ModerationRefused,
)
from llava_serve.errors.page import (
    ModerationUnavailable as ModerationUnavailable,
)
from llava_serve.errors.page import (
    StillAnswering as StillAnswering,
)
from llava_serve.errors.page import (
    StorageFailed as StorageFailed,
)
from llava_serve.errors.page import (
    TooManyFiles as TooManyFiles,
)
from llava_serve.errors.prompt import (
    ContextOverflow as ContextOverflow,
)
from llava_serve.errors.prompt import (
    MediaCountMismatch as MediaCountMismatch,
)
from llava_serve.errors.prompt import (
    MediaNotAccepted as MediaNotAccepted,
)
from llava_serve.errors.prompt import (
    MediaTooLarge as MediaTooLarge,
)
from llava_serve.errors.prompt import (
    MediaUnreadable as MediaUnreadable,
)
from llava_serve.errors.prompt import (
    ModelNotFound as ModelNotFound,
)
from llava_serve.errors.prompt import (
    RemoteMediaRefused as RemoteMediaRefused,
)
from llava_serve.errors.prompt import (
    TextTooLong as TextTooLong,
)
