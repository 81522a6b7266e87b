"""`morph deploy` as a user types it."""

import json

import pytest

from morph.errors import InputError
from serving.deploy.deployment import Deployment
from tests.serving.certificates import Authority
from tests.serving.deploy.making import make


def test_ssl_config_is_written_for_its_owner_and_holds_a_pair(morph, folder, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys")
    authority = Authority(keys)
    server, other = authority.sign("server"), authority.sign("other")
    to = folder / "ssl.config"
    status, output, _ = morph(
        *("deploy", "tls", "--certificate", server.certificate, "--key", server.key),
        *("--clients", authority.root, "--to", to),
    )

    assert status == 0
    assert "lets in only clients with a certificate" in output
    assert to.stat().st_mode & 0o777 == 0o600
    assert make("ssl.config", Deployment(folder)) == "key and certificate belong together; clients need one too"
    to.write_text(to.read_text().replace("custom_ca", "# custom_ca"))
    with pytest.raises(InputError, match="has client_verify but no custom_ca"):
        make("ssl.config", Deployment(folder))
    status, _, errors = morph(
        *("deploy", "tls", "--certificate", server.certificate, "--key", other.key, "--to", folder / "no.config")
    )
    assert status == 2
    assert "and the server_cert do not match" in errors
    assert not (folder / "no.config").exists()


def test_the_verb_writes_and_checks_a_deployment(morph, model_dir, tmp_path):
    (tmp_path / "morph").symlink_to(model_dir / "morph")
    status, output, _ = morph("deploy", "write", tmp_path)
    assert status == 0
    assert str(tmp_path / "compose.yaml") in output.splitlines()
    status, output, errors = morph("deploy", "check", tmp_path, "--json")
    findings = [json.loads(line) for line in output.splitlines()]
    assert status == 0, [each for each in findings if each["state"] == "failed"]
    assert {each["check"] for each in findings if each["state"] != "ok"} == {"ssl.config"}
    (tmp_path / "monitoring.config").write_text("prometheus_config { enable: maybe }")
    status, output, errors = morph("deploy", "check", tmp_path)
    assert status == 1
    assert "failed" in output
    # Two checks read that file, and it is one mistake.
    assert errors == "morph: 1 check fails.\n"


def test_what_the_user_changed_is_left_alone(morph, folder):
    (folder / "compose.yaml").write_text("mine")
    status, output, _ = morph("deploy", "write", folder, "--compose")
    assert (status, output) == (0, "Every file exists already.\n")
    assert (folder / "compose.yaml").read_text() == "mine"


def test_no_folder_is_one_sentence(morph, tmp_path):
    for verb in ("check", "write"):
        status, _, errors = morph("deploy", verb, tmp_path / "missing")
        assert status == 2
        assert "make it with `morph export MODEL --to" in errors


def test_the_arithmetic_of_a_survey_is_shown(morph):
    status, output, _ = morph(
        "deploy", "size", "--galaxies", "300e6", "--rate", "1000", "--price", "2", "--servers", "10"
    )
    assert status == 0
    assert output == (
        "300 million galaxies / 1,000 a second / 3600 = 83.3 server hours x 2 an hour = 166.67; "
        "10 servers take 8.3 hours\n"
    )
    assert len(morph("deploy", "size", "--rate", "1000")[1].splitlines()) == 2


@pytest.mark.parametrize("name", ["Morph", "my_model", 'a"b', "a/b", "-a", "1a", "a" * 54, ""])
def test_a_name_that_cannot_name_a_service_is_refused(morph, tmp_path, name):
    status, _, said = morph("deploy", "write", str(tmp_path), "--name", name)
    assert status == 2
    assert f"The name '{name}' does not do" in said
    assert not list(tmp_path.iterdir())
