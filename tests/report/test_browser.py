"""The report in a real browser: nothing on its console, the slider moves, values show, nothing overflows."""

from __future__ import annotations

import json
import re
import threading

import pytest

from ganzoo_core import report
from ganzoo_core.report import live


def shown(page, figure="samples"):
    return page.locator(f"[data-slides={figure}] img").get_attribute("src")


def test_the_slider_moves_the_picture_by_keyboard_and_by_mouse(browser, runs):
    folder = runs(samples=5)
    page = browser.open(report.write(folder))
    slider, said = page.locator("[data-slides=samples] input"), page.locator("[data-slides=samples] output")
    frames = json.loads(page.locator("#data").text_content())["slides"]["samples"]["frames"]
    assert len({*frames}) == 5
    last = shown(page)
    assert said.text_content() == "1,000 images"
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert (shown(page), said.text_content()) == (frames[3], "800 images")
    page.keyboard.press("Home")
    assert (shown(page), said.text_content()) == (frames[0], "200 images")
    assert slider.get_attribute("aria-valuetext") == "200 images"
    assert page.locator("[data-slides=samples] img").get_attribute("alt").endswith(", 200 images")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert shown(page) == frames[2]
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 5, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    assert shown(page) == last


def test_play_goes_through_the_pictures_and_stops_at_the_last(browser, runs):
    page = browser.open(report.write(runs(samples=3)))
    button = page.locator("[data-slides=samples] .play")
    button.click()
    assert page.locator("[data-slides=samples] output").text_content() == "200 images"
    button.get_by_text("Play", exact=True).wait_for()
    assert page.locator("[data-slides=samples] output").text_content() == "600 images"


def test_a_chart_shows_its_values_to_the_mouse_and_to_the_keyboard(browser, runs, stats_line):
    lines = [stats_line(100 * place, **{"generator/adversarial": 0.5 * place}) for place in range(1, 11)]
    page = browser.open(report.write(runs(lines=lines)))
    plot = page.locator("[data-chart=losses] .plot > svg")
    tip = page.locator("[data-chart=losses] .tip")
    assert tip.is_hidden()
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 15, box["y"] + 100)
    assert tip.inner_text().split("\n") == ["1,000 images", "D adversarial", "1.001", "G adversarial", "5"]
    page.mouse.move(box["x"] + box["width"] * (52 + (430 - 52) * 0.3) / 440, box["y"] + 100)
    assert tip.inner_text().split("\n") == ["300 images", "D adversarial", "1.003", "G adversarial", "1.5"]
    page.mouse.move(5, 5)
    assert tip.is_hidden()

    plot.focus()
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text().startswith("1,000 images")
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text().startswith("900 images")
    page.keyboard.press("Home")
    assert tip.inner_text().startswith("100 images")
    told = page.locator("[data-chart=losses] [aria-live]").text_content()
    assert re.search(r"(?<![\d,])100 images", told)
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert re.search(r"G adversarial from 0\.5 to 5(?!\.?\d)", plot.get_attribute("aria-label"))


def test_a_curve_can_be_taken_away_and_the_axis_follows(browser, runs, stats_line):
    lines = [stats_line(100 * place, **{"generator/adversarial": 4000.0 + place}) for place in range(1, 11)]
    page = browser.open(report.write(runs(lines=lines)))
    chart = page.locator("[data-chart=losses]")
    curves, ticks = chart.locator("path.strong").filter(visible=True), chart.locator(".axis text").filter(visible=True)
    assert curves.count() == 2
    assert "4000" in ticks.all_text_contents()
    before = curves.first.bounding_box()["height"]
    button = chart.get_by_role("button", name="G adversarial")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert curves.count() == 1
    assert "4000" not in ticks.all_text_contents()
    assert curves.first.bounding_box()["height"] > before + 50  # from 1.001 to 1.01 in all of the height
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert curves.count() == 2
    assert "4000" in ticks.all_text_contents()


def test_charts_are_drawn_without_a_script(browser, runs):
    page = browser.open(report.write(runs()), script=False)
    chart = page.locator("[data-chart=losses]")
    assert chart.locator("path.strong").count() == 2
    assert "D adversarial" in chart.locator("svg text").filter(visible=True).all_text_contents()


@pytest.mark.parametrize("width", [1400, 380, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_all_words_can_be_read(browser, runs, stats_line, width, scheme):
    scores = [{"images": 100 * n, "scores": {"fid": 9.0 / n, "a-long-name-of-a-score": 1e-5 * n}} for n in range(1, 9)]
    lines = [stats_line(1000 * n, resolution=4 * 2 ** (n // 20), fade=n % 20 / 20) for n in range(1, 60)]
    folder = runs(lines=lines, scores=scores, settings={"model.name": ("x" * 300, "y" * 80)})
    page = browser.open(report.write(folder), width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Words in a chart stay inside of it, and those of one axis do not lie on each other.
    overlaps = page.evaluate("""() => [...document.querySelectorAll('.plot > svg')].flatMap((svg) => {
      const whole = svg.getBoundingClientRect();
      const shown = [...svg.querySelectorAll('text')].filter((node) => node.getClientRects().length);
      const words = shown.map((node) => [node.textContent, node.getBoundingClientRect()]);
      const out = words.filter(([, box]) => box.left < whole.left - 1 || box.right > whole.right + 1);
      const on = words.filter(([, a], place) => words.slice(place + 1).some(([, b]) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3));
      return [...out, ...on].map(([word]) => word);
    })""")
    assert overlaps == []
    # WCAG's contrast of 4.5 for words.
    contrast = page.evaluate("""() => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255).map((part) =>
          part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return Math.min(...['body', '.soft', 'nav a', '.state', 'svg text'].map((where) => {
        const style = getComputedStyle(document.querySelector(where));
        const ink = light(where === 'svg text' ? style.fill : style.color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      }));
    }""")
    assert contrast >= 4.5


def test_everything_that_can_be_moved_can_be_reached_and_has_a_name(browser, runs):
    page = browser.open(report.write(runs()))
    unnamed = page.evaluate("""() => [...document.querySelectorAll('img, input, button, svg[tabindex]')]
      .filter((node) => !(node.alt || node.getAttribute('aria-label') || node.textContent.trim()))
      .map((node) => node.outerHTML.slice(0, 80))""")
    assert unnamed == []
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
    reached = {name.split("[")[0] for name in reached}
    assert {"A.skip", "BUTTON.play", "INPUT.", "SUMMARY.", "BUTTON.copy"} <= reached


def test_names_that_are_markup_stay_names(browser, runs, stats_line, hostile):
    lines = [stats_line(100 * n, **{f"discriminator/{hostile}": 1.0 * n, hostile: 1.0 * n}) for n in range(1, 4)]
    scores = [{"images": n, "scores": {hostile: n}, hostile: {hostile: hostile},
               "classes": {hostile: {hostile: 0.5}}, "better": {hostile: hostile}} for n in (1, 2)]  # fmt: skip
    settings = {"use.model": (hostile, "MODEL"), "use.loss": (hostile, hostile), "use.data": (hostile, "--data")}
    facts = {"warnings": [hostile], "parts": {hostile: hostile}}
    folder = runs(lines=lines, scores=scores, settings=settings, facts=facts)
    page = browser.open(report.write(folder))
    assert page.title() == f"{hostile} on {hostile}"
    page.locator(f"[data-chart] [role=button]:has-text({json.dumps(hostile)})").first.click()
    page.locator("[data-chart=losses] .plot > svg").focus()
    page.keyboard.press("ArrowLeft")
    assert hostile not in page.content().replace("&lt;", "")
    assert page.locator("img[src=x]").count() == 0


def test_a_run_with_nothing_in_it_has_a_page_of_sentences(browser, runs):
    folder = runs(lines=[], samples=0)
    (folder / "samples/real.png").unlink()
    page = browser.open(report.write(folder))
    assert page.locator("h2").count() >= 6
    assert page.locator(".absent").count() >= 4


def test_a_served_page_follows_the_run_and_keeps_its_place(browser, runs, stats_line, picture):
    folder = runs(lines=[stats_line(100), stats_line(200)], samples=2, finished=False)
    with live.make_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            page = browser.open(f"http://127.0.0.1:{server.server_address[1]}/")
            assert re.search(r"(?<![\d,])200 of 1,000 images", page.locator(".state").text_content())
            slider = page.locator("[data-slides=samples] input")
            slider.focus()
            page.keyboard.press("Home")
            page.locator("[data-chart=losses]").get_by_role("button", name="D adversarial").click()
            picture(folder / "samples/600.png", 99)
            with (folder / "stats.jsonl").open("a") as file:
                file.write(json.dumps(stats_line(600)) + "\n")
            page.locator(".state").get_by_text("600 of 1,000").wait_for()
            slider = page.locator("[data-slides=samples] input")
            assert (slider.get_attribute("max"), slider.input_value()) == ("2", "0")
            hidden = page.locator("[data-chart=losses] [role=button][aria-pressed=false]")
            assert hidden.all_text_contents() == ["D adversarial"]
        finally:
            server.shutdown()
            thread.join(timeout=60)
