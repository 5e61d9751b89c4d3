"""Values as they are written, in a YAML file or behind `--set`, and the values they mean."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core import settings
from ganzoo_core.errors import UsageError
from ganzoo_core.settings import CORE_SETTINGS, Setting
from ganzoo_core.settings.declare import list_group, list_network_group, setting

FINITE = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters=",[]'\"\\"), min_size=1)
VALUES = {
    "int": st.integers(-(2**63), 2**63),
    "float": FINITE,
    "bool": st.booleans(),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0")),  # NUL is refused, however it is said
    "numbers": st.lists(FINITE),
    "integers": st.lists(st.integers(-(2**63), 2**63)),
    "words": st.lists(WORDS),
    "length": st.builds("{}{}".format, st.integers(1, 10**9), st.sampled_from(["", "images", "epoch", "steps"])),
    "duration": st.builds("{}{}".format, st.integers(1, 10**6), st.sampled_from(["", "epochs", "minutes", " minute"])),
    "lengths": st.lists(st.builds("{}{}".format, st.integers(1, 10**9), st.sampled_from(["", "epochs", "steps"]))),
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    def read(text: str | bytes):
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return settings.read_config(path)

    return read


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_a_value_written_as_yaml_is_read_back(tmp_path_factory, kind, data):
    """As a run's config.yaml writes it: flat, each value as JSON, with a comment."""
    value = data.draw(VALUES[kind])
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(f"# made by a run\nmodel.x: {json.dumps(value)}  # where it came from\n", encoding="utf-8")
    read = settings.read_value("model.x", kind, settings.read_config(path)["model.x"])
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind != "text"])
@given(data=st.data())
def test_a_value_written_behind_set_is_read_back(kind, data):
    value = data.draw(VALUES[kind])
    plain = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    for written in (plain, json.dumps(value, ensure_ascii=False)):
        if kind in ("length", "duration", "lengths") and isinstance(value, str) and written != plain:
            continue  # a shell takes the quotes away
        (text,) = settings.parse_assignments([f" model.x = {written} "]).values()
        assert settings.read_value("model.x", kind, text) == value


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp"))))
def test_text_behind_set_is_kept_as_it_is(value):
    assert settings.parse_assignments([f"data.arguments={value}"]) == {"data.arguments": value}


@given(FINITE, st.sampled_from(["{!r}", "{:e}", "{:+.17g}"]))
def test_every_spelling_of_a_number_is_that_number(value, form):
    written = form.format(value)
    assert settings.read_value("loss.x", "float", written) == float(written)


MEANT = [
    ("train.lr", "2e-4", 0.0002),
    ("train.lr", "1", 1.0),
    ("train.lr", "1_000", 1000.0),
    ("train.lr_g", "", None),
    ("train.lr_g", "none", None),
    ("train.lr_g", "~", None),
    ("train.batch_size", "010", 10),
    ("train.batch_size", "1e3", 1000),
    ("train.batch_size", "1_000", 1000),
    ("train.batch_size", "64.0", 64),
    ("train.seed", "0", 0),
    ("data.skip_bad", "off", False),
    ("data.skip_bad", "No", False),
    ("data.skip_bad", "ON", True),
    ("data.skip_bad", "1", True),
    ("train.report_every", "off", "off"),
    ("train.length", "1epoch", "1epoch"),
    ("train.betas", "[0.5, 0.9]", [0.5, 0.9]),
    ("train.betas", "0,.999", [0.0, 0.999]),
    ("train.sample_at", "[1,5,20]epochs", ["1epochs", "5epochs", "20epochs"]),
    ("train.sample_at", "", []),
    ("use.with", "a, b", ["a", "b"]),
    ("use.with", "['a', \"b\"]", ["a", "b"]),
    ("use.loss", "off", "off"),
    ("use.data", "folder:C:/2e-4", "folder:C:/2e-4"),
    ("data.split", "12:30", "12:30"),
]


@pytest.mark.parametrize(("key", "written", "value"), MEANT)
def test_what_is_written_is_what_is_meant(config, key, written, value):
    for raw in (written, config(f"{key}: {json.dumps(written)}\n")[key]):
        read = settings.read_value(key, CORE_SETTINGS[key].kind, raw)
        assert (read, type(read)) == (value, type(value))
    if written and written[0] not in "['~":
        assert settings.read_value(key, CORE_SETTINGS[key].kind, config(f"{key}: {written}\n")[key]) == value


REFUSED = [
    ("train.lr", "", "expected a number"),
    ("train.lr", "none", "expected a number"),
    ("train.lr", "fast", "train.lr is 'fast'; expected a number"),
    ("train.lr", "nan", "expected a number"),
    ("train.lr", "-inf", "expected a number"),
    ("train.lr", "1e999", "expected a number"),
    ("train.lr", "0", "expected a number above 0"),
    ("train.lr", "-1e-4", "expected a number above 0"),
    ("train.lr_g", "0", "expected a number above 0"),
    ("train.lr", "1,5", "expected a number"),
    ("train.lr", "12:30", "expected a number"),
    ("train.lr", "0x10", "expected a number"),
    ("train.lr", True, "expected a number"),
    ("train.lr", None, "expected a number"),
    ("train.lr", [1e-4], "expected a number"),
    ("train.batch_size", "1.5", "expected a whole number"),
    ("train.batch_size", "--5", "expected a whole number"),
    ("train.batch_size", "", "expected a whole number"),
    ("train.batch_size", "inf", "expected a whole number"),
    ("train.batch_size", "9" * 5000, "expected a whole number"),
    ("train.batch_size", "0", "above 0"),
    ("train.batch_size", True, "expected a whole number"),
    ("train.seed", "-1", "of at least 0"),
    ("train.momentum", "1", "below 1"),
    ("train.rmsprop_decay", "-0.1", "of at least 0 and below 1"),
    ("train.length", "0", "expected a length above 0"),
    ("train.length", "off", "expected a length above 0"),
    ("train.length", "0epochs", "expected a length above 0"),
    ("train.length", "-5", "expected a length: images as 20000"),
    ("train.length", "5 days", "expected a length"),
    ("train.length", "nanepochs", "expected a length"),
    ("train.length", "1__0", "expected a length"),
    ("train.length", ["1epoch"], "expected a length"),
    ("train.length", "1e99", "at most"),
    ("train.sample_at", "[1epoch]steps", "expected a length"),
    ("train.sample_at", 5, "expected a list of lengths"),
    ("train.sample_at", [[1]], "expected a length"),
    ("data.skip_bad", "maybe", "expected true or false"),
    ("data.skip_bad", "", "expected true or false"),
    ("data.split", 3, "expected text"),
    ("data.split", ["train"], "expected text"),
    ("train.betas", "[0.5, 0.9", "expected numbers"),
    ("train.betas", "0.5,x", "expected numbers"),
    ("train.betas", [[0.5], 0.9], "expected numbers"),
    ("train.betas", [None, 0.5], "expected numbers"),
    ("train.betas", 0.5, "expected numbers"),
    ("train.betas", "0.5", "expected 2 numbers of at least 0 and below 1"),
    ("train.betas", [0.5, 1.0], "expected 2 numbers of at least 0 and below 1"),
    ("train.betas", [-0.1, 0.9], "expected 2 numbers of at least 0 and below 1"),
    ("use.with", {"a": "b"}, "expected names"),
    ("use.with", [["a"]], "expected names"),
    ("use.with", 3, "expected names"),
]


@pytest.mark.parametrize(("key", "raw", "expected"), REFUSED, ids=[f"{k}={str(r)[:12]}" for k, r, _ in REFUSED])
def test_what_cannot_be_meant_is_refused_in_a_sentence(key, raw, expected):
    with pytest.raises(UsageError) as caught:
        settings.read_value(key, CORE_SETTINGS[key].kind, raw)
    assert str(caught.value).startswith(f"{key} is ")
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("key", CORE_SETTINGS)
def test_every_default_of_the_core_is_a_value_of_its_kind(key):
    setting = CORE_SETTINGS[key]
    assert settings.read_value(key, setting.kind, setting.default) == setting.default
    assert setting.help
    if setting.choices:
        assert setting.default in setting.choices or setting.fallback


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        (True, "bool"), (3, "int"), (3.0, "float"), ("x", "text"), ([1, 2], "integers"), ([1.0, 2], "numbers"),
        (["a"], "words"),
    ],
)  # fmt: skip
def test_a_setting_is_typed_by_its_default(default, kind):
    assert settings.find_kind("model.x", default) == kind
    assert settings.read_value("model.x", kind, default) == default


@pytest.mark.parametrize("text", ["lr", "", "=", "=3", " = 3"])
def test_an_assignment_without_a_key_or_a_value_is_refused(text):
    with pytest.raises(UsageError, match="write --set key=value"):
        settings.parse_assignments([text])


def test_the_last_assignment_counts_whatever_the_spelling():
    assigned = settings.parse_assignments(["lr=1", "train.lr=2", "lr=3", "data.arguments=a=b"])
    assert list(assigned.items()) == [("train.lr", "2"), ("lr", "3"), ("data.arguments", "a=b")]


KNOWN = {
    **CORE_SETTINGS,
    "model.width": Setting(3, "int"),
    "generator.width": Setting(3, "int"),
    "discriminator.width": Setting(3, "int"),
    "discriminator.only": Setting(3, "int"),
    "loss.gamma": Setting(1.0, "float"),
    "with.r1.gamma": Setting(1.0, "float"),
}


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("lr", "train.lr"),
        ("train.lr", "train.lr"),
        ("width", "model.width"),
        ("generator.width", "generator.width"),
        ("r1.gamma", "with.r1.gamma"),
        ("loss.gamma", "loss.gamma"),
        ("latent_dim", "model.latent_dim"),
    ],
)
def test_an_unambiguous_end_is_enough(key, full):
    assert settings.expand_key(key, KNOWN) == full


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("gamma", "may mean loss.gamma or with.r1.gamma; write it whole"),
        ("lrr", "did you mean train.lr"),
        ("LR", "did you mean train.lr"),
        ("widht", "did you mean model.width?"),
        ("modle.width", "did you mean model.width"),
        ("batch-size", "did you mean train.batch_size"),
        ("train.batchsize", "did you mean train.batch_size"),
        ("only", "did you mean discriminator.only?"),
        ("qqqqqq", "`ganzoo info MODEL`"),
        ("", "there is no setting ''"),
        ("train", "there is no setting 'train'"),
        (".lr", "there is no setting '.lr'"),
    ],
)
def test_other_keys_are_refused_with_the_nearest(key, expected):
    with pytest.raises(UsageError) as caught:
        settings.expand_key(key, KNOWN)
    assert expected in str(caught.value)


@given(st.text(), st.sets(st.sampled_from(sorted(KNOWN))))
def test_an_expanded_key_is_known_and_ends_as_written(key, known):
    try:
        full = settings.expand_key(key, known)
    except UsageError:
        assert key not in known
    else:
        assert full in known
        assert full == key or full.endswith("." + key)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A group of settings, as an engine reads them."""

    rates: tuple[float, ...] = setting("train.rates", [0.1, 0.2], "numbers", "a list", at_least=0, below=1)
    slow: float = setting(
        "train.slow", 1.0, "float", "a rate", above=0, only_with=("train.kind", ("a", "b")), scheduled="slow_{network}"
    )
    steps: int = 3


def test_a_group_declares_its_settings_and_is_read_from_them():
    """Defaults, ranges and help come from the fields, and so does the object that a reader is given."""
    declared = list_group(Pace)
    assert list(declared) == ["train.rates", "train.slow"]
    assert declared["train.rates"].help == "a list"
    assert declared["train.rates"].describe_problem([0.5, 1.0]) == "expected a number of at least 0 and below 1"
    assert Setting([0, 0], "integers", length=2).describe_problem([1]) == "expected 2 numbers"
    assert Setting(["a"], "words", length=1).describe_problem([]) == "expected 1 items"
    assert Setting(1.0, "float", above=0, below=1).describe_problem(1.0) == "expected a number above 0 and below 1"
    assert declared["train.slow"].describe_problem(0.0) == "expected a number above 0"
    values = {"train.rates": [0.5, 0.6], "train.slow": 9.0}
    assert settings.read_group(Pace, values, steps=4) == Pace(rates=(0.5, 0.6), slow=9.0, steps=4)
    assert Pace(slow=2.0).rates == (0.1, 0.2)


def test_a_group_of_each_network_has_a_setting_of_both_and_one_of_each():
    declared = list_network_group(Pace)
    names = ["train.rates", "train.rates_g", "train.rates_d", "train.slow", "train.slow_g", "train.slow_d"]
    assert list(declared) == names
    assert declared["train.slow"] == Setting(1.0, "float", "a rate", above=0)
    assert declared["train.slow_d"] == Setting(
        None, "float", "for D, in place of train.slow", above=0, fallback="train.slow",
        only_with=("train.kind_d", ("a", "b")), scheduled="slow_d",
    )  # fmt: skip
    values = dict.fromkeys(names) | {"train.rates": [0.5, 0.6], "train.slow": 9.0, "train.slow_d": 2.0}
    assert settings.read_group(Pace, values, network="g") == Pace(rates=(0.5, 0.6), slow=9.0)
    assert settings.read_group(Pace, values, network="d") == Pace(rates=(0.5, 0.6), slow=2.0)
