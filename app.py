"""Settings, services, page, serve. ``python app.py`` here and on a Space; importing this starts nothing."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from typing import NoReturn

from pydantic import ValidationError

from core.settings import Settings, free_port, prepare_process


def serve(settings: Settings, port: int) -> None:
    """Serve the page until interrupted. What the labs run on is loaded once the page is up."""
    gc.disable()  # importing makes objects by the hundred thousand and hardly any garbage: no time for looking at them
    from core.services import Services  # only now: settings decide what the libraries read at import
    from tabs.page import build_page, launch_options, reducers
    from tabs.routes import add_routes

    services = Services(settings)
    closing = threading.Event()
    demo = build_page(services)
    try:
        options = launch_options(services)
        server, address, _ = demo.launch(
            server_name=settings.host, server_port=port, prevent_thread_lock=True, **options
        )
        gc.freeze()  # what was made so far stays, so the collector need not look at it later either
        gc.enable()
        add_routes(server, services, reducers(), closing)
        threading.Thread(target=services.warm_up, name="warm-up", daemon=True).start()
        print(f"Benchtop is at {address} (Ctrl+C ends it)", flush=True)
        while True:
            time.sleep(0.5)  # not Event.wait(): on Windows that would not hear Ctrl+C
    finally:
        closing.set()
        demo.close(verbose=False)
        services.close()


def interrupt(*_: object) -> NoReturn:
    """A request to end the process ends it as Ctrl+C does."""
    raise KeyboardInterrupt


def main() -> None:
    """Read the settings, find the port, serve; what is wrong with either is one sentence."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        settings = Settings.from_environment()
        port = free_port(settings.host, settings.port)
        serve(prepare_process(settings), port)
    except ValidationError as error:
        sys.exit("\n".join(f"BENCHTOP_{str(e['loc'][0]).upper()}: {e['msg']}." for e in error.errors()))
    except OSError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("Benchtop is closed.", flush=True)


if __name__ == "__main__":
    main()
