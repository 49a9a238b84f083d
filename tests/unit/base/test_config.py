"""The configuration: what is generated from the model, and what the model refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tilecast.base.config import GENERATED, Settings, load_config
from tilecast.base.errors import InputError

COMMIT = "6945927d9afcca2b9daf021f8395e53edc5b4eef"


@pytest.mark.parametrize("path", GENERATED)
def test_generated_files_are_current(path: str, repository: Path) -> None:
    assert (repository / path).read_text() == GENERATED[path](), "run `python -m tilecast.base.config`"


def test_the_default_file_says_what_the_model_says(repository: Path) -> None:
    assert load_config(yaml.safe_load((repository / "config/config.yaml").read_text())) == Settings()
    assert load_config({}) == Settings()


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"artefact": {}}, "unknown key `artefact`"),
        ({"artifact": {"comit": COMMIT}}, "unknown key `artifact.comit`"),
        ({"artifact": {"timeout_s": "soon"}}, "`artifact.timeout_s` = 'soon'"),
        ({"artifact": {"timeout_s": "1.5"}}, "`artifact.timeout_s` = 1.5"),
        ({"artifact": {"timeout_s": 0}}, "`artifact.timeout_s` = 0"),
        ({"artifact": {"attempts": True}}, "`artifact.attempts` = True"),
        ({"artifact": {"commit": COMMIT[:12]}}, "`artifact.commit`"),
        ({"artifact": {"commit": COMMIT.upper()}}, "40 hexadecimal digits"),
        ({"artifact": {"sources": []}}, "`artifact.sources`"),
        ({"artifact": {"sources": ["mirror", "ftp"]}}, "`artifact.sources.1` = 'ftp'"),
        ({"artifact": None}, "`artifact` = None"),
        ({"labels": "mine.csv"}, "`labels` = 'mine.csv'"),
        ({"claims": ["a\nb"]}, "`claims`"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(config: dict[str, object], place: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(config)
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_and_flags_of_the_command_line_are_what_they_say() -> None:
    """`--config 'section={key: value}'` hands every value below the first level over as text."""
    given = {
        "predictor": {"train": "true"}, "modern": {"sample": "50"}, "measure": {"budget_s": "1.5", "mode": "off"},
        "evaluation": {"bootstrap_resamples": "200"}, "numa": {"gpus": ["0", "1"], "samples": "null"},
    }  # fmt: skip
    settings = load_config(given)
    assert settings.predictor.train is True
    assert settings.modern.sample == 50
    assert settings.measure.budget_s == 1.5
    assert settings.measure.mode == "off"  # text stays text, also where YAML would read a flag
    assert settings.evaluation.bootstrap_resamples == 200
    assert settings.numa.gpus == [0, 1]
    assert settings.numa.samples is None


def test_the_environment_decides_where_the_mirror_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_config({"artifact": {"mirror": "~/there"}})
    monkeypatch.delenv("TILECAST_MIRROR", raising=False)
    assert settings.artifact.mirror_path() == Path.home() / "there"
    assert Settings().artifact.mirror_path() is None
    monkeypatch.setenv("TILECAST_MIRROR", "/elsewhere")
    assert settings.artifact.mirror_path() == Path("/elsewhere")
    monkeypatch.setenv("TILECAST_MIRROR", "")
    assert settings.artifact.mirror_path() == Path.home() / "there"
