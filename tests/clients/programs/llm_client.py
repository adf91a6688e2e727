"""Simon Willison's `llm`: an answer and a stream about a picture, and an error."""

import os
import tempfile
from pathlib import Path

import told

_MODEL = """
- model_id: {name}
  model_name: {name}
  api_base: {address}/v1
  vision: true
"""
with tempfile.TemporaryDirectory() as folder:
    os.environ["LLM_USER_PATH"] = folder  # before it is imported
    listed = Path(folder, "extra-openai-models.yaml")
    models = [told.MODEL, told.NO_MODEL]
    listed.write_text("".join(_MODEL.format(name=n, address=told.ADDRESS) for n in models))
    import llm

    attached = [llm.Attachment(path=str(told.PICTURE), type="image/png")]

    def ask(name: str, *, stream: bool) -> llm.Response:
        model = llm.get_model(name)
        return model.prompt(
            told.QUESTION, attachments=attached, stream=stream, temperature=0, key="none"
        )

    told.tell_answer("chat", ask(told.MODEL, stream=False).text())
    told.tell_stream("stream", list(ask(told.MODEL, stream=True)))
    try:
        ask(told.NO_MODEL, stream=False).text()
    except Exception as error:
        told.tell_error(error)
