"""Cancel of a call: ends the one call that a program names, where Gradio would end all of its page.

Those others would never end for their program: nothing tells it of them.
"""

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_NO_EVENT = -1


class CallCancel(BaseModel):
    """What `gradio_client` sends to end a call of a named endpoint."""

    model_config = ConfigDict(strict=True)

    fn_index: int
    session_hash: str = Field(max_length=100)
    event_id: str = Field(max_length=100)

    async def carried_out(self) -> dict[str, Any]:
        """End the call's task; return what lets Gradio forget the call, and end no other task.

        Source: gradio 6.31.0 utils.py::set_task_name, for the name of a task.
        """
        name = f"{self.session_hash}_{self.fn_index}<gradio-sep>{self.event_id}"
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == name]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self.model_dump() | {"fn_index": _NO_EVENT}
