"""Draws ```` ```mermaid ```` flowcharts as SVG while the pages are built, without a browser or a network.

Understood is what our pages use: ``flowchart LR`` (drawn from top to bottom, as a column of text is narrow),
``name["label"]``, ``a --> b`` and ``a -->|label| b``; a label may hold ``<b>`` and ``<br/>``. Anything else is an
error, so that no drawing loses a part. Colours are those of the theme.
"""

import html
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from docutils import nodes
from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout
from sphinx.directives.code import CodeBlock
from sphinx.errors import SphinxError

LINE, LETTER, PAD = 17.0, 6.9, 12.0  # pixels: height of a line, mean width of a letter, room inside a box
LAYER_GAP, BOX_GAP = 44.0, 26.0
NODE = re.compile(r"(\w+)(?:\[(?:\"([^\"]*)\"|([^\]\"]*))\])?")
ARROW = re.compile(r"\s*-->(?:\|(?:\"([^\"]*)\"|([^|\"]*))\|)?\s*")


@dataclass
class Flowchart:
    """Labels of nodes, by name, and arrows: from, to, label."""

    labels: dict[str, str] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)


def parse(text: str) -> Flowchart:
    """Read a flowchart.

    Raises
    ------
    SphinxError
        When a line is not understood; names the line.
    """
    first, *lines = [line.strip() for line in text.strip().splitlines()]
    if first != "flowchart LR":
        raise SphinxError(f"The drawing begins with {first!r}; expected 'flowchart LR'.")
    chart = Flowchart()
    for line in filter(None, lines):
        place, before, label = 0, None, ""
        while match := NODE.match(line, place):
            name, written = match[1], match[2] if match[2] is not None else match[3]
            chart.labels[name] = written if written is not None else chart.labels.get(name, name)
            if before:
                chart.arrows.append((before, name, label))
            place, before = match.end(), name
            arrow = ARROW.match(line, place)
            if not arrow:
                break
            place, label = arrow.end(), arrow[1] or arrow[2] or ""
        if place != len(line):
            raise SphinxError(f"The drawing has the line {line!r}; expected nodes and arrows, as in 'a[text] --> b'.")
    return chart


def lines_of(label: str) -> list[str]:
    """Lines of a label, as SVG text; bold where the label is."""
    lines = re.split(r"<br\s*/?>", label)
    return [
        html.escape(line).replace("&lt;b&gt;", '<tspan class="bold">').replace("&lt;/b&gt;", "</tspan>")
        for line in lines
    ]


def size_of(label: str) -> tuple[float, float]:
    """Width and height of a box that holds a label."""
    plain = [re.sub("<[^>]*>", "", line) for line in re.split(r"<br\s*/?>", label)]
    return LETTER * max(map(len, plain)) + 2 * PAD, LINE * len(plain) + PAD


class _View:
    """What the layout asks of a vertex."""

    def __init__(self, width: float, height: float) -> None:
        self.w, self.h, self.xy = width, height, (0.0, 0.0)


class _Way:
    """What the layout tells of an edge."""

    def setpath(self, points: list[tuple[float, float]]) -> None:
        """Keep where it runs."""
        self.points = points


def draw(chart: Flowchart) -> str:
    """The flowchart as an SVG element whose colours follow the page."""
    sizes = {name: size_of(label) for name, label in chart.labels.items()}
    vertices = {name: Vertex(name) for name in chart.labels}
    for name, vertex in vertices.items():
        vertex.view = _View(*sizes[name])
    edges = [Edge(vertices[a], vertices[b]) for a, b, _ in chart.arrows]
    for edge in edges:
        edge.view = _Way()
    graph = Graph(list(vertices.values()), edges)
    centres = {}
    for part in graph.C:
        layout = SugiyamaLayout(part)
        layout.xspace, layout.yspace = BOX_GAP, LAYER_GAP
        layout.init_all(optimize=True)
        layout.draw(12)
        for vertex in part.sV:
            centres[vertex.data] = vertex.view.xy
    left = min(x - sizes[name][0] / 2 for name, (x, _) in centres.items())
    top = min(y - sizes[name][1] / 2 for name, (_, y) in centres.items())
    moved = {name: (x - left + 1, y - top + 1) for name, (x, y) in centres.items()}
    width = max(x + sizes[name][0] / 2 for name, (x, _) in moved.items()) + 1
    height = max(y + sizes[name][1] / 2 for name, (_, y) in moved.items()) + 1
    parts = []
    for (a, b, label), edge in zip(chart.arrows, edges, strict=True):
        inner = [(x - left + 1, y - top + 1) for x, y in edge.view.points[1:-1]]
        start = (moved[a][0], moved[a][1] + sizes[a][1] / 2)
        end = (moved[b][0], moved[b][1] - sizes[b][1] / 2 - 5)
        parts.append(_arrow([start, *inner, end], label))
    for name, (x, y) in moved.items():
        parts.append(_box(x, y, *sizes[name], chart.labels[name]))
    return (
        f'<svg class="flowchart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        'xmlns="http://www.w3.org/2000/svg"><defs><marker id="tip" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _arrow(points: list[tuple[float, float]], label: str) -> str:
    path = "M{:.1f} {:.1f}".format(*points[0])
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (y1 - y0) / 2
        path += f"C{x0:.1f} {y0 + half:.1f} {x1:.1f} {y1 - half:.1f} {x1:.1f} {y1:.1f}"
    drawn = f'<path d="{path}" class="arrow" marker-end="url(#tip)"/>'
    if label:
        (x0, y0), (x1, y1) = points[-2:]
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        wide = 0.88 * LETTER * len(label) + 6
        drawn += f'<rect x="{x - wide / 2:.1f}" y="{y - 8:.1f}" width="{wide:.1f}" height="16" class="under"/>'
        drawn += f'<text x="{x:.1f}" y="{y + 4:.1f}" class="label">{html.escape(label)}</text>'
    return drawn


def _box(x: float, y: float, width: float, height: float, label: str) -> str:
    lines = lines_of(label)
    first = y - LINE * (len(lines) - 1) / 2 + 4.5
    text = "".join(f'<text x="{x:.1f}" y="{first + LINE * i:.1f}">{line}</text>' for i, line in enumerate(lines))
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="7" '
        f'class="box"/>{text}'
    )


class MermaidDirective(CodeBlock):
    """A flowchart; where pages are not HTML, its source."""

    required_arguments = 0

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        svg = draw(parse("\n".join(self.content)))
        return [nodes.raw("", f'<div class="flowchart-frame" tabindex="0">{svg}</div>', format="html")]


def setup(app: Any) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("mermaid", MermaidDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
