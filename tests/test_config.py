"""Config files: YAML in which everything means what was written, and nothing else is possible."""

from __future__ import annotations

import pytest

from ganzoo_core import settings
from ganzoo_core.errors import UsageError


@pytest.fixture
def config(tmp_path):
    def read(text: str | bytes):
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return settings.read_config(path)

    return read


def test_nested_and_flat_configs_are_the_same(config):
    nested = "train:\n  lr: 2e-4\n  betas: [0.5, 0.9]\nmodel: {norm: off}\nrun:\n  seconds: 5\n"
    flat = "train.lr: 2e-4\ntrain.betas: [0.5, 0.9]\nmodel.norm: off\n"
    assert config(nested) == config(flat) == {"train.lr": "2e-4", "train.betas": ["0.5", "0.9"], "model.norm": "off"}


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment\n", "---\n", "{}", "\ufeff"])
def test_an_empty_config_sets_nothing(config, text):
    assert config(text) == {}


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
BAD_CONFIGS = [
    ("- a\n- b\n", "holds a list; expected settings"),
    ("lr 2e-4", "holds the text 'lr 2e-4'; expected settings"),
    ("lr: 1\nlr: 2\n", "at line 2: 'lr' is set twice"),
    ("train: {lr: 1, lr: 2}\n", "'lr' is set twice"),
    ("train: {lr: 1}\ntrain.lr: 2\n", "train.lr is set twice"),
    ("a: [1\n", "at line 2: "),
    ("a: b: c\n", "at line 1: "),
    ("\tlr: 1\n", "at line 1: "),
    ("lr: 1\n---\nlr: 2\n", "at line 2: "),
    (LAUGHS, "the alias *a0 is not read"),
    ("a: &a {b: *a}\n", "the alias *a is not read"),
    ("a: &a {lr: 1}\nb: {<<: *a}\n", "the alias *a is not read"),
    ("lr: !!float 1\n", "at line 1: a tag such as !!int is not read"),
    ("lr: !!python/object/apply:os.system [ls]\n", "a tag such as !!int is not read"),
    ("lr: !!timestamp 2001-99-99\n", "a tag such as !!int is not read"),
    ("? [a, b]\n: c\n", "at line 1: "),
    ("? {a: b}\n: c\n", "at line 1: "),
    ("lr: 1\x00\n", "is not YAML"),
    ("lr: é".encode("latin-1"), "is not text in UTF-8: byte 4 is 0xe9"),
    ("lr: 1".encode("utf-16"), "is not text in UTF-8"),
    ("a: " + "[" * 20_000, "nested too deeply"),
    ("a: " + "{a: " * 20_000, "nested too deeply"),
    ("x" * 300_000, "is larger than 200,000 bytes"),
]


@pytest.mark.parametrize(("text", "expected"), BAD_CONFIGS, ids=[str(text)[:20] for text, _ in BAD_CONFIGS])
def test_a_bad_config_is_refused_in_a_sentence(config, text, expected):
    with pytest.raises(UsageError) as caught:
        config(text)
    assert "the config file" in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_there_or_no_file(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            settings.read_config(path)
