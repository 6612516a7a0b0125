"""The sentences with which a start refuses wrong settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from octohooks_server.__main__ import main
from octohooks_server.settings import Settings, read_settings

WRONG = [
    ("listen", "50051"),
    ("listen", ":50051"),
    ("listen", "127.0.0.1:"),
    ("listen", "127.0.0.1:99999"),
    ("listen", "127.0.0.1:http"),
    ("tls_certificate", "server.pem"),
    ("tls_private_key", "server.pem"),
    ("tls_client_ca", "authority.pem"),
    ("allow_plaintext", "perhaps"),
    ("max_connections", "0"),
    ("max_connections", "100001"),
    ("max_connection_age", "0.5"),
    ("max_connection_age", "31536001"),
    ("database_url", "mysql://user:secret@db.example.com/octohooks"),
    ("database_url", "db.example.com"),
    ("database_url", "postgresql://user:secret@one.example.com:5432,two.example.com:no/octohooks"),
    ("database_connections", "1"),
    ("database_connections", "1001"),
    ("role", "everything"),
    ("role", "api"),
    ("workers", "0"),
    ("workers", "257"),
    ("workers", "2"),
    ("share_port", "perhaps"),
    ("operator_key", "0123456789012345678901234567890"),
    ("encryption_keys", "secret"),
    ("encryption_keys", "c2hvcnQ="),
    ("encryption_keys", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,secret"),
    ("encryption_keys_file", "/nowhere/keys"),
    ("reflection", "perhaps"),
    ("log_format", "xml"),
    ("log_level", "loud"),
    ("metrics_listen", "9464"),
    ("metrics_listen", "127.0.0.1:65536"),
    ("request_timeout", "0"),
    ("request_timeout", "-1"),
    ("request_timeout", "30.001"),
    ("request_timeout", "soon"),
    ("request_timeout", "nan"),
    ("lease", "19.999"),
    ("lease", "inf"),
    ("max_in_flight", "0"),
    ("max_in_flight", "10001"),
    ("max_in_flight", "many"),
    ("max_in_flight_per_endpoint", "0"),
    ("max_in_flight_per_endpoint", "1001"),
    ("max_watches_per_environment", "0"),
    ("max_watches_per_key", "-1"),
    ("max_requests_per_second", "-1"),
    ("max_requests_per_second", "100001"),
    ("history_retention", "7775999"),
    ("history_retention", "400 days"),
    ("allowed_subnets", "127.0.0.1/8"),
    ("allowed_subnets", "everything"),
    ("allowed_subnets", "10.0.0.0/8;::1/128"),
    ("nameservers", "ns.example.com"),
    ("nameservers", "192.0.2.1,127.1"),
    ("nameservers", "192.0.2.1:0"),
    ("nameservers", "192.0.2.1:65536"),
    ("nameservers", "192.0.2.1:dns"),
    ("nameservers", "[192.0.2.1]:53"),
    ("nameservers", "[2001:db8::1]:"),
    ("outbound_proxy", "proxy.example.com"),
    ("outbound_proxy", "https://proxy.example.com:3128"),
    ("outbound_proxy", "http://user:secret@proxy.example.com"),
    ("outbound_proxy", "http://proxy.example.com:port"),
    ("shutdown_grace", "-1"),
    ("shutdown_grace", "long"),
]
# Any path may become a folder; whether it can is seen when it is made.
NEVER_WRONG = {"data_dir"}


@pytest.fixture(autouse=True)
def logs_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps `main` from sending the log of this whole process to where this test's output goes."""
    monkeypatch.setattr("octohooks_server.__main__.configure_logs", lambda **_: None)


def test_every_setting_has_a_wrong_value_here() -> None:
    assert {name for name, _ in WRONG} | NEVER_WRONG == set(Settings.model_fields)


@pytest.mark.parametrize(("setting", "value"), WRONG)
def test_a_wrong_value_ends_the_start_with_code_2_and_one_sentence_that_names_the_setting(
    setting: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"OCTOHOOKS_{setting.upper()}"
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(name)
    assert line.endswith(".")
    assert printed.out == ""


@pytest.mark.parametrize(
    ("setting", "value"),
    [("operator_key", "secret"), ("outbound_proxy", "ftp://user:secret@proxy.example.com:21")],
)
def test_a_refusal_repeats_no_secret(
    setting: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"OCTOHOOKS_{setting.upper()}", value)
    with pytest.raises(SystemExit):
        main()
    assert "secret" not in capsys.readouterr().err


def test_every_worker_needs_a_port_for_its_metrics(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OCTOHOOKS_DATABASE_URL", "postgresql://db.example.com/octohooks")
    monkeypatch.setenv("OCTOHOOKS_WORKERS", "3")
    monkeypatch.setenv("OCTOHOOKS_METRICS_LISTEN", "127.0.0.1:65533")
    settings = read_settings()
    assert [settings.metrics_listen_of(number) for number in range(3)] == [
        "127.0.0.1:65533",
        "127.0.0.1:65534",
        "127.0.0.1:65535",
    ]
    monkeypatch.setenv("OCTOHOOKS_METRICS_LISTEN", "127.0.0.1:65534")
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith("OCTOHOOKS_METRICS_LISTEN")


def test_a_server_whose_delivery_loop_dies_ends_with_code_70(tmp_path: Path) -> None:
    # A mistake is planted, since none is known.
    program = """
from octohooks_server.__main__ import main
from octohooks_server.delivery.loop import DeliveryLoop
DeliveryLoop._seconds_until = None
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {
            "OCTOHOOKS_DATA_DIR": str(tmp_path),
            "OCTOHOOKS_LISTEN": "127.0.0.1:0",
            "OCTOHOOKS_LOG_FORMAT": "json",
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 70
    lines = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    (died,) = [line for line in lines if line["event"] == "part_died"]
    assert died["part"] == "delivery"
    assert "_seconds_until" in died["exception"]
    assert lines[-1]["event"] == "stopped"


def test_what_several_settings_are_wrong_about_is_told_by_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OCTOHOOKS_LISTEN", "nowhere")
    monkeypatch.setenv("OCTOHOOKS_MAX_IN_FLIGHT", "0")
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.count("OCTOHOOKS_") == 1
