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

from ubp.described import plain
from ubp.sheets import Sheet

DPI = 180  # twice what the page shows, for screens with dense pixels
NUMBER = re.compile(r"[+-]?\d[\d.e+-]*")


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


def paragraphs(*texts: str) -> str:
    """Texts, escaped, as paragraphs; empty ones are left out."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts if text)


def note(*texts: str) -> str:
    """Paragraphs that stand out; empty texts are left out."""
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts if text)


def heading(text: str) -> str:
    """A heading inside a part of the page."""
    return f"<h4>{escape(text)}</h4>"


def wide(rows: Sequence[dict[str, Any]], wrapped: bool = False) -> str:
    """A table that scrolls sideways where the page is narrow; `wrapped` breaks long cells into lines."""
    return f'<div class="wide{" wrapped" if wrapped else ""}">{table_html(rows)}</div>'


def folded(summary: str, content: str) -> str:
    """HTML that is unfolded by a click on its summary."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


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
    return f'{heading(sheet.title)}<div class="wide">{table}</div>{notes}'


_NUMBER = ' class="number"'
