"""Panel of the cluster: a tab that only operators see, which `operators.js` fills."""

import gradio as gr

from llava_serve.web.event_binder import QUIET
from llava_serve.web.operators.rights import Operators
from llava_serve.web.translations.middleware import at_load

_BEGIN = "window.operators?.(element);"
_CONTENT = f"""
<div class="cluster">
  <div class="bar">
    <input type="search" placeholder="{at_load("operators.search")}" maxlength="200"
      aria-label="{at_load("operators.search")}" autocomplete="off">
    <label>{at_load("operators.log_level")}
      <select>
        <option value="debug">debug</option><option value="info">info</option>
        <option value="warning">warning</option><option value="error">error</option>
      </select>
    </label>
  </div>
  <p class="told" role="status"></p>
  <div class="view"></div>
  <dialog aria-labelledby="drain-title">
    <h2 id="drain-title">{at_load("operators.drain_title")}</h2>
    <p class="drain-told"></p>
    <div class="choice">
      <button type="button" data-do="cancel">{at_load("page.cancel")}</button>
      <button type="button" data-do="confirm" class="danger">
        {at_load("operators.drain_it")}</button>
    </div>
  </dialog>
</div>
"""


def build(page: gr.Blocks, operators: Operators) -> None:
    """Add the tab, which each load of the page shows to operators."""

    async def show(request: gr.Request) -> object:
        asked = request.request
        return gr.update(visible=asked is not None and operators.include(asked.scope))

    with gr.Tab(at_load("operators.tab"), visible=False, elem_id="cluster-tab") as tab:
        gr.HTML(
            html_template=_CONTENT,
            js_on_load=_BEGIN,
            apply_default_css=False,
            elem_id="cluster",
        )
    page.load(show, None, tab, **QUIET)
