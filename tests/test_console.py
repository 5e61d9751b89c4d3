"""What a person is told while a run goes on."""

from __future__ import annotations

import pytest

from ganzoo_core.terminal.progress import Progress, Reporter, format_duration


def progress(**more: float) -> Progress:
    terms = {
        "discriminator/adversarial": 1.214,
        "discriminator/gradient_penalty": 0.031,
        "discriminator/accuracy_real": 0.98,
        "discriminator/accuracy_fake": 0.944,
        "generator/adversarial": 0.832,
    }
    return Progress(
        images=3200,
        end=80000,
        step=50,
        steps=1250,
        epoch=2,
        epochs=56,
        images_per_second=850.4,
        seconds_left=90.3,
        terms=terms,
        values=more,
    )


def test_every_term_is_told_short() -> None:
    assert progress().format_terms() == "D 1.21 · D gradient_penalty 0.031 · D accuracy 0.98/0.94 · G 0.832"


def test_a_piped_report_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().report(progress(lr_g=2e-4, resolution=8, fade=0.25))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    words = "epoch 3/56|step 50/1250|3,200 images|850 img/s|1 min 30 s left|resolution 8|fade 0.25"
    for word in words.split("|"):
        assert word in told.err


@pytest.mark.parametrize(
    ("seconds", "cpu", "small", "offered"),
    [(3700, True, True, True), (3500, True, True, False), (3700, False, True, False), (3700, True, False, False)],
)
def test_a_long_run_on_a_cpu_offers_the_small_preset(
    seconds: float, cpu: bool, small: bool, offered: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Reporter(cpu=cpu, laptop_preset="small" if small else "").estimate(seconds)
    told = capsys.readouterr().err
    assert "left, done at" in told
    assert ("--preset small" in told) is offered


def test_quiet_says_nothing_but_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(quiet=True)
    reporter.report(progress())
    reporter.report_epoch(progress())
    reporter.estimate(9999)
    assert capsys.readouterr().err == ""
    reporter.warn("two penalties [sic]")
    assert capsys.readouterr().err == "note: two penalties [sic]\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(44.6, "45 s"), (125, "2 min 05 s"), (12000, "3 h 20 min"), (190800, "2 d 5 h"), (59.7, "1 min 00 s")],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
