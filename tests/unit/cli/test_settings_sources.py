"""Defaults < file < environment < flags, unknown keys, bad values, passwords."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli

from df2redis_tui.arguments import parse_run
from df2redis_tui.errors import ConfigError
from df2redis_tui.option_docs import config_template
from df2redis_tui.option_values import Switch
from df2redis_tui.options import BY_KEY, OPTIONS
from df2redis_tui.settings import Endpoint, Settings, TuningSettings
from df2redis_tui.settings_sources import Loaded, load

BOTH = ("--source", "dragonfly://src", "--target", "redis://dst")
WriteToml = Callable[[str], str]


def loaded(*arguments: str, **environ: str) -> Loaded:
    parsed = parse_run(arguments)
    return load(parsed.flags, {f"DF2REDIS_{name}": value for name, value in environ.items()}, parsed.config)


def refusal(*arguments: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*arguments, **environ)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def toml(tmp_path: Path) -> WriteToml:
    def write(text: str) -> str:
        path = tmp_path / "my.toml"
        path.write_text(text)
        return str(path)

    return write


def test_nothing_but_two_urls_gives_the_defaults() -> None:
    expected = Settings(source=Endpoint((("src", 6379),)), target=Endpoint((("dst", 6379),)))
    assert loaded(*BOTH).settings == expected


def test_file_environment_and_flags_win_in_this_order(toml: WriteToml) -> None:
    file = toml('[tuning]\nbatch_size = 10\nmax_in_flight = 20\nflush_interval = "30ms"\n[run]\nmode = "snapshot"\n')
    got = loaded(*BOTH, "--config", file, "--batch-size", "12", BATCH_SIZE="11", MAX_IN_FLIGHT="21").settings
    assert (got.tuning.batch_size, got.tuning.max_in_flight) == (12, 21)
    assert got.tuning.flush_interval == pytest.approx(0.03)
    assert got.mode == "snapshot"


def test_a_flag_can_give_the_default_back(toml: WriteToml) -> None:
    file = toml("[tuning]\nadaptive_flush = false\n[display]\nui = true\n")
    got = loaded(*BOTH, "--config", file, "--adaptive-flush", "--no-ui").settings
    assert got.tuning.adaptive_flush is True
    assert got.ui is False


def test_urls_and_the_file_itself_may_come_from_the_environment(toml: WriteToml) -> None:
    file = toml('[source]\nurl = "dragonfly://from-file"\n')
    got = loaded(CONFIG=file, TARGET="redis+cluster://a:1,b:2").settings
    assert (got.source.label, got.target.label, got.target.cluster) == ("from-file:6379", "a:1,b:2", True)


def test_an_empty_variable_is_one_that_was_not_set() -> None:
    assert loaded(*BOTH, BATCH_SIZE="", CONFIG="", SOURCE_PASSWORD="").settings == loaded(*BOTH).settings


def test_repeated_flags_add_up() -> None:
    got = loaded(*BOTH, "--cluster-map", "a:1=b:2", "--cluster-map", "c:1=d:2").settings
    assert got.cluster_map == (("a:1", "b:2"), ("c:1", "d:2"))


def test_every_field_of_the_settings_has_an_option() -> None:
    fields = {f.name for f in dataclasses.fields(Settings)} - {"tuning"}
    fields |= {f"tuning.{f.name}" for f in dataclasses.fields(TuningSettings)}
    assert fields - {option.field for option in OPTIONS} == set()


def test_every_option_has_its_own_flag_key_and_variable() -> None:
    assert len({o.name for o in OPTIONS}) == len({o.key for o in OPTIONS}) == len({o.field for o in OPTIONS})


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_default_and_example_is_a_value_the_option_accepts(option) -> None:  # type: ignore[no-untyped-def]
    if option.example:
        option.kind.parse(tomli.loads(f"x = {option.example}")["x"])
    if option.default is not None and option.field not in {"source", "target"}:
        written = tomli.loads(f"x = {option.kind.to_toml(option.default)}")["x"]
        assert option.kind.parse(written) == option.default


def test_the_printed_file_as_it_is_means_the_defaults(toml: WriteToml) -> None:
    assert loaded(*BOTH, "--config", toml(config_template())).settings == loaded(*BOTH).settings


def test_the_printed_file_holds_every_key_and_uncommented_still_means_the_defaults(toml: WriteToml) -> None:
    lines = [line.removeprefix("#") if line.startswith("#") and line[1] != " " else line for line in
             config_template().splitlines()]  # fmt: skip
    document = tomli.loads("\n".join(lines))
    keys = {f"{section}.{key}" for section, table in document.items() for key in table}
    assert keys == set(BY_KEY)
    kept = [key for key in keys if BY_KEY[key].default is not None and key not in ("source.url", "target.url")]
    for key in kept:
        option = BY_KEY[key]
        if option.field != "keys":
            section, short = key.split(".")
            value = option.kind.parse(document[section][short])
            assert value == option.default or option.example


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tuning]\nbatchsize = 3", "the key batchsize in [tuning] is not known; did you mean batch_size?"),
        ("[run]\nbatch_sise = 3", "the key batch_sise in [run] is not known; did you mean [tuning] batch_size?"),
        ("[tunning]\nbatch_size = 3", "the section [tunning] is not known; did you mean tuning?"),
        ("batch_size = 3", "the key batch_size stands outside of any section"),
        ("[tuning]\nbatch_size = 0", "[tuning] batch_size: 0 (from "),
        ("[tuning]\nflush_interval = 5", "accepted is a duration with its unit"),
        ("[display]\nui = 1", "[display] ui: 1 (from "),
        ("[tuning]\nbatch_size = ", "line 2 is not TOML"),
        ("[source]\nurl = 'dragonfly://u:sekrit@h:x'", "[source] url: 'dragonfly://***@h:***'"),
        ("[source]\nurl = 'dragonfly://u:sekrit", "is not TOML"),
        ("[source]\npassword = 'sekrit'", "did you mean password_file?"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_and_key(toml: WriteToml, text: str, says: str) -> None:
    said = refusal(*BOTH, "--config", toml(text))
    assert says in said
    assert "my.toml" in said
    assert "sekrit" not in said


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(*BOTH, "--config", str(tmp_path / "none.toml"))
    assert "Is a directory" in refusal(*BOTH, "--config", str(tmp_path))
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refusal(*BOTH, "--config", str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--batchsize", "3"], "the option --batchsize is not known; did you mean --batch-size?"),
        (["--batch", "3"], "the option --batch is not known"),
        (["--batch-size", "0"], "--batch-size: '0' (from the command line) can't be used: accepted is a whole number"),
        (["--batch-size"], "--batch-size: expected one argument"),
        (["--mode", "half"], "accepted is full or snapshot"),
        (["--source-password", "sekrit"], "--source-password does not exist"),
        (["--source-password=sekrit"], "--source-password does not exist"),
        (["--no-ui=sekrit"], "takes no value"),
        (["-psekrit"], "the option -p is not known"),
        (["sekrit"], "unexpected argument"),
        (["--target", "redis://u:sekrit@h:0"], "--target: 'redis://***@h:0'"),
        (["--source-ca", "/x"], "source-ca (from the command line) needs TLS"),
        (["--summary", "/no/such/dir/x.json"], "the directory /no/such/dir"),
        (["--target", "redis://src"], "the same server"),
        (["--source", "dragonfly://user@h"], "there is no password"),
        (["--checkpoint-prefix", "a{b}"], "without spaces and braces"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], says: str) -> None:
    said = refusal(*BOTH, *arguments)
    assert says in said
    assert "sekrit" not in said


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BATCHSIZE", "3", "DF2REDIS_BATCHSIZE is not known; did you mean DF2REDIS_BATCH_SIZE?"),
        ("BATCH_SIZE", "x", "DF2REDIS_BATCH_SIZE: 'x' (from the environment)"),
        ("SOURCE_PASWORD", "sekrit", "did you mean DF2REDIS_SOURCE_PASSWORD?"),
        ("TARGET", "redis://u:sekrit@", "DF2REDIS_TARGET: 'redis://***@***'"),
    ],
)
def test_a_wrong_variable_is_refused(variable: str, value: str, says: str) -> None:
    arguments = BOTH if variable != "TARGET" else BOTH[:2]
    said = refusal(*arguments, **{variable: value})
    assert says in said
    assert "sekrit" not in said


def test_a_missing_url_says_the_three_ways_to_give_it() -> None:
    said = refusal("--target", "redis://h")
    assert all(way in said for way in ("--source dragonfly://", "DF2REDIS_SOURCE", "[source]"))


def password_of(got: Loaded, side: str = "target") -> str | None:
    endpoint: Endpoint = getattr(got.settings, side)
    return endpoint.password.reveal() if endpoint.password else None


def test_a_password_file_is_one_line_without_its_line_end(tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text(" sekrit \r\n")
    assert password_of(loaded(*BOTH, "--target-password-file", str(secret))) == " sekrit "
    assert password_of(loaded(*BOTH, TARGET_PASSWORD_FILE=str(secret))) == " sekrit "
    for content, says in ((b"", "is empty"), (b"sekrit\nb\n", "more than one line"), (b"\xff", "not UTF-8")):
        secret.write_bytes(content)
        said = refusal(*BOTH, "--target-password-file", str(secret))
        assert says in said
        assert "sekrit" not in said


def test_the_password_of_the_highest_layer_counts(toml: WriteToml, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from-file-file")
    file = toml(f'[target]\nurl = "redis://u:in-file@h"\n[source]\npassword_file = "{tmp_path / "pw"}"\n')
    source = BOTH[:2]
    assert password_of(loaded(*source, "--config", file)) == "in-file"
    assert password_of(loaded(*source, "--config", file, TARGET_PASSWORD="in-env")) == "in-env"
    assert password_of(loaded(*source, "--config", file, "--target", "redis://u:in-flag@h", TARGET_PASSWORD="e")) == (
        "in-flag"
    )
    assert password_of(loaded(*source, "--config", file), "source") == "from-file-file"


def test_a_password_in_a_lower_url_is_not_sent_to_another_host(toml: WriteToml) -> None:
    file = toml('[target]\nurl = "redis://u:in-file@h"\n')
    assert password_of(loaded(*BOTH, "--config", file)) is None


def test_two_passwords_of_one_layer_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("sekrit")
    said = refusal(*BOTH, TARGET_PASSWORD="sekrit2", TARGET_PASSWORD_FILE=str(tmp_path / "pw"))
    assert "given twice, by DF2REDIS_TARGET_PASSWORD_FILE and by DF2REDIS_TARGET_PASSWORD" in said
    assert "sekrit" not in said


def test_only_a_password_in_the_command_line_is_warned_about(toml: WriteToml) -> None:
    source = BOTH[:2]
    assert loaded(*source, TARGET="redis://u:sekrit@h").warnings == ()
    (warning,) = loaded(*source, "--target", "redis://u:sekrit@h").warnings
    assert "`ps` shows it" in warning
    assert "DF2REDIS_TARGET_PASSWORD" in warning
    assert "sekrit" not in warning


def test_a_file_with_a_password_that_others_may_read_is_warned_about(toml: WriteToml) -> None:
    file = Path(toml('[target]\nurl = "redis://u:sekrit@h"\n'))
    file.chmod(0o644)
    (warning,) = loaded(*BOTH[:2], "--config", str(file)).warnings
    assert "chmod 600" in warning
    assert "sekrit" not in warning
    file.chmod(0o600)
    assert loaded(*BOTH[:2], "--config", str(file)).warnings == ()


def test_settings_never_print_a_password() -> None:
    got = loaded("--source", "dragonfly://u:sekrit@a", "--target", "rediss://u:sekrit@b")
    assert "sekrit" not in repr(got)


def test_tls_options_join_the_endpoint(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    flags = [part for name in ("ca", "cert", "key") for part in (f"--target-{name}", str(tmp_path / name))]
    got = loaded(*BOTH[:2], "--target", "rediss://h", *flags, "--target-server-name", "n", "--no-target-verify")
    tls = got.settings.target.tls
    assert tls is not None
    assert (tls.ca, tls.cert, tls.key) == (tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    assert (tls.server_name, tls.verify) == ("n", False)
    assert "certificate is not checked" in got.warnings[0]


def test_tls_files_are_checked_before_anything_starts(tmp_path: Path) -> None:
    tls = [*BOTH[:2], "--target", "rediss://h"]
    assert "No such file" in refusal(*tls, "--target-ca", str(tmp_path / "none"))
    (tmp_path / "key").touch()
    assert "without target-cert" in refusal(*tls, "--target-key", str(tmp_path / "key"))


def test_switches_are_the_only_options_without_a_value() -> None:
    parsed = parse_run([*BOTH, *(f"--no-{o.name}" for o in OPTIONS if isinstance(o.kind, Switch))])
    assert {name for name, value in parsed.flags.items() if value is False} == {
        o.name for o in OPTIONS if isinstance(o.kind, Switch)
    }
