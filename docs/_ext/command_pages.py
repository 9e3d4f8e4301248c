"""Writes the reference of the command line from the program itself: a page for each group of commands."""

import re
from pathlib import Path
from typing import Any

FOLDER = Path("generated", "command-line")


def pages() -> dict[str, str]:
    """Markdown of each page by its file name, in the order of the program's help."""
    from ubp.cli import app

    groups: dict[Any, list[Any]] = {}
    for name in app:
        if not name.startswith("-"):
            command = app[name]
            groups.setdefault(command.group[0], []).append(command)
    sections = sections_of(app.generate_docs("markdown", heading_level=1))
    found = {}
    for place, group in enumerate(sorted(groups, key=lambda group: group.sort_key), start=1):
        names = [command.name[0] for command in sorted(groups[group], key=lambda command: command.sort_key)]
        text = "\n\n".join(sections[f"ubp {name}"] for name in names)
        text = re.sub(r" \*\[default: \(\)\]\*", "", text)
        text = re.sub(r"\[default: \(([^()]*?),?\)\]", lambda match: f"[default: {match[1].replace(',', '')}]", text)
        found[f"{place}-{group.name.lower()}.md"] = f"# {group.name}: {', '.join(names)}\n\n{text}\n"
    return found


def sections_of(text: str) -> dict[str, str]:
    """Sections of the second level of a Markdown text, each with its heading, by the heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    return {title: f"## {title}\n\n{body.strip()}" for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def write(app: Any) -> None:
    """Write the pages that changed, and remove those that are no more."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for old in folder.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
