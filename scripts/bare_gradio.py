"""Bare page of Gradio, with one component of each kind that is named and nothing of ours.

Run as a program it serves that page as Gradio itself does.
"""

import argparse
import inspect
from collections.abc import Sequence

import gradio as gr
from gradio.blocks import Block, BlockContext


def build(kinds: Sequence[str]) -> gr.Blocks:
    """Return a page of the kinds, by the names that Gradio's own configuration has for them."""
    classes = [one for one in vars(gr).values() if inspect.isclass(one) and issubclass(one, Block)]
    named = {one.__name__.lower(): one for one in classes} | {"tabitem": gr.Tab}
    named = {kind: named[kind] for kind in {*kinds} & named.keys() if named[kind] is not gr.Blocks}
    page = gr.Blocks(analytics_enabled=False)
    with page:
        for one in named.values():
            if issubclass(one, BlockContext):
                with one():
                    gr.HTML("")
            else:
                one()
    return page


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("kinds", nargs="+", help="of components")
    asked = parser.parse_args(argv)
    build(asked.kinds).launch(server_name="127.0.0.1", server_port=asked.port, ssr_mode=False)


if __name__ == "__main__":
    main()
