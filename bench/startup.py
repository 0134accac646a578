"""How long until the page answers: ``python app.py`` over the smallest Gradio app, process start to first HTTP 200.

Both are started as ``make run`` starts them: a fresh interpreter, the repository as working folder, Gradio's telemetry
off for both. The app gets a home of its own that stays from run to run. The two take turns, the first turn only warms
the disk cache, and the ratio is the median of the turns' ratios, so that a machine which slows down slows both sides.
What an app does after its first answer is cut off: the process is ended at once.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

NAME = "startup"
GOAL = 1.25
HIGHER_IS_BETTER = False

TURNS = 7
PATIENCE = 120.0  # seconds
PAUSE = 0.01  # seconds between two looks
REPOSITORY = Path(__file__).resolve().parent.parent
BARE_APP = """
import sys

import gradio as gr

with gr.Blocks() as page:
    gr.Textbox()
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Whether the page at ``port`` comes back with status 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def seconds_to_first_answer(command: Sequence[str], port: int, environment: Mapping[str, str]) -> float:
    """Start ``command``, wait for its page, end it. Raises ``RuntimeError`` with its output if no page comes."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=REPOSITORY, env=dict(environment), stdout=output, stderr=output)
        try:
            while process.poll() is None and time.perf_counter() - start < PATIENCE:
                if answers(port):
                    return time.perf_counter() - start
                time.sleep(PAUSE)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        raise RuntimeError(f"{' '.join(command)} did not answer:\n{output.read().decode(errors='replace')[-4000:]}")


def measure() -> float:
    """The median ratio, app over bare; prints each turn."""
    with tempfile.TemporaryDirectory() as folder:
        bare_app = Path(folder, "bare_app.py")
        bare_app.write_text(BARE_APP, encoding="utf-8")
        common = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
        home = str(Path(folder, "home"))
        ratios = []
        for turn in range(TURNS + 1):
            port = free_port()
            bare = seconds_to_first_answer([sys.executable, str(bare_app), str(port)], port, common)
            port = free_port()
            ours = {**common, "BENCHTOP_HOME": home, "BENCHTOP_HOST": "127.0.0.1", "BENCHTOP_PORT": str(port)}
            app = seconds_to_first_answer([sys.executable, "app.py"], port, ours)
            print(f"  turn {turn}: app {app:.2f} s, bare {bare:.2f} s{' (warm-up)' if turn == 0 else ''}", flush=True)
            ratios.append(app / bare)
        return statistics.median(ratios[1:])
