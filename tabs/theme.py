"""Colours, faces and sizes of the page, light and dark, as a Gradio theme. ``assets/theme.css`` does the rest.

Text has a contrast of at least 4.5:1 on every background here; a test computes it.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

LIGHT = {
    "page": "#F7F7F4",
    "panel": "#FFFFFF",
    "ink": "#1B1F24",
    "muted": "#5F6B7E",
    "line": "#E4E4DE",
    "accent": "#0F766E",
    "wash": "#E6F2F0",
    "on_accent": "#FFFFFF",
    "accent_hover": "#0B5F59",
    "bad": "#B42318",
    "warn": "#92500B",
}
DARK = {
    "page": "#111416",
    "panel": "#191D20",
    "ink": "#E8EAED",
    "muted": "#98A2B3",
    "line": "#2A3035",
    "accent": "#2DD4BF",
    "wash": "#17302E",
    "on_accent": "#0B1F1D",
    "accent_hover": "#5EEAD4",
    "bad": "#FDA29B",
    "warn": "#FEC84B",
}

FULL_WEIGHTS = (400, 700)  # the bundled 500 and 600 hold Cyrillic only; text asking for 600 gets 700
_ROLES: dict[str, str] = {
    "body_background_fill": "page",
    "body_text_color": "ink",
    "body_text_color_subdued": "muted",
    "background_fill_primary": "panel",
    "background_fill_secondary": "page",
    "border_color_accent": "accent",
    "border_color_accent_subdued": "line",
    "border_color_primary": "line",
    "color_accent_soft": "wash",
    "link_text_color": "accent",
    "link_text_color_active": "accent",
    "link_text_color_hover": "accent_hover",
    "link_text_color_visited": "accent",
    "code_background_fill": "page",
    "block_background_fill": "panel",
    "block_border_color": "line",
    "block_info_text_color": "muted",
    "block_label_background_fill": "panel",
    "block_label_border_color": "line",
    "block_label_text_color": "muted",
    "block_title_text_color": "ink",
    "panel_background_fill": "panel",
    "panel_border_color": "line",
    "accordion_text_color": "ink",
    "table_text_color": "ink",
    "checkbox_background_color": "panel",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "muted",
    "checkbox_border_color_focus": "accent",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "panel",
    "checkbox_label_background_fill_hover": "wash",
    "checkbox_label_background_fill_selected": "wash",
    "checkbox_label_border_color": "line",
    "checkbox_label_text_color": "ink",
    "checkbox_label_text_color_selected": "ink",
    "error_background_fill": "panel",
    "error_border_color": "bad",
    "error_text_color": "bad",
    "error_icon_color": "bad",
    "input_background_fill": "panel",
    "input_background_fill_focus": "panel",
    "input_border_color": "line",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "muted",
    "loader_color": "accent",
    "slider_color": "accent",
    "table_border_color": "line",
    "table_even_background_fill": "panel",
    "table_odd_background_fill": "panel",
    "table_row_focus": "wash",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent_hover",
    "button_primary_border_color": "accent",
    "button_primary_text_color": "on_accent",
    "button_primary_text_color_hover": "on_accent",
    "button_secondary_background_fill": "panel",
    "button_secondary_background_fill_hover": "wash",
    "button_secondary_border_color": "line",
    "button_secondary_border_color_hover": "accent",
    "button_secondary_text_color": "ink",
    "button_secondary_text_color_hover": "ink",
}
_SAME: dict[str, str] = {
    "block_shadow": "none",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "shadow_drop": "none",
    "shadow_drop_lg": "none",
    "block_radius": "10px",
    "container_radius": "10px",
    "input_radius": "8px",
    "input_border_width": "1px",
    "button_border_width": "1px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "8px",
    "table_radius": "8px",
    "block_title_text_size": "12.5px",
    "block_info_text_size": "12.5px",
    "block_label_text_size": "12.5px",
    "input_text_size": "14px",
    "body_text_size": "14px",
    "block_title_text_weight": "400",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "500",
    "button_large_text_size": "14px",
    "button_medium_text_size": "14px",
    "layout_gap": "14px",
    "block_padding": "0",
    "form_gap_width": "0px",
}


def theme() -> gr.themes.Base:
    """The theme, both modes."""
    values: dict[str, Any] = dict(_SAME)
    for role, colour in _ROLES.items():
        values[role] = LIGHT[colour]
        values[f"{role}_dark"] = DARK[colour]
    values["color_accent"] = "var(--bt-accent)"
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="stone",
        font=[gr.themes.LocalFont("IBM Plex Sans", FULL_WEIGHTS), "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono", FULL_WEIGHTS), "ui-monospace", "monospace"],
    ).set(**values)


def variables() -> str:
    """The colours as CSS variables (``--bt-ink`` and so on) and the page's ground, for ``<head>``.

    In the head because Gradio scopes the rules of its own stylesheet option below the app's root, and because the
    page's ground must follow the theme button, not only the system.
    """

    def listed(colours: dict[str, str]) -> str:
        return "".join(f"--bt-{name.replace('_', '-')}:{value};" for name, value in colours.items())

    return (
        f":root{{{listed(LIGHT)}}}\n:root .dark{{{listed(DARK)}}}\n"
        f"body{{background:{LIGHT['page']}!important;color:{LIGHT['ink']}}}\n"
        f"body.dark{{background:{DARK['page']}!important;color:{DARK['ink']}}}\n"
    )
