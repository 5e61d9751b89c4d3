"""An error in a section of a report: shown in that section, logged, and raised where the tests ask for it."""

from __future__ import annotations

import json

import pytest

import ganzoo_core as gz
from ganzoo_core import report
from ganzoo_core.generation import load, notebook_view
from ganzoo_core.html.page import SECTION_ERRORS_VARIABLE
from ganzoo_core.report import curves, generator_sections, nearest_and_walk, pictures, score_section, sections
from ganzoo_core.runs import layout

BREAKS = [  # module, function, the sections that need it
    (pictures, "choose_pictures", ["samples", "stages"]),
    (pictures, "load_picture", ["samples"]),
    (curves, "make_charts", ["curves"]),
    (score_section, "make_charts", ["scores"]),
    (generator_sections, "make_charts", ["nearest"]),
    (generator_sections, "list_frames", ["walk"]),
    (generator_sections, "make_step_captions", ["walk"]),
    (sections, "make_captions", ["samples"]),
    (sections, "render_summary", ["summary"]),
    (sections, "render_settings", ["settings"]),
]
NAMES = [f"{module.__name__}.{name}" for module, name, _ in BREAKS]


def fail(*arguments, **more):
    raise KeyError("lost <b>\nsecond line")


@pytest.fixture
def shown(monkeypatch):
    """Errors are shown, as they are to users."""
    monkeypatch.delenv(SECTION_ERRORS_VARIABLE)


@pytest.mark.parametrize(("module", "name", "broken"), BREAKS, ids=NAMES)
def test_an_error_is_shown_in_its_section_and_logged_and_the_rest_of_the_page_is_there(
    runs, monkeypatch, shown, capsys, module, name, broken
):
    folder = runs(samples=2)
    monkeypatch.setattr(module, name, fail)
    text = report.render(folder)
    sentence = "This could not be shown: KeyError: &#x27;lost &lt;b&gt;\\nsecond line&#x27;"
    assert text.count(sentence) == len(broken)
    for section in broken:
        if section != "summary":
            assert sentence in text.partition(f'id="{section}"')[2].partition("</section>")[0]
    assert 'id="again"' in text
    assert capsys.readouterr().err == "".join(
        f"note: the section {section!r} of the report could not be made: KeyError: 'lost <b>\\nsecond line'\n"
        for section in broken
    )


def test_a_section_whose_curves_failed_does_not_say_that_there_are_none(runs, monkeypatch, shown, capsys):
    folder = runs()
    empty = report.render(runs("empty", lines=[])).partition('id="curves"')[2].partition("</section>")[0]
    assert "There are no statistics yet" in empty
    monkeypatch.setattr(curves, "make_charts", fail)
    section = report.render(folder).partition('id="curves"')[2].partition("</section>")[0]
    assert "yet" not in section
    assert "KeyError" in section


@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m, n, _ in BREAKS], ids=[f"{m.__name__}.{n}" for m, n, _ in BREAKS]
)
def test_an_error_in_a_section_is_fatal_in_tests(runs, monkeypatch, module, name):
    folder = runs(samples=2)
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(KeyError, match="lost"):
        report.render(folder)


def test_a_refusal_in_words_is_no_fault_of_the_page(runs, monkeypatch, capsys):
    def refuse(*arguments):
        raise gz.UsageError("samples/ cannot be read: Permission denied")

    folder = runs()
    monkeypatch.setattr(pictures, "find_grids", refuse)
    assert "samples/ cannot be read: Permission denied" in report.render(folder)
    assert capsys.readouterr().err.count("UsageError: samples/ cannot be read: Permission denied\n") == 2


def test_a_part_of_a_notebook_s_view_fails_in_the_same_way(monkeypatch, shown, capsys):
    assert "KeyError" in str(notebook_view.render_part("losses", fail))
    assert "the section 'losses' of the report could not be made" in capsys.readouterr().err
    monkeypatch.setenv(SECTION_ERRORS_VARIABLE, "raise")
    with pytest.raises(KeyError):
        notebook_view.render_part("losses", fail)


def test_an_error_while_measuring_is_kept_for_the_page_and_logged(runs, monkeypatch, shown, capsys):
    folder = runs()
    monkeypatch.setattr(nearest_and_walk, "draw_walk", lambda *arguments, **more: fail())
    monkeypatch.setattr(
        load,
        "load",
        lambda *arguments, **more: type("G", (), {"images_seen": 5, "spec": gz.Spec(4, 4, 1, 0, 3, "torch")})(),
    )
    monkeypatch.setattr(nearest_and_walk, "load_training_images", fail)
    nearest_and_walk.measure(folder)
    notes = json.loads((folder / "report" / layout.MEASURED).read_text())["notes"]
    assert set(notes) == {"walk", "nearest"}
    assert notes["walk"].startswith("KeyError: ")
    assert capsys.readouterr().err.splitlines() == [
        f"note: the section {name!r} of the report could not be made: KeyError: 'lost <b>\\nsecond line'"
        for name in ("walk", "nearest")
    ]
    assert "This could not be shown: KeyError" in report.render(folder)
    monkeypatch.setenv(SECTION_ERRORS_VARIABLE, "raise")
    with pytest.raises(KeyError):
        nearest_and_walk.measure(folder)
