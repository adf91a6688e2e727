"""Arena errors: a battle cannot begin, go on or be told of."""

from llava_serve.errors.base import BadRequest, Unavailable


class TooFewModels(Unavailable):
    """A battle needs two models that take pictures."""

    code = "too_few_models"
    remedy = "Start a worker with another model, or wait until one is back."
    user_remedy = "Try again later; what you have typed stays. Or ask the one in the Chat tab."

    def __init__(self, served: int) -> None:
        names = {0: "no model is", 1: "only one model is"}.get(served, f"{served} models are")
        super().__init__(f"{names} served at the moment, and a battle needs two")


class BattleAnswerFailed(Unavailable):
    """A model without a name gave no answer; its own error could tell who it is."""

    code = "battle_answer_failed"
    remedy = "Look for the request id in the log."
    user_remedy = "Begin a new battle."

    def __init__(self) -> None:
        super().__init__("this model could not answer")


class BattleOpen(BadRequest):
    """A battle is to be saved before its vote, with the names of its models."""

    code = "battle_open"
    status = 409
    remedy = "Vote on it in the Arena tab first; one that ends without a vote is never saved."
    user_remedy = remedy

    def __init__(self) -> None:
        super().__init__("this battle has no vote, so the names of its models are not told")
