"""How long the page of `ubp explore` takes for each kind of click, as its reader waits.

A Chromium opens the page of a model that is given, served as the command serves it, and does what a reader does, again
and again. Each time is from the input event until what it asks for is on the page and painted, measured in the page
itself. As the command does while the page opens, queries are answered ahead: those of the model's own subject at every
number of repetitions, and those of other subjects; --cold leaves that out. First some requests are timed without a
browser.

Run: python benchmarks/explore.py MODEL STUDY [--store FOLDER] [--clicks 60] [--encoder SPEC] [--cold]
"""

import argparse
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from ubp.commands.exploring import SERVING, listen
from ubp.config import Common
from ubp.explore.server import application
from ubp.explore.session import Session

LIMIT = 300.0
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
CLOCK = """
for (const kind of ["pointerdown", "keydown", "input", "change"])
  addEventListener(kind, () => { window.pressed = performance.now(); }, true);
addEventListener("DOMContentLoaded", () => new MutationObserver(() => { window.shown = performance.now(); })
  .observe(document.getElementById("seen"), { attributeFilter: ["data-width"] }));
addEventListener("DOMContentLoaded", () => new MutationObserver(() => { window.answered = performance.now(); })
  .observe(document.getElementById("headline"), { childList: true }));
"""
READY = """(before) => new Promise((done) => {
  const root = document.documentElement;
  const look = () => before === root.dataset.turn || root.dataset.state !== "ready"
    ? setTimeout(look, 1) : requestAnimationFrame(
      () => setTimeout(() => done([window.answered - window.pressed, performance.now() - window.pressed]), 0));
  look(); })"""


@contextmanager
def served(session: Session) -> Iterator[str]:
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application(session), **SERVING))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def clicks(page: Any, act: Callable[[int], None], count: int) -> list[tuple[float, float]]:
    """Milliseconds from each input event to the new ranking, and to a painted page on which all panels are new."""
    found = []
    for number in range(count):
        before = page.evaluate("document.documentElement.dataset.turn")
        act(number)
        found.append(tuple(page.evaluate(READY, before)))
    return found


def report(name: str, found: list[float]) -> bool:
    middle, late = np.median(found), np.quantile(found, 0.95)
    print(f"{name:46s} median {middle:6.1f} ms, 95th percentile {late:6.1f} ms, {len(found)} times", flush=True)
    return bool(middle < LIMIT)


def report_both(name: str, found: list[tuple[float, float]]) -> bool:
    answered, complete = zip(*found, strict=True)
    good = report(f"{name}, ranking shown", list(answered))
    report(f"{name}, all panels", list(complete))
    return good


def requests_alone(session: Session, count: int) -> None:
    """The same without a browser: what the session takes when nothing was asked before."""
    name, source = next(iter(session.sources.items()))
    way = source.repetitions[-1]
    n = len(session.source(name, way)["queries"])
    kinds: dict[str, Callable[[int], object]] = {
        "trial": lambda i: session.trial(name, way, i),
        "confusions": lambda i: session.confusions(name, way, i),
        "blurred image": lambda i: session.pictures.blurred(i, 2 * (i % 12) + 3),
        "thumbnail": lambda i: session.pictures.thumbnail(i),
    }
    for kind, act in kinds.items():
        found = []
        for number in range(min(count, n)):
            start = time.perf_counter()
            act(number)
            found.append(1000 * (time.perf_counter() - start))
        report(f"without a browser: {kind}", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--encoder")
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--cold", action="store_true", help="answer nothing ahead")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    start = time.perf_counter()
    common = Common(store=options.store, quiet=True)
    session = Session.open(options.model, options.study, options.encoder, common)
    print(f"opened in {time.perf_counter() - start:.1f} s")
    requests_alone(session, options.clicks)
    session = Session.open(options.model, options.study, options.encoder, common)
    start = time.perf_counter()
    if not options.cold:
        session.warm()
        print(f"answered ahead in {time.perf_counter() - start:.1f} s")
    good = []
    with served(session) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(CLOCK)
        start = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("html[data-state=ready]")
        print(f"{'page loaded':42s} {1000 * (time.perf_counter() - start):6.1f} ms")
        n = page.locator("#trials input").count()
        page.locator("#trials input").first.focus()
        good.append(
            report_both(
                "next trial", clicks(page, lambda _: page.keyboard.press("ArrowRight"), min(n - 1, options.clicks))
            )
        )
        good.append(
            report_both("trial seen before", clicks(page, lambda _: page.keyboard.press("ArrowLeft"), options.clicks))
        )
        ways = page.locator("#repetitions label")
        if ways.count() > 1:
            turns = clicks(page, lambda i: ways.nth(i % ways.count()).click(), options.clicks // 2)
            good.append(report_both("other number of repetitions", turns))
        subjects = [one.get_attribute("value") for one in page.locator("#source option:not([disabled])").all()]
        if len(subjects) > 1:
            chosen = clicks(page, lambda i: page.locator("#source").select_option(subjects[i + 1]), len(subjects) - 1)
            good.append(report_both("other subject", chosen))
        good.append(report("blur slider", [blur(page, number) for number in range(options.clicks)]))
        good.append(report("certainty of the set", [certainty(page, number) for number in range(options.clicks)]))
        if page.locator("#time").is_visible():
            good.append(report("time slider", [moment(page, number) for number in range(options.clicks)]))
        browser.close()
    print(f"every median is below {LIMIT:g} ms: {all(good)}")
    raise SystemExit(0 if all(good) else 1)


PAINTED = """() => new Promise((done) => requestAnimationFrame(
  () => setTimeout(() => done(performance.now() - window.pressed), 0)))"""


def blur(page: Any, number: int) -> float:
    """From the move of the slider to the decoded image in its place."""
    value = 1 + number * 5 % int(page.locator("#blur").get_attribute("max"))
    page.locator("#blur").fill(str(value))
    page.wait_for_selector(f"#seen[data-width='{2 * value + 1}']")
    return float(page.evaluate("() => window.shown - window.pressed"))


def certainty(page: Any, number: int) -> float:
    page.locator("#coverages label").nth(number % page.locator("#coverages label").count()).click()
    return float(page.evaluate(PAINTED))


def moment(page: Any, number: int) -> float:
    page.locator("#time").fill(str(number * 3 % int(page.locator("#time").get_attribute("max"))))
    return float(page.evaluate(PAINTED))


if __name__ == "__main__":
    main()
