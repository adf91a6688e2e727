"""Answer to one question as it is kept on disk: text, log-probability, timings, or a failure."""

from pydantic import BaseModel, ConfigDict


class AnswerFailure(BaseModel):
    """Why a question has no answer; `code` is that of the error on the wire."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class AnswerRecord(BaseModel):
    """Line of an answers file. Exactly one of `text` and `failure` is given.

    `index` is the question's place in the task, from 0. `logprob` is the sum of the answer's token
    log-probabilities in nats, None where the server tells none. Times are seconds from sending the
    request that was answered, the wait for a slot included: until its first token, and until its
    end.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    text: str | None = None
    failure: AnswerFailure | None = None
    finish_reason: str | None = None
    logprob: float | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    attempts: int = 1
