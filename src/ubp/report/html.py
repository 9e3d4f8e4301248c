"""Tables and figures as HTML that holds all it shows; every text is escaped."""

import base64
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ubp.sheets import Sheet

DPI = 180  # twice what the page shows, for screens with dense pixels
NUMBER = re.compile(r"[+-]?\d[\d.e+-]*")

CSS = """
#filter-by-tags-dropdown-menu, .badge, .navbar-brand img { display: none !important; }
.ubp p, .ubp figcaption { max-width: 60rem; }
.ubp figure { margin: 0 0 1.2rem 0; }
.ubp figure img { display: block; width: 100%; max-width: 60rem; height: auto; }
.ubp figcaption { margin-top: 0.6rem; color: #444; }
.ubp table { border-collapse: collapse; margin: 0.5rem 0 1rem 0; font-variant-numeric: tabular-nums; }
.ubp th, .ubp td { padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #ddd; }
.ubp th, .ubp td { vertical-align: top; text-align: left; }
.ubp .number, .ubp th.number { text-align: right; white-space: nowrap; }
.ubp td { overflow-wrap: anywhere; }
.ubp td:first-child { white-space: nowrap; overflow-wrap: normal; }
.ubp h4 { font-size: 1.05rem; margin: 1rem 0 0.3rem 0; }
.ubp .wide { overflow-x: auto; }
.ubp .wide td { white-space: nowrap; }
.ubp .note { border-left: 4px solid #D55E00; padding: 0.3rem 0 0.3rem 0.8rem; }
.ubp .wide th { white-space: nowrap; }
#toc .active { color: #fff !important; background-color: #0a58ca !important; }
@media (max-width: 42rem) {
  #toc { display: none; }
  #content { width: 100% !important; margin-left: 0 !important; }
  .ubp .picture { overflow-x: auto; }
  .ubp .picture img { width: 42rem; max-width: none; }
}
"""


def figure_html(figure: Figure, caption: str, photographic: bool = False) -> str:
    """Render a figure into an <img> that holds its own pixels; lossless unless it is made of photographs."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A concept in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        canvas.draw()
    data = io.BytesIO()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pixels.save(data, "webp", **({"quality": 88} if photographic else {"lossless": True, "quality": 20}))
    source = base64.b64encode(data.getvalue()).decode()
    width, height = pixels.size
    return (
        f'<figure><div class="picture"><img alt="{escape(caption)}" width="{width}" height="{height}" '
        f'src="data:image/webp;base64,{source}"></div><figcaption>{escape(caption)}</figcaption></figure>'
    )


def table_html(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of cells as an HTML table, every text escaped; columns of numbers are aligned right."""
    columns = {key: [plain(row.get(key, "")) for row in rows] for key in dict.fromkeys(key for r in rows for key in r)}
    kinds = [' class="number"' if all(map(NUMBER.fullmatch, texts)) else "" for texts in columns.values()]
    head = _cells("th", columns, kinds)
    body = "".join(_cells("td", texts, kinds) for texts in zip(*columns.values(), strict=True))
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _cells(tag: str, texts: Iterable[str], kinds: Sequence[str]) -> str:
    cells = (f"<{tag}{kind}>{escape(text)}</{tag}>" for text, kind in zip(texts, kinds, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def plain(value: Any) -> str:
    """A value as short text: numbers to six digits, lists joined by commas."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return "none" if value is None else str(value)


def sheet_html(sheet: Sheet) -> str:
    """A sheet as an HTML table under its title, with its notes; numbers to the right, bold rows in bold."""
    head = "".join(f"<th{_NUMBER if place else ''}>{escape(name)}</th>" for place, name in enumerate(sheet.header))
    body = ""
    for number, row in enumerate(sheet.rows):
        style = ' style="font-weight: bold"' if number in sheet.bold else ""
        cells = "".join(f"<td{_NUMBER if place else ''}>{escape(text)}</td>" for place, text in enumerate(row))
        body += f"<tr{style}>{cells}</tr>"
    notes = f"<p>{escape(' '.join(sheet.notes))}</p>" if any(sheet.notes) else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<h4>{escape(sheet.title)}</h4><div class="wide">{table}</div>{notes}'


_NUMBER = ' class="number"'
