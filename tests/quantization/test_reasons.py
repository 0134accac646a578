"""Where a token's time goes: operations of the libraries find their part, and sentences say what was measured."""

from __future__ import annotations

import pytest

from core.quantization.reasons import PARTS, TokenTime, part_of, token_time, why_slow


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("aten::mm", "products"),
        ("aten::addmm", "products"),
        ("aten::_int_mm", "products"),
        ("bitsandbytes::gemv_4bit", "products"),
        ("bitsandbytes::int8_mm_dequant", "unpacking"),
        ("bitsandbytes::dequantize_4bit", "unpacking"),
        ("bitsandbytes::int8_vectorwise_quant", "rounding"),
        ("aten::round", "rounding"),
        ("aten::copy_", "casts"),
        ("aten::_to_copy", "casts"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::mul", "other"),
        ("aten::embedding", "other"),
    ],
)
def test_operations_find_their_part(operation: str, part: str) -> None:
    assert part_of(operation) == part


def test_parts_add_up_to_the_time_without_the_profiler() -> None:
    operations = [("aten::mm", 0.03), ("aten::copy_", 0.01), ("bitsandbytes::gemv_4bit", 0.02), ("aten::mul", 0.02)]
    time = token_time(operations, 0.04)
    assert set(time.parts) == set(PARTS)
    assert sum(time.parts.values()) == pytest.approx(0.04)
    assert time.parts["products"] == pytest.approx(0.025)
    assert time.parts["casts"] == pytest.approx(0.005)
    assert time.kernel == "bitsandbytes::gemv_4bit", "what the packed layers run as, not what reads the last states out"
    assert token_time([("aten::matmul", 0.01), ("aten::mm", 0.03)], 0.04).kernel == "aten::mm"


def test_nothing_profiled_is_no_part() -> None:
    time = token_time([], 0.5)
    assert set(time.parts.values()) == {0.0}
    assert time.kernel == ""


def spent(seconds: float, kernel: str = "", **parts: float) -> TokenTime:
    return TokenTime(seconds, {**dict.fromkeys(PARTS, 0.0), **parts}, kernel)


def test_a_sentence_names_what_grew_most() -> None:
    reference = spent(0.010, "aten::mm", products=0.008, other=0.002)
    slow = spent(0.025, "aten::_int_mm", products=0.004, casts=0.015, other=0.006)
    text = why_slow("int8", slow, "float32", reference)
    assert text is not None
    assert "2.5 times as long" in text
    assert "25 ms instead of 10 ms" in text
    assert f"{PARTS['casts']}, 15 ms instead of 0 ms" in text
    assert "aten::_int_mm" in text


def test_what_is_not_slower_needs_no_reason() -> None:
    reference = spent(0.010, products=0.010)
    assert why_slow("nf4", spent(0.004, products=0.004), "float32", reference) is None
    assert why_slow("nf4", spent(0.0104, products=0.0104), "float32", reference) is None
