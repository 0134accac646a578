"""Readings of memory: what a body takes and leaves, with the kernel's mark and with samples."""

from __future__ import annotations

import time

import numpy as np
import pytest

from core.runtime import memory_readings
from core.runtime.devices import small_heap
from core.runtime.memory_readings import memory_in_use, reading

MB = 10**6


@pytest.fixture(params=["the kernel's mark", "samples"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find a peak; the second wherever the mark cannot be set back."""
    if request.param == "samples":
        monkeypatch.setattr(memory_readings, "_set_back", lambda: False)


@pytest.mark.usefixtures("means")
def test_a_peak_and_what_stays() -> None:
    with reading("cpu") as taken:
        passing, staying = np.ones(100 * MB, dtype=np.uint8), np.ones(40 * MB, dtype=np.uint8)
        time.sleep(0.05)  # the peak is there to be seen
        del passing
    assert taken.peak_bytes == pytest.approx(140 * MB, abs=15 * MB)
    assert taken.steady_bytes == pytest.approx(40 * MB, abs=15 * MB)
    assert taken.seconds >= 0.05
    assert staying.nbytes == 40 * MB


@pytest.mark.usefixtures("means")
def test_an_error_in_the_body_gets_out_and_the_next_reading_works() -> None:
    with pytest.raises(ValueError, match="broken"), reading("cpu") as taken:
        raise ValueError("broken")
    assert (taken.peak_bytes, taken.steady_bytes) == (None, None)
    with reading("cpu") as taken:
        pass
    assert taken.peak_bytes is not None


def test_what_cannot_be_read_is_none() -> None:
    assert memory_in_use("elsewhere") is None


def test_a_small_heap_ends_with_its_body() -> None:
    import threading

    with small_heap():
        assert any(thread.name == "small-heap" for thread in threading.enumerate())
    assert not any(thread.name == "small-heap" for thread in threading.enumerate())
