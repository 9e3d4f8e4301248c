"""The page in a Chromium: by pointer, by keyboard alone, on a narrow screen, in the dark, with good and bad uploads."""

import re
import shutil
from io import BytesIO

import mne
import numpy as np
import pytest
from PIL import Image

from bad_uploads import HTML, bad_uploads, epochs_of
from explored import MOST_BYTES, N_TIMES, left_behind, served
from ubp.data.to_epochs import to_epochs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to show the page"),
]


@pytest.fixture(scope="module")
def session(explored):
    return explored.session()


@pytest.fixture(scope="module")
def base(session):
    session.warm()
    with served(session) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, base):
    """Opens the page as asked; afterwards nothing may have been said in the console, or asked of another host."""
    said, asked, contexts = [], [], []

    def visit(width=1280, height=900, scheme="light", fragment=""):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{base}/{fragment}")
        ready(page)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for text in said if not allowed(text)] == []
    assert [url for url in asked if not url.startswith((base, "data:"))] == []


def allowed(text):
    """What the browser itself says of an answer that refuses an upload."""
    return "Failed to load resource" in text and re.search(r"status of 4(00|13)", text)


def ready(page):
    page.wait_for_selector("html[data-state=ready]")


def headline(page):
    return page.locator("#headline").inner_text()


def names(page, where="#ranks .rank .caption"):
    return [name.replace("\u200b", "") for name in page.locator(where).all_inner_texts()]


def test_the_page_shows_what_the_session_tells(opened, session):
    page = opened()
    trial = session.trial("sub-01", "all", 0)
    assert page.locator("h1").inner_text() == "ubp for sub-01"
    assert page.locator("#seen-name").inner_text() == trial["name"]
    assert names(page)[:10] == [one["name"] for one in trial["best"]]
    assert f"of {trial['gallery_size']}" in headline(page)
    assert page.locator("#ranks .is-seen").count() == 1
    size = trial["sets"]["90"]["size"]
    assert f"The 90 % set holds {size} of 12" in page.locator("#set-summary").inner_text()
    assert page.locator("#trials input").count() == 12
    assert session.source("sub-01", "all")["protocol"] in page.locator("#protocol").inner_text()
    assert "inductive" in page.locator("#ranking-protocol").inner_text()
    assert page.locator("#scores .score").count() == 2
    assert "chance 8.3 %" in page.locator("#scores").inner_text()
    assert page.locator("#similar .tile").count() == 8
    for canvas in ("traces", "head", "plane"):
        assert painted(page, canvas) > 500
    assert broken_images(page) == 0


def painted(page, canvas):
    """Pixels of a canvas that are not empty."""
    return page.evaluate(
        """(name) => { const one = document.getElementById(name);
            const data = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
            let found = 0; for (let i = 3; i < data.length; i += 4) found += data[i] > 0; return found; }""",
        canvas,
    )


def broken_images(page):
    return page.evaluate(
        "() => [...document.images].filter((one) => one.complete && one.src && !one.naturalWidth).length"
    )


def overflow(page):
    return page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_a_trial_repetitions_and_certainty_are_chosen(opened, session):
    page = opened()
    page.locator("#trials label").nth(4).click()
    page.wait_for_selector("html[data-query='4'][data-state=ready]")
    assert names(page)[:10] == [one["name"] for one in session.trial("sub-01", "all", 4)["best"]]
    page.locator("#repetitions label", has_text=re.compile(r"^1$")).click()
    ready(page)
    assert names(page)[:10] == [one["name"] for one in session.trial("sub-01", "1", 4)["best"]]
    assert "single trial" in page.locator("#signal-about").inner_text()
    assert "single trials" in page.locator("#ranking-protocol").inner_text()
    page.locator("#coverages label", has_text="80 %").click()
    size = session.trial("sub-01", "1", 4)["sets"]["80"]["size"]
    says = f"holds {size} of" if size else "is empty"
    assert f"The 80 % set {says}" in page.locator("#set-summary").inner_text()
    inside = [one["sets"] for one in session.trial("sub-01", "1", 4)["best"]]
    assert page.locator("#ranks .inside").count() == sum("80" in sets for sets in inside)
    assert page.locator("#ranks .inside").count() == page.locator("#ranks .set-mark").count()
    page.locator("#set-summary").click()
    assert page.locator("#set-images .tile").count() == size
    page.locator("#source").select_option("sub-02")
    ready(page)
    assert "never seen sub-02" in page.locator("#notes").inner_text()
    assert page.url.endswith("#sub-02/all/0")
    page.locator("#sort").select_option("worst")
    ranks = [float(text) for text in page.locator("#trials b").all_inner_texts()]
    assert ranks == sorted(ranks, reverse=True)
    page.locator("#similar .tile").first.click()
    ready(page)
    assert page.locator("#trials input:checked").count() == 1
    again = opened(fragment="#sub-02/2/7")
    assert again.locator("#trials input:checked").get_attribute("value") == "7"
    assert again.locator("#repetitions input:checked").get_attribute("value") == "2"
    for fragment in ("#../../etc/all/0", "#%E0%A4%A/x/y", "#sub-01/each/99", "#<b>/1/1"):
        strange = opened(fragment=fragment)
        assert strange.locator("#trials input:checked").count() == 1
        assert strange.locator("#failure").is_hidden()


def test_the_blur_slider_shows_the_blurred_image(opened, session):
    page = opened()
    slider = page.locator("#blur")
    assert page.locator("#blur-value").inner_text() == "crisp"
    slider.fill("6")
    page.wait_for_selector("#seen[data-width='13']")
    assert "/0/13" in page.locator("#seen").get_attribute("src")
    assert "level of the gallery" in page.locator("#blur-about").inner_text()
    shown = page.evaluate(
        """() => { const one = document.getElementById("seen"); const canvas = document.createElement("canvas");
            canvas.width = one.naturalWidth; canvas.height = one.naturalHeight;
            const context = canvas.getContext("2d"); context.drawImage(one, 0, 0);
            return [canvas.width, [...context.getImageData(0, 0, canvas.width, canvas.height).data]]; }"""
    )
    expected = np.asarray(Image.open(BytesIO(session.pictures.blurred(0, 13))).convert("RGBA"))
    assert shown[0] == 96
    assert np.abs(np.array(shown[1]).reshape(96, 96, 4) - expected.astype(int)).max() <= 1
    for value in range(0, 20):  # dragged: the last one wins
        slider.fill(str(value))
    page.wait_for_selector("#seen[data-width='39']")
    page.locator("#trials label").nth(2).click()
    page.wait_for_selector("html[data-query='2'][data-state=ready]")
    assert "/2/39" in page.locator("#seen").get_attribute("src")


def test_a_time_and_a_point_of_the_map_are_chosen(opened):
    page = opened()
    before = page.locator("#time-value").inner_text()
    box = page.locator("#traces").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50)
    after = page.locator("#time-value").inner_text()
    assert before.endswith(" ms")
    assert after != before
    assert "at " + after in page.locator("#head").get_attribute("aria-label")
    plane = page.locator("#plane").bounding_box()
    page.locator("#plane").scroll_into_view_if_needed()
    plane = page.locator("#plane").bounding_box()
    found = False
    for x in range(10, int(plane["width"]), 9):
        page.mouse.move(plane["x"] + x, plane["y"] + plane["height"] / 2)
        if page.locator("#tip").is_visible() and "signal" in page.locator("#tip-name").inner_text():
            page.mouse.click(plane["x"] + x, plane["y"] + plane["height"] / 2)
            found = True
            break
    assert found
    ready(page)
    assert page.locator("#trials input:checked").count() == 1


def tab_to(page, selector, most=60):
    for _ in range(most):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by the keyboard")


def test_everything_is_done_by_keyboard_alone(opened, session, tmp_path):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    tab_to(page, "#source")
    page.keyboard.press("ArrowDown")
    ready(page)
    assert page.locator("#source").input_value() == "sub-02"
    page.keyboard.press("ArrowUp")
    ready(page)
    tab_to(page, "#repetitions input")
    page.keyboard.press("ArrowLeft")
    ready(page)
    assert page.locator("#repetitions input:checked").get_attribute("value") == "2"
    tab_to(page, "#trials input")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("html[data-query='3'][data-state=ready]")
    assert names(page)[:10] == [one["name"] for one in session.trial("sub-01", "2", 3)["best"]]
    tab_to(page, "#blur")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("#seen[data-width='7']")
    tab_to(page, "#time")
    before = page.locator("#time-value").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#time-value").inner_text() != before
    tab_to(page, "#coverages input")
    page.keyboard.press("ArrowRight")
    assert "The 95 % set" in page.locator("#set-summary").inner_text()
    tab_to(page, "#set-summary")
    page.keyboard.press("Enter")
    assert page.locator("#set").get_attribute("open") is not None
    tab_to(page, "#similar .tile")
    page.keyboard.press("Enter")
    ready(page)
    assert page.locator("#trials input:checked").get_attribute("value") != "3"
    page.locator("body").press("Home")
    page.evaluate("() => document.getElementById('source').focus()")
    tab_to(page, "#open-upload")
    page.keyboard.press("Enter")
    assert page.locator("#upload").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#upload").is_hidden()
    assert page.evaluate("() => document.activeElement.id") == "open-upload"


def test_every_control_has_a_name(opened):
    page = opened()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary")].filter((one) => {
            const labels = one.labels ? [...one.labels].map((label) => label.textContent).join("") : "";
            return !(labels + (one.getAttribute("aria-label") || "") + one.textContent).trim(); })
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert page.evaluate("() => document.documentElement.lang") == "en"
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(opened, scheme):
    page = opened(390, 844, scheme)
    assert overflow(page) == 0
    page.locator("#trials label").nth(2).click()
    page.wait_for_selector("html[data-query='2'][data-state=ready]")
    assert broken_images(page) == 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll("main .card, header, nav, select, button, .segments")].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.width && (box.left < -1 || box.right > innerWidth + 1); })
            .map((one) => one.id || one.className)"""
    )
    assert cut == []
    small = page.evaluate(
        """() => [...document.querySelectorAll("header select, header button, .segments span")]
            .map((one) => one.getBoundingClientRect()).filter((box) => box.height && box.height < 30).length"""
    )
    assert small == 0
    page.locator("#open-upload").click()
    box = page.locator("#upload").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert overflow(page) == 0
    page.set_viewport_size({"width": 320, "height": 600})
    assert overflow(page) == 0


CONTRAST = """() => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const over = (layers) => { context.clearRect(0, 0, 1, 1);
    for (const layer of layers) { context.fillStyle = layer; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const text = [...one.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text.length || !one.checkVisibility({ visibilityProperty: true })) continue;
    if (one.closest(".skip, .visually-hidden, noscript")) continue;
    if (one.disabled || one.tagName === "OPTION" || one.tagName === "OPTGROUP") continue;
    const layers = [];
    for (let up = one; up; up = up.parentElement) layers.unshift(getComputedStyle(up).backgroundColor);
    const [back, front] = [over(["white", ...layers]), over(["white", ...layers, getComputedStyle(one).color])];
    const [a, b] = [light(back), light(front)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([one.className || one.tagName, text[0].textContent.trim().slice(0, 20), ratio]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(opened, scheme):
    page = opened(scheme=scheme)
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate(CONTRAST) == []
    page.locator("#open-upload").click()
    page.locator("#upload-send").click()
    assert page.evaluate(CONTRAST) == []


def send(page, path):
    page.locator("#open-upload").click()
    page.locator("#upload-file").set_input_files(path)
    page.locator("#upload-send").click()


def test_a_good_recording_is_browsed_after_its_upload(opened, explored, tmp_path):
    epochs = to_epochs(explored.study.recording("sub-01"))[-6:]
    path = tmp_path / "mine-epo.fif"
    epochs.save(path, verbose="error")
    page = opened()
    send(page, path)
    page.wait_for_selector("#upload", state="hidden")
    ready(page)
    assert page.locator("#source option:checked").inner_text() == "mine-epo.fif"
    assert page.locator("#trials input").count() == 6
    assert "your recording mine-epo.fif" in page.locator("#ranking-protocol").inner_text()
    assert "Nobody checked" in page.locator("#notes").inner_text()
    array = tmp_path / "trials.npy"
    np.save(array, np.random.default_rng(0).normal(size=(3, 6, N_TIMES)))
    send(page, array)
    page.wait_for_selector("#upload", state="hidden")
    ready(page)
    assert page.locator("#trials .blank").all_inner_texts() == ["trial 0", "trial 1", "trial 2"]
    assert "does not say what was seen" in page.locator("#seen-empty").inner_text()
    assert "no accuracy" in page.locator("#scores").inner_text()
    assert "not known here" in headline(page)
    page.locator("#source").select_option("sub-01")
    ready(page)
    assert "comes" in headline(page)
    assert left_behind() == []


SHOWN = ("text", "other channels", "markup in name", "pickle", "huge shape", "huge header", "archive", "loop", "cut")


def test_bad_files_are_told_in_the_dialog_and_change_nothing(opened, tmp_path):
    bad = bad_uploads(tmp_path, tmp_path / "none-epo.fif")
    page = opened()
    before = names(page)
    options = page.locator("#source option").count()
    page.locator("#open-upload").click()
    for case in SHOWN:
        one = bad[case]
        page.locator("#upload-file").set_input_files(
            {"name": one.name, "mimeType": "application/octet-stream", "buffer": one.content}
        )
        page.locator("#upload-send").click()
        page.wait_for_selector("#upload-send:not([disabled])")
        page.wait_for_selector("#upload-problem:visible")
        assert one.says in page.locator("#upload-problem").inner_text(), case
        assert page.locator("#upload").is_visible()
        assert overflow(page) == 0
    large = {"name": "large.npy", "mimeType": "application/octet-stream", "buffer": bytes(MOST_BYTES + 1)}
    page.locator("#upload-file").set_input_files(large)
    page.locator("#upload-send").click()
    assert "has more than" in page.locator("#upload-problem").inner_text()
    page.locator("#upload-cancel").click()
    assert page.locator("#source option").count() == options
    page.locator("#trials label").nth(1).click()
    page.wait_for_selector("html[data-query='1'][data-state=ready]")
    page.locator("#trials label").nth(0).click()
    page.wait_for_selector("html[data-query='0'][data-state=ready]")
    assert names(page) == before
    assert not (tmp_path / "owned").exists()
    assert left_behind() == []


def test_text_of_a_recording_is_never_markup(opened, tmp_path):
    """A name and events that would be elements, in a recording that is taken."""
    epochs = epochs_of(n=3)
    markup = "<img src=x onerror=document.title=1>"
    made = mne.EpochsArray(
        epochs.get_data(copy=True),
        epochs.info,
        np.array([[0, 0, 1], [1, 0, 2], [2, 0, 1]]),
        event_id={markup: 1, "<script>document.title=2</script>": 2},
        verbose="error",
    )
    path = tmp_path / "x-epo.fif"
    made.save(path, verbose="error")
    page = opened()
    title = page.title()
    page.locator("#open-upload").click()
    name = f"{HTML}-epo.fif"
    page.locator("#upload-file").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": path.read_bytes()}
    )
    page.locator("#upload-send").click()
    page.wait_for_selector("#upload", state="hidden")
    ready(page)
    assert page.title() == title
    assert page.locator("#source option:checked").inner_text() == name
    assert markup in page.locator("#trials .blank").first.inner_text()
    assert page.locator("main img[src=x], nav img[src=x], main script, nav script").count() == 0


def test_a_server_that_is_gone_is_told(browser, explored):
    session = explored.session()
    with served(session) as address:
        page = browser.new_context().new_page()
        page.goto(address)
        ready(page)
    page.locator("#trials label").nth(3).click()
    page.wait_for_selector("#failure:visible")
    assert "does not answer" in page.locator("#failure").inner_text()
    page.context.close()
