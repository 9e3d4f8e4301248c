"""How the pages are built: ``uv run sphinx-build docs docs/_build/html``; ``-t network`` links them to numpy too."""

import os
import sys
from pathlib import Path

import ubp

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
CACHE = HERE / "_build" / "cache"
os.environ["UBP_CACHE"] = str(CACHE)  # what the examples compute stays with the pages
os.environ.setdefault("OMP_NUM_THREADS", "1")  # examples run side by side

project = "ubp"
author = "The ubp developers"
copyright = "the ubp developers, Apache-2.0"
version = release = ubp.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "command_pages",
    "flowchart",
    "mathml",
    "pictures",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "**/*.ipynb"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(?!ubp\.).*"),  # of other packages, which are linked with a network only
    (
        "py:class",
        r"ubp\..*\.(Reading|Selection|DatasetFacts|Outlet|Sources|SignalsHeader|Region|Retry|Braindecode|Gaussian)",
    ),
    ("py:mod", r"ubp\..*"),  # modules have no page of their own
]
default_role = "code"
root_doc = "index"
suppress_warnings = ["config.cache"]
smartquotes = False

# Markdown
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# API reference
autosummary_generate = True
autosummary_imported_members = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "image_scrapers": ("matplotlib", "gallery.scrape"),
    "ignore_repr_types": r"matplotlib|function|None",
    "capture_repr": ("_repr_html_", "__repr__"),
    "within_subsection_order": "gallery.Order",
    "parallel": os.cpu_count() if "-j" not in sys.argv else 2,
    "min_reported_time": 0,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": "True",
    "abort_on_example_error": False,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("ubp",),
    "prefer_full_module": {r"ubp\."},
    "write_computation_times": False,
}

if "tags" in globals() and tags.has("network"):  # noqa: F821  (Sphinx defines it)
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "mne": ("https://mne.tools/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }

# Pages
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "ubp"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0064A0", "color-brand-content": "#0064A0"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
    "navigation_with_keys": True,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]


def name_other_pages(app, docname, source):
    """Let the pages that the index does not place join its how-to pages."""
    if docname == "index":
        pages = sorted(page.relative_to(HERE) for page in (*HERE.glob("*.md"), *HERE.glob("howto/*.md")))
        placed = {"index", *source[0].splitlines()}
        names = [page.with_suffix("").as_posix() for page in pages]
        source[0] = source[0].replace("other-pages\n", "".join(f"{name}\n" for name in names if name not in placed))


def setup(app):
    """Say what Sphinx is to call."""
    app.connect("source-read", name_other_pages)
