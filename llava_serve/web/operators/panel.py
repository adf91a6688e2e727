"""Panel of the cluster: a tab that only operators see, which `operators.js` fills."""

import gradio as gr

from llava_serve.web.event_binder import QUIET
from llava_serve.web.operators.rights import Operators

TAB = "Cluster"
_BEGIN = "window.operators?.(element);"
_CONTENT = """
<div class="cluster">
  <div class="bar">
    <input type="search" placeholder="Search workers and models" maxlength="200"
      aria-label="Search workers and models" autocomplete="off">
    <label>Controller's log level
      <select>
        <option value="debug">debug</option><option value="info">info</option>
        <option value="warning">warning</option><option value="error">error</option>
      </select>
    </label>
  </div>
  <p class="told" role="status"></p>
  <div class="view"></div>
  <dialog aria-labelledby="drain-title">
    <h2 id="drain-title">Drain this worker?</h2>
    <p><b class="worker"></b> gets no new requests; what runs there ends. Undrain puts it back.</p>
    <div class="choice">
      <button type="button" data-do="cancel">Cancel</button>
      <button type="button" data-do="confirm" class="danger">Drain it</button>
    </div>
  </dialog>
</div>
"""


def build(page: gr.Blocks, operators: Operators) -> None:
    """Add the tab, which each load of the page shows to operators."""

    async def show(request: gr.Request) -> object:
        asked = request.request
        return gr.update(visible=asked is not None and operators.include(asked.scope))

    with gr.Tab(TAB, visible=False, elem_id="cluster-tab") as tab:
        gr.HTML(
            html_template=_CONTENT,
            js_on_load=_BEGIN,
            apply_default_css=False,
            elem_id="cluster",
        )
    page.load(show, None, tab, **QUIET)
