"""The pages: what they tell a reader to type runs, what they show is what comes out, and no link leads nowhere."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from docutils import nodes

from ubp.cli import app, main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = {"_build", "auto_examples", "generated"}
PAGES = sorted(path for path in DOCS.rglob("*.md") if not BUILT & set(path.relative_to(DOCS).parts))
TUTORIAL = DOCS / "tutorial.md"
HOW_TO = sorted((DOCS / "howto").glob("*.md"))
LINK = re.compile(r"(?<!\\)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def blocks(path, *kinds):
    """Fenced blocks of these kinds, in order: (kind, text)."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.S | re.M)
    return [(kind, text) for kind, text in found if kind in kinds]


def commands(text):
    """Arguments of each `ubp` command of a block."""
    lines = [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if "ubp " in line]
    return [words[words.index("ubp") + 1 :] for words in lines]


def without_numbers(text):
    """Words and marks of a text, whatever its numbers, its rules and its spaces."""
    text = re.sub(r"[-+]?\d[\d.]*", "#", text)
    return re.sub(r"[─\s]+", " ", text).strip()


def anchors(path):
    """Names that headings of a page have in links, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES], ids=lambda page: page.name)
def test_every_relative_link_and_its_anchor_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    links = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if BUILT & set(target.relative_to(ROOT).parts):
            example = re.search(r"sphx_glr_(plot_\w+?)_\d+\.png", name)
            assert example is None or (ROOT / "examples" / f"{example[1]}.py").exists(), link
            continue
        if not target.exists() and not target.suffix:
            target = target.with_suffix(".rst" if target.with_suffix(".rst").exists() else ".md")
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}, which has no such heading"
    assert links or page.name in {"CHANGELOG.md", "changelog.md", "command-line.md", *(path.name for path in HOW_TO)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_pages_exists_with_its_options(page):
    for _, text in blocks(page, "bash", "console"):
        for words in commands(text):
            if words[0].startswith("-"):
                continue
            path = [words[0]] if words[0] not in ("import", "prepare") else words[:2]
            known = app
            for name in path:
                known = known[name]
            options = set()
            for argument in known.assemble_argument_collection():
                options.update(argument.names)
            given = {word for word in words if word.startswith("--")}
            assert given <= options, f"{page.name}: {' '.join(path)} has no {sorted(given - options)}"


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The tutorial from beginning to end in one folder: each command with what it printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("UBP_CACHE", str(folder / "cache"))
        patch.setenv("COLUMNS", "80")
        yield folder


def typed(words):
    """Exit code of a command."""
    try:
        main(words)
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_the_tutorial_runs_as_written_and_prints_what_it_shows(walked, capsys):
    printed, n_shown = "", 0
    for kind, text in blocks(TUTORIAL, "bash", "text", "python"):
        if kind == "bash":
            capsys.readouterr()
            for words in commands(text):
                assert typed(words) == 0, words
            printed = capsys.readouterr().out
        elif kind == "text":
            assert without_numbers(text) in without_numbers(printed)
            n_shown += 1
        else:
            exec(compile(text, str(TUTORIAL), "exec"), {})
    assert n_shown == 4
    for name in ("look.html", "ladder.png", "runs/results.csv", "runs/curve.png", "found.png", "runs/reliability.png"):
        assert (walked / name).stat().st_size > 0
    found = re.findall(r"^ (\w+) +(\d+\.\d) +\d+\.\d to", TUTORIAL.read_text(encoding="utf-8"), re.M)
    shown = {method: float(top1) for method, top1 in found}

    measured = pd.read_csv(walked / "runs/summary.csv").set_index("method")["top1"] * 100
    assert set(shown) == {"ridge", "vanilla", "blur", "ubp"}
    for method, top1 in shown.items():
        assert measured[method] == pytest.approx(top1, abs=6), method


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_the_python_of_the_how_to_pages_runs(page, tmp_path, monkeypatch, capsys):
    from ubp.brain import BRAIN_ENCODERS
    from ubp.images.transforms import KINDS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "cache"))
    before = [(table, dict(table)) for table in (BRAIN_ENCODERS, KINDS)]
    code = "\n".join(text for _, text in blocks(page, "python"))
    try:
        exec(compile(code, str(page), "exec"), {"__name__": "page"})
    finally:
        for table, content in before:
            table.clear()
            table.update(content)
    assert capsys.readouterr().out.strip() or not code


def test_the_experiment_of_the_cluster_page_can_be_read(tmp_path):
    from ubp.grid import Experiment
    from ubp.grid.file import read_file

    ((_, text),) = blocks(DOCS / "howto/cluster.md", "toml")
    (tmp_path / "experiment.toml").write_text(text)
    assert Experiment(**read_file(tmp_path / "experiment.toml")).methods == ("nice", "ubp")


def test_the_loop_of_the_how_to_page_imports_the_prior_alone():
    (_, text), _ = blocks(DOCS / "howto/own-training-loop.md", "python")
    assert re.findall(r"^(?:from|import) (ubp\S*)", text, re.M) == ["ubp.prior"]


def test_the_reference_of_commands_has_every_command_and_option():
    from command_pages import pages

    text = "\n".join(pages().values())
    for name in app:
        if name.startswith("-"):
            continue
        assert re.search(rf"^## ubp {name}$", text, re.M)
    for option in ("--calibration-concepts", "--fixation-degrees", "--snr-range"):
        assert f"`{option}" in text
    assert "[default: ()]" not in text
    assert "(0,)" not in text


def test_every_name_of_the_reference_is_there_and_has_a_docstring():
    import importlib
    import inspect

    names = [
        name
        for page in (DOCS / "api").glob("*.rst")
        for name in re.findall(r"^   (ubp(?:\.\w+)+)$", page.read_text(encoding="utf-8"), re.M)
    ]
    assert len(names) == len(set(names)) > 100
    for name in names:
        module, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(module), attribute)
        assert not callable(found) or inspect.getdoc(found), name


def test_a_flowchart_is_drawn_with_all_its_parts():
    from flowchart import draw, parse

    lines = ("first[recordings] --> study", 'study["<b>Study</b><br/>a & b"] -->|"train, test"| fit', "fit --> last")
    chart = parse("\n  ".join(("flowchart LR", *lines)))
    assert chart.labels == {"first": "recordings", "study": "<b>Study</b><br/>a & b", "fit": "fit", "last": "last"}
    assert chart.arrows == [("first", "study", ""), ("study", "fit", "train, test"), ("fit", "last", "")]
    svg = draw(chart)
    import xml.etree.ElementTree as tree

    root = tree.fromstring(svg)
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert sorted(texts) == sorted(["recordings", "Study", "a & b", "train, test", "fit", "last"])
    assert svg.count('class="arrow"') == 3


def test_boxes_of_the_architecture_do_not_overlap_and_the_drawing_holds_them():
    import xml.etree.ElementTree as tree

    from flowchart import draw, parse

    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    root = tree.fromstring(draw(parse(re.search(r"```mermaid\n(.*?)```", text, re.S)[1])))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [
        tuple(float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        for element in root.iter()
        if element.attrib.get("class") == "box"
    ]
    assert len(boxes) > 10
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 <= y
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in boxes[:i]:
            apart = x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y
            assert apart


@pytest.mark.parametrize("source", ["graph TD\n a --> b", "flowchart LR\n a -.-> b", "flowchart LR\n a{choice} --> b"])
def test_a_flowchart_of_another_kind_is_refused(source):
    from sphinx.errors import SphinxError

    from flowchart import parse

    with pytest.raises(SphinxError, match="expected"):
        parse(source)


def test_figures_without_pyplot_are_saved_once_and_those_of_pyplot_left_to_its_scraper(tmp_path):
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    from gallery import scrape

    made = Figure()
    paths = iter([tmp_path / "1.png", tmp_path / "2.png", tmp_path / "3.png"])
    names = {"figure": made, "same": made, "drawn": pyplot.figure(), "number": 3}
    block_vars, about = {"example_globals": names, "image_path_iterator": paths}, {"src_dir": str(tmp_path)}
    try:
        assert "1.png" in scrape((), block_vars, about)
        assert scrape((), block_vars, about).strip() == ""
        names["figure"] = Figure()
        assert "2.png" in scrape((), block_vars, about)
    finally:
        pyplot.close("all")
    assert {path.name for path in tmp_path.iterdir()} == {"1.png", "2.png"}


def test_formulas_become_mathml():
    from mathml import block

    class Page:
        body: list[str]

    page = Page()
    page.body = []
    with pytest.raises(nodes.SkipNode):
        block(page, nodes.math_block("", r"a = e^{-\lambda d / L}"))
    assert "<math" in page.body[0]
    assert "λ" in page.body[0] or "&#x003BB;" in page.body[0]


def test_the_figure_of_the_recordings_has_the_numbers_of_their_page():
    from pictures import recordings

    figure = recordings((DOCS / "real-recording.md").read_text(encoding="utf-8"))
    texts = [text.get_text().strip() for text in figure.axes[0].texts]
    assert {"16.6", "24.8", "29.0", "28.9", "27.8", "0.7"} <= set(texts)
