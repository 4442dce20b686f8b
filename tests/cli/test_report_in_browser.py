"""The report in a real browser: it sorts, filters, asks nobody for anything, and can be read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, need_browser
from made_up_results import HOSTILE, MODELS, write_results

from hpcjobs.cli import main

pytestmark = pytest.mark.real

AVERAGE = "#leaderboard thead th:nth-child(3)"
COLUMN = """
  return [...document.querySelectorAll(arguments[0] + " tbody tr")].filter(row => !row.hidden)
    .map(row => row.cells[arguments[1]].textContent.trim())
"""
CONTRASTS = """
  const light = c => {
    const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = c.map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = text => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const found = {};
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.closest(".vh, script, style, title, desc")) continue;
    const style = getComputedStyle(element);
    const text = rgb(element instanceof SVGElement ? style.fill : style.color);
    const grounds = [];
    for (let e = element; e; e = e.parentElement) {
      const below = getComputedStyle(e);
      if (below.backgroundImage !== "none") grounds.push(rgb(
        getComputedStyle(document.documentElement).getPropertyValue("--bar")));
      const colour = rgb(below.backgroundColor);
      if (colour[3] === 255) { grounds.push(colour); break; }
    }
    for (const ground of grounds) {
      const [a, b] = [light(text.slice(0, 3)), light(ground.slice(0, 3))].sort((x, y) => y - x);
      const ratio = (a + .05) / (b + .05);
      const key = `${element.tagName}.${element.getAttribute("class") || ""}`;
      if (!(found[key] <= ratio)) found[key] = ratio;
    }
  }
  return found;
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    need_browser()
    with browser(tmp_path_factory.mktemp("browser")) as found:
        found.size(1400, 900)
        yield found


def written(root: Path, *words: str) -> Path:
    path = root / "report.html"
    with pytest.raises(SystemExit) as ended:
        main(["-w", str(root), "report", "--output", str(path), *words])
    assert not ended.value.code
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of twelve models and all metrics; some are missing, suspect, failed and unfinished."""
    root = tmp_path_factory.mktemp("report")
    write_results(
        root,
        **{
            MODELS[3]: {"suspect": {"jhumaneval_pass@1": "42 of 1640 answers were cut off"}},
            MODELS[5]: {"complete": False, "failed": {"ja_mtbench": "FAILED TIMEOUT"}},
            MODELS[6]: {"complete": False, "unfinished": {"en_math_500": "RUNNING"}},
        },
    )
    return written(root)


@pytest.fixture
def page(window: Browser, report: Path) -> Browser:
    window.size(1400, 900)
    window.scheme("light")
    window.open(report)
    return window


def numbers(page: Browser, column: int) -> list[float | None]:
    texts = page.run(COLUMN, "#leaderboard", column)
    return [None if text == "–" else float(text.split()[0]) for text in texts]


def in_order(values: list[float | None], *, falling: bool) -> bool:
    known = [value for value in values if value is not None]
    return values == sorted(known, reverse=falling) + [None] * (len(values) - len(known))


def test_a_click_sorts_and_another_turns_it_round(page: Browser) -> None:
    averages = numbers(page, 2)
    assert in_order(averages, falling=True)
    assert None in averages
    assert page.run(f"return document.querySelector('{AVERAGE}').ariaSort") == "descending"
    page.click(f"{AVERAGE} button")
    assert in_order(numbers(page, 2), falling=False)  # the missing stay last
    assert page.run(f"return document.querySelector('{AVERAGE}').ariaSort") == "ascending"
    page.click("#leaderboard thead th:nth-child(6) button")
    assert in_order(numbers(page, 5), falling=True)
    assert not in_order(averages, falling=False)
    sorted_columns = "return document.querySelectorAll('#leaderboard [aria-sort]').length"
    assert page.run(sorted_columns) == 1
    told = page.run("return document.getElementById('told').textContent")
    assert told == "sorted by Japanese code, descending"


def test_texts_sort_too_and_rows_stay_whole(page: Browser) -> None:
    rows = "return [...document.querySelectorAll('#leaderboard tbody tr')].map(r => r.textContent)"
    before = page.run(rows)
    page.click("#leaderboard thead th:nth-child(1) button")
    names = page.run(COLUMN, "#leaderboard", 0)
    assert names[0] == "Gemma-2-Llama-Swallow-27b-it-v0.1"
    assert names.index("gpt-oss-20b") < names.index("gpt-oss-120b")
    assert page.run(rows) != before
    assert sorted(page.run(rows)) == sorted(before)


def test_a_key_sorts_as_a_click_does(page: Browser) -> None:
    page.run(f"document.querySelector('{AVERAGE} button').focus()")
    page.type(f"{AVERAGE} button", "\ue007")  # Enter
    assert in_order(numbers(page, 2), falling=False)


def test_metrics_are_filtered_by_name_and_category(page: Browser) -> None:
    assert len(page.run(COLUMN, "#scores", 0)) == 107
    page.type(".filter input", "Humaneval")
    assert page.run(COLUMN, "#scores", 0) == [
        "jhumaneval_pass@1", "jhumaneval_pass@10", "humaneval_pass@1", "humaneval_pass@10",
        "humanevalplus_pass@1", "humanevalplus_pass@10",
    ]  # fmt: skip


def test_a_link_opens_the_evaluation(page: Browser) -> None:
    page.click("#leaderboard tbody tr:nth-child(2) a")
    opened = "return [...document.querySelectorAll('details[open]')].map(d => d.id)"
    target = page.run("return location.hash.slice(1)")
    assert page.run(opened) == [target]


def test_nothing_is_asked_for_and_nothing_complained_about(window: Browser, report: Path) -> None:
    window.requests()
    window.complaints()
    window.open(report)
    window.click(f"{AVERAGE} button")
    assert window.requests() == [report.as_uri()]
    assert window.complaints() == []


def test_the_page_forbids_what_is_not_its_own(page: Browser) -> None:
    page.run("""
      const script = document.createElement("script"); script.textContent = "window.ran = true";
      document.body.append(script);
      const image = document.createElement("img"); image.src = "http://example.com/x.png";
      document.body.append(image);
    """)
    assert page.run("return window.ran === undefined")
    assert any("Content Security Policy" in text for text in page.complaints())


def test_hostile_names_do_nothing(window: Browser, tmp_path: Path) -> None:
    paths = write_results(tmp_path, HOSTILE, 20)
    document = json.loads(paths[0].read_text())
    document["results"]["<b onmouseover=alert(1)>x</b>"] = 0.5
    paths[0].write_text(json.dumps(document))
    path = written(tmp_path, "--title", HOSTILE[0])
    window.complaints()
    window.requests()
    window.open(path)
    assert window.run("return document.title") == HOSTILE[0]
    assert window.run("return document.querySelectorAll('img, b, body script').length") == 1
    assert window.complaints() == []
    assert window.requests() == [path.as_uri()]


@pytest.mark.parametrize("width", [320, 400, 768, 1400, 2400])
def test_only_the_tables_are_wider_than_the_window(page: Browser, width: int) -> None:
    page.size(width, 800)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    scrolls = page.run(
        "return [...document.querySelectorAll('.scroll')].every("
        "one => one.tabIndex === 0 && one.getAttribute('role') === 'region')"
    )
    assert scrolls


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_in_light_and_dark(page: Browser, scheme: str) -> None:
    page.scheme(scheme)
    found = page.run(CONTRASTS)
    assert len(found) > 15
    assert {key: ratio for key, ratio in found.items() if ratio < 4.5} == {}


def test_light_and_dark_look_different_and_every_table_is_named(
    page: Browser, tmp_path: Path
) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        seen[scheme] = page.screenshot()
        ground = page.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) > 384) == (scheme == "light")
        directory = Path(os.environ.get("HPCJOBS_SCREENSHOTS", tmp_path))
        (directory / f"report-{scheme}.png").write_bytes(seen[scheme])
    assert seen["light"] != seen["dark"]
    assert all(len(image) > 20_000 for image in seen.values())
    assert page.run(
        "return [...document.querySelectorAll('table')].every(one => one.caption.textContent)"
    )
    assert page.run(
        "return [...document.querySelectorAll('th')].every(one => one.scope || one.colSpan > 1)"
    )
