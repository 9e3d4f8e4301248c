"""A table of texts, ready to be read in the terminal or written as Markdown or LaTeX."""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """A table of texts: the first column names the row, the others are numbers.

    Parameters
    ----------
    title : str
    header : tuple of str
    rows : tuple of tuple of str
    bold : frozenset of int
        Rows in bold.
    notes : tuple of str
        Sentences below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


def markdown(sheet: Sheet) -> str:
    """A pipe table, its title above and its notes below."""
    rule = f"| :--- |{' ---: |' * (len(sheet.header) - 1)}"
    lines = [_pipes(sheet.header), rule]
    lines += [_pipes(row, "**" if number in sheet.bold else "") for number, row in enumerate(sheet.rows)]
    notes = " ".join(map(markdown_text, sheet.notes))
    return f"**{markdown_text(sheet.title)}**\n\n" + "\n".join(lines) + "\n" + (f"\n{notes}\n" if notes else "")


def _pipes(cells: tuple[str, ...], mark: str = "") -> str:
    texts = (f"{mark}{markdown_text(cell)}{mark}" if cell else "" for cell in cells)
    return f"| {' | '.join(texts)} |"


def markdown_text(text: str) -> str:
    """Any text on one line, with nothing in it that Markdown or HTML would read as its own."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))


def latex(sheet: Sheet) -> str:
    r"""A `table` with `booktabs` rules: ``\usepackage{booktabs}`` is all it needs."""
    rows = [_latex_row(sheet.header, False)]
    body = [_latex_row(row, number in sheet.bold) for number, row in enumerate(sheet.rows)]
    notes = " ".join(map(latex_text, sheet.notes))
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex_text(sheet.title)}.{' ' + notes if notes else ''}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}",
        r"    \toprule",
        *rows,
        r"    \midrule",
        *body,
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: tuple[str, ...], bold: bool) -> str:
    texts = [latex_text(cell) for cell in cells]
    return "    " + " & ".join(rf"\textbf{{{text}}}" if bold and text else text for text in texts) + r" \\"


def latex_text(text: str) -> str:
    r"""Escape what LaTeX would read as a command; a minus before a digit is set as one.

    Examples
    --------
    >>> latex_text("50 % of a_b: -1.5")
    '50 \\% of a\\_b: $-$1.5'
    """
    escaped = re.sub("[" + re.escape("".join(ESCAPES)) + "]", lambda found: ESCAPES[found[0]], " ".join(text.split()))
    return re.sub(r"(?<![\w.)\]}-])-(?=\d)", "$-$", escaped)


ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}

WRITERS: dict[str, Callable[[Sheet], str]] = {"markdown": markdown, "latex": latex}
