"""Alerts: to the file, to a webhook that really listens, and never a failure of their own."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vertical_assets import alerts
from vertical_assets.alerts import ATTEMPTS, WEBHOOK, alert, resend


class Receiver:
    """A webhook on loopback: what it was sent, and how often it refuses first."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.refusals = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.refusals:
                    receiver.refusals -= 1
                    self.send_error(503)
                    return
                receiver.received.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/alerts"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    monkeypatch.setenv(WEBHOOK, receiver.url)
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    monkeypatch.setattr(alerts, "PAUSE", 0.0)
    return tmp_path


def test_an_alert_goes_to_log_file_and_webhook(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    alert("check_failed", "tiny", "alpha 0.4 is below 0.85", asset="agreement_report", alpha=0.4)
    (sent,) = receiver.received
    assert (sent["kind"], sent["vertical"]) == ("check_failed", "tiny")
    assert (sent["asset"], sent["alpha"]) == ("agreement_report", 0.4)
    assert alerts.alerts() == [{**sent, "webhook": "sent"}]
    assert "alpha 0.4 is below 0.85" in caplog.text


def test_what_a_webhook_did_not_take_is_sent_when_it_is_back(receiver: Receiver) -> None:
    receiver.refusals = 2 * ATTEMPTS
    alert("run_failed", "tiny", "the first", key="1")
    alert("run_failed", "tiny", "the second")
    assert receiver.received == []
    receiver.refusals = ATTEMPTS
    assert resend() == 0  # it still refuses: the others wait
    assert resend() == 2
    assert [each["message"] for each in receiver.received] == ["the first", "the second"]
    assert resend() == 0
    assert [each["webhook"] for each in alerts.alerts()][2:] == ["sent", "sent"]


def test_an_alert_of_days_ago_is_not_sent_again(receiver: Receiver, folder: Path) -> None:
    old = {"at": "2024-01-01T00:00:00+00:00", "kind": "run_failed", "webhook": "URLError: down"}
    (folder / "alerts.jsonl").write_text(json.dumps(old) + "\n")
    assert resend() == 0
    assert receiver.received == []


def test_a_key_is_alerted_once(receiver: Receiver) -> None:
    for _ in range(2):
        alert("run_failed", "tiny", "the run failed", key="run_failed:1")
    alert("run_failed", "tiny", "the run failed", key="run_failed:2")
    assert [each["key"] for each in receiver.received] == ["run_failed:1", "run_failed:2"]
    assert len(alerts.alerts()) == 2


def test_a_webhook_that_refuses_once_is_asked_again(receiver: Receiver) -> None:
    receiver.refusals = 1
    alert("gate", "tiny", "refused")
    assert len(receiver.received) == 1
    assert alerts.alerts()[0]["webhook"] == "sent"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "ftp://127.0.0.1/", "not a url"])
def test_a_dead_webhook_fails_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(WEBHOOK, url)
    alert("gate", "tiny", "refused")
    (kept,) = alerts.alerts()
    assert kept["message"] == "refused"
    assert "Error" in kept["webhook"]
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_a_file_that_cannot_be_written_fails_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("VERTICAL_DATA", str(folder / "file"))
    alert("gate", "tiny", "refused")
    assert "is not on file: refused" in caplog.text


def test_lines_of_several_at_once_stay_whole(folder: Path) -> None:
    threads = [
        threading.Thread(target=alert, args=("gate", "tiny", "x" * 5000), kwargs={"number": number})
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each["number"] for each in alerts.alerts()) == list(range(20))


def test_a_line_cut_off_by_a_crash_spoils_no_other(folder: Path) -> None:
    alert("gate", "tiny", "first")
    with (folder / "alerts.jsonl").open("a") as file:
        file.write('{"kind": "ga')
    alert("gate", "tiny", "second")
    with (folder / "alerts.jsonl").open("ab") as file:
        file.write('{"kind": "批'.encode()[:-1])  # within a character
    for _ in range(2):
        alert("gate", "tiny", "third\u2028of its key", key="3")
    assert [each["message"] for each in alerts.alerts()] == [
        "first",
        "second",
        "third\u2028of its key",
    ]
    assert alerts.resend() == 0
