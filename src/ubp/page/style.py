"""How a page looks: over mne.Report's own style, for wide and narrow screens, in light and dark."""

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
.ubp details { margin-bottom: 0.6rem; }
.ubp .wide { overflow-x: auto; }
.ubp .wide td { white-space: nowrap; }
.ubp .wrapped td { white-space: normal; overflow-wrap: normal; min-width: 7rem; max-width: 22rem; }
.ubp .note { border-left: 4px solid #D55E00; padding: 0.3rem 0 0.3rem 0.8rem; }
.ubp .wide th { white-space: nowrap; }
#toc .active { color: #fff !important; background-color: #0a58ca !important; }
#top-bar .fs-3 { white-space: normal; overflow-wrap: anywhere; }
@media (max-width: 42rem) {
  #toc { display: none; }
  #content { width: 100% !important; margin-left: 0 !important; padding: 0 !important; }
  #top-bar .fs-3 { font-size: 1.05rem !important; }
  .ubp .picture { overflow-x: auto; }
  .ubp .picture img { width: 42rem; max-width: none; }
  .ubp table { display: block; overflow-x: auto; }
}
@media (prefers-color-scheme: dark) {
  html { color-scheme: dark; }
  body, #toc, .accordion-item, .accordion-body { background-color: #16181b !important; color: #e4e4e4; }
  .accordion-item { border-color: #3a3d42; }
  .accordion-button, #top-bar { background-color: #23262b !important; color: #e4e4e4 !important; }
  .accordion-button a, #top-bar .navbar-brand { color: #e4e4e4 !important; }
  .accordion-button::after { filter: invert(1); }
  #toc .nav-link { background-color: #16181b; color: #b9d2ff; border-color: #3a3d42; }
  .ubp figcaption { color: #b8b8b8; }
  .ubp th, .ubp td { border-bottom-color: #3a3d42; }
  .ubp figure img { border-radius: 4px; }
  .ubp a, footer a { color: #8db8ff; }
  footer { background-color: #23262b !important; color: #b8b8b8; }
}
"""

# mne.Report's header has none, and without it a phone draws the page as wide as a desk's screen.
JAVASCRIPT = """
(() => {
  const meta = document.createElement("meta");
  meta.name = "viewport";
  meta.content = "width=device-width, initial-scale=1";
  document.head.append(meta);
})();
"""
