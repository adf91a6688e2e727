"""Every error this package raises on purpose.

    ServeError
    ├── BadRequest     the caller can fix it
    │     http     InvalidField, NotJson, UnsupportedField, MalformedHttp, NoSuchRoute,
    │              HostRefused, OriginRefused, ContentTypeRefused, ForInsiders,
    │              HeadersTooLarge, HeadersTimeout, BodyTooLarge, BodyTimeout,
    │              TextTooLarge, ReaderTooSlow, TlsExpected
    │     files    FileUnknown, FileQuotaSpent
    │     batches  BatchUnknown, BatchOver, TooManyBatches
    │     access   KeyMissing, KeyRefused, ModelNotAllowed, AdminOnly, RateLimited, BudgetSpent
    │     prompt   ModelNotFound, ContextOverflow, TextTooLong, MediaNotAccepted,
    │              MediaCountMismatch, MediaUnreadable, MediaTooLarge, RemoteMediaRefused
    │     engine   SglangRefused, InspectionUnsupported, LlavaWorkerFull
    │     cluster  RegistrationRefused, NoSuchWorker
    │     page     TooManyFiles, StillAnswering, CannotContinue, ConversationUnknown,
    │              ConversationBusy, ImportRefused, NoCookies, ModerationRefused,
    │              LoginRequired, LoginFailed, LoginRefused, TooManyLogins, OperatorsOnly,
    │              PdfRefused, ImageUrlRefused, TooManyImageUrls, QuestionEmpty
    │     folder   FolderUnknown, FolderTooLarge, FolderRefused: FolderWithoutQuestion,
    │              FolderWithoutImages, FolderModelCount, BlindModelChosen, NoImage,
    │              FolderBegun, FolderBusy
    │     responses    ResponsesNotKept, ResponseNotFound
    │     preset   PresetRefused: PresetUnknown, PresetNameRefused, PresetNameTaken,
    │              PresetTooLong, TooManyPresets
    │     arena    BattleOpen
    ├── Unavailable    try again later, or elsewhere
    │     http     NoRoomForBody, TooManyConnections
    │     engine   SglangUnreachable, SglangLost, SglangBusy
    │     cluster  NoWorker, WorkerUnreachable, WorkerLost, AnswerTimeout, WorkersLost,
    │              ControllerUnreachable, ControllerUntrusted, ControllerLost, EventTooLarge,
    │              Busy, ShuttingDown, Interrupted, WorkerUnchecked, OnlyBlindWorkers
    │     line     LineFull, OwnLineFull, LineTimeout, TurnTakenBack
    │     page     AnswerInterrupted, AskedModelGone, ModerationUnavailable,
    │              ProviderFailed, PageBusy
    │     arena    TooFewModels, BattleAnswerFailed
    ├── EngineFailure  ours to fix; the cause is in the log, never on the wire
    │     engine   EngineLost, OutOfMemory, SglangFailed, LlavaWorkerFailed
    └── StorageFailed, CheckpointError, CommandError (access: KeyNameTaken, NoSuchKey), RemoteError

The word before the names is the module; the docstring of each class says when it is raised.
`code` names the error on the native wire, `number` on LLaVA's (its own numbers where it has one),
`status` is the HTTP status, `remedy` says what to do. Anything that is not a ServeError is a bug:
it is logged with its traceback and leaves as `EngineFailure`.

Each error has two texts. `message` and `remedy` are for who calls the API or runs the processes.
`user_message` and `user_remedy` are for who uses the page, who can start nothing and set no flag:
they name no address, flag, path or command. A class whose message names such has `user_told`.

With an error that has the header `NOT_ANSWERED`, on either wire, nothing of the request was
answered, and another process may well answer it: whoever passes requests on may try that. Its
value says what became of the request: it was declined, found no slot (`busy`), or was accepted by
a process that was then `lost`. An error that a client may meet names no address of the cluster:
that stands in the log, under the request id.

Source of the numbers: haotian-liu/LLaVA@c121f04, llava/constants.py and llava/serve.
"""

from llava_serve.errors.access import (
    AdminOnly as AdminOnly,
    BudgetSpent as BudgetSpent,
    KeyMissing as KeyMissing,
    KeyNameTaken as KeyNameTaken,
    KeyRefused as KeyRefused,
    ModelNotAllowed as ModelNotAllowed,
    NoSuchKey as NoSuchKey,
    RateLimited as RateLimited,
)
from llava_serve.errors.arena import (
    BattleAnswerFailed as BattleAnswerFailed,
    BattleOpen as BattleOpen,
    TooFewModels as TooFewModels,
)
from llava_serve.errors.base import (
    ASK_ANOTHER as ASK_ANOTHER,
    BUSY as BUSY,
    DECLINED as DECLINED,
    FOR_OPERATORS as FOR_OPERATORS,
    LOST as LOST,
    NOT_ANSWERED as NOT_ANSWERED,
    BadRequest as BadRequest,
    CheckpointError as CheckpointError,
    CommandError as CommandError,
    EngineFailure as EngineFailure,
    ServeError as ServeError,
    Unavailable as Unavailable,
    not_answered as not_answered,
)
from llava_serve.errors.batches import (
    BatchOver as BatchOver,
    BatchUnknown as BatchUnknown,
    TooManyBatches as TooManyBatches,
)
from llava_serve.errors.cluster import (
    AnswerTimeout as AnswerTimeout,
    Busy as Busy,
    ControllerLost as ControllerLost,
    ControllerUnreachable as ControllerUnreachable,
    ControllerUntrusted as ControllerUntrusted,
    EventTooLarge as EventTooLarge,
    Interrupted as Interrupted,
    NoSuchWorker as NoSuchWorker,
    NoWorker as NoWorker,
    OnlyBlindWorkers as OnlyBlindWorkers,
    RegistrationRefused as RegistrationRefused,
    RemoteError as RemoteError,
    ShuttingDown as ShuttingDown,
    WorkerLost as WorkerLost,
    WorkersLost as WorkersLost,
    WorkerUnchecked as WorkerUnchecked,
    WorkerUnreachable as WorkerUnreachable,
)
from llava_serve.errors.engine import (
    EngineLost as EngineLost,
    InspectionUnsupported as InspectionUnsupported,
    LlavaWorkerFailed as LlavaWorkerFailed,
    LlavaWorkerFull as LlavaWorkerFull,
    OutOfMemory as OutOfMemory,
    SglangBusy as SglangBusy,
    SglangFailed as SglangFailed,
    SglangLost as SglangLost,
    SglangRefused as SglangRefused,
    SglangUnreachable as SglangUnreachable,
)
from llava_serve.errors.files import (
    FileQuotaSpent as FileQuotaSpent,
    FileUnknown as FileUnknown,
)
from llava_serve.errors.folder import (
    BlindModelChosen as BlindModelChosen,
    FolderBegun as FolderBegun,
    FolderBusy as FolderBusy,
    FolderModelCount as FolderModelCount,
    FolderRefused as FolderRefused,
    FolderTooLarge as FolderTooLarge,
    FolderUnknown as FolderUnknown,
    FolderWithoutImages as FolderWithoutImages,
    FolderWithoutQuestion as FolderWithoutQuestion,
    NoImage as NoImage,
)
from llava_serve.errors.http import (
    BodyTimeout as BodyTimeout,
    BodyTooLarge as BodyTooLarge,
    ContentTypeRefused as ContentTypeRefused,
    ForInsiders as ForInsiders,
    HeadersTimeout as HeadersTimeout,
    HeadersTooLarge as HeadersTooLarge,
    HostRefused as HostRefused,
    InvalidField as InvalidField,
    MalformedHttp as MalformedHttp,
    NoRoomForBody as NoRoomForBody,
    NoSuchRoute as NoSuchRoute,
    NotJson as NotJson,
    OriginRefused as OriginRefused,
    ReaderTooSlow as ReaderTooSlow,
    TextTooLarge as TextTooLarge,
    TlsExpected as TlsExpected,
    TooManyConnections as TooManyConnections,
    UnsupportedField as UnsupportedField,
)
from llava_serve.errors.line import (
    LineFull as LineFull,
    LineTimeout as LineTimeout,
    OwnLineFull as OwnLineFull,
    TurnTakenBack as TurnTakenBack,
)
from llava_serve.errors.page import (
    AnswerInterrupted as AnswerInterrupted,
    AskedModelGone as AskedModelGone,
    CannotContinue as CannotContinue,
    ConversationBusy as ConversationBusy,
    ConversationUnknown as ConversationUnknown,
    ImageUrlRefused as ImageUrlRefused,
    ImportRefused as ImportRefused,
    LoginFailed as LoginFailed,
    LoginRefused as LoginRefused,
    LoginRequired as LoginRequired,
    ModerationRefused as ModerationRefused,
    ModerationUnavailable as ModerationUnavailable,
    NoCookies as NoCookies,
    OperatorsOnly as OperatorsOnly,
    PageBusy as PageBusy,
    PdfRefused as PdfRefused,
    ProviderFailed as ProviderFailed,
    QuestionEmpty as QuestionEmpty,
    StillAnswering as StillAnswering,
    StorageFailed as StorageFailed,
    TooManyFiles as TooManyFiles,
    TooManyImageUrls as TooManyImageUrls,
    TooManyLogins as TooManyLogins,
)
from llava_serve.errors.preset import (
    PresetNameRefused as PresetNameRefused,
    PresetNameTaken as PresetNameTaken,
    PresetRefused as PresetRefused,
    PresetTooLong as PresetTooLong,
    PresetUnknown as PresetUnknown,
    TooManyPresets as TooManyPresets,
)
from llava_serve.errors.prompt import (
    ContextOverflow as ContextOverflow,
    MediaCountMismatch as MediaCountMismatch,
    MediaNotAccepted as MediaNotAccepted,
    MediaTooLarge as MediaTooLarge,
    MediaUnreadable as MediaUnreadable,
    ModelNotFound as ModelNotFound,
    RemoteMediaRefused as RemoteMediaRefused,
    TextTooLong as TextTooLong,
)
from llava_serve.errors.responses import (
    ResponseNotFound as ResponseNotFound,
    ResponsesNotKept as ResponsesNotKept,
)
