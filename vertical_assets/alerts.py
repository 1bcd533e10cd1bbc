"""Alerts: one way out for every alarm, whoever raises it.

An alarm goes to the log of the process, to `data/alerts.jsonl`, and to a webhook where
`VERTICAL_ALERT_WEBHOOK` names one. Nothing here may fail the work that it tells of.
"""

import json
import logging
import os
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from upath import UPath

from vertical_assets.store.atomic import locked

WEBHOOK = "VERTICAL_ALERT_WEBHOOK"
ATTEMPTS, PATIENCE, PAUSE = 3, 2.0, 0.2  # of a webhook; seconds of an answer, and between attempts
SENT = "sent"  # what stands in the file beside an alert that the webhook took
RESENT = timedelta(days=1)  # how long an alert that it did not take is sent again
logger = logging.getLogger(__name__)


def alerts_file() -> Path:
    """All alerts, one JSON object a line: `$VERTICAL_DATA/alerts.jsonl`, by default under `data`;
    of drop folders on an object store, `data` too.
    """
    folder = UPath(os.environ.get("VERTICAL_DATA", "data"))
    return (Path(folder.path) if folder.protocol in ("", "file", "local") else Path("data")) / (
        "alerts.jsonl"
    )


def alert(kind: str, vertical: str, message: str, *, key: str | None = None, **facts: Any) -> None:
    """Raises an alarm; returns whatever becomes of it.

    Args:
        kind: what happened, as a word that a receiver can route by, e.g. `check_failed`.
        vertical: whose; empty where it is none's.
        message: for people: what happened and what to do.
        key: names this very happening; an alarm with a key that is on file is not raised again.
            The file is written after the webhook was called, so that a process killed between the
            two alarms twice rather than never.
        facts: figures and names behind it, e.g. `asset`, `check`, `run_id`. Nothing of a document.
    """
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": kind,
        "vertical": vertical,
        "message": message,
        "key": key,
        **facts,
    }
    try:
        if key is not None and any(each.get("key") == key for each in alerts()):
            return
        logger.warning("alert %s of %s: %s", kind, vertical or "the project", message)
        url = os.environ.get(WEBHOOK)
        record["webhook"] = post(url, record) if url else None
        _append(alerts_file(), json.dumps(record, ensure_ascii=False, default=str))
    except Exception:
        # An alarm that can't be raised must not become a second failure.
        logger.exception("the alert %s of %s is not on file: %s", kind, vertical, message)


def alerts() -> list[dict[str, Any]]:
    """All alerts on file, oldest first; a line that a crash of the machine cut off is left out. One
    that was sent later stands there twice, the second time as sent.
    """
    try:
        lines = alerts_file().read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, lines):
        try:
            found.append(json.loads(line))
        except ValueError:
            logger.warning("%s: a line is no JSON and is left out", alerts_file())
    return found


def resend() -> int:
    """Sends again what the webhook did not take in the last day, the oldest first, until it refuses
    again; returns how many it took.
    """
    url, waiting = os.environ.get(WEBHOOK), dict[str, dict[str, Any]]()
    if not url:
        return 0
    since = (datetime.now(UTC) - RESENT).isoformat(timespec="seconds")
    for each in alerts():
        body = {name: value for name, value in each.items() if name != "webhook"}
        name = json.dumps(body, sort_keys=True)
        if each.get("webhook") == SENT:
            waiting.pop(name, None)
        elif each.get("webhook") and each["at"] >= since:
            waiting[name] = body
    sent = 0
    for body in waiting.values():
        if post(url, body) != SENT:
            break
        _append(alerts_file(), json.dumps({**body, "webhook": SENT}, ensure_ascii=False))
        sent += 1
    return sent


def post(url: str, record: dict[str, Any]) -> str:
    """Sends a record as JSON; returns `sent`, or the reason why it was not."""
    body = json.dumps(record, ensure_ascii=False, default=str).encode()
    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE * attempt)
        try:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{WEBHOOK} has to start with http:// or https://")
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=PATIENCE):
                return SENT
        except (OSError, ValueError) as error:  # an HTTP status of refusal is an OSError
            reason = f"{type(error).__name__}: {error}"
    logger.error("the alert's webhook did not take it in %d attempts: %s", ATTEMPTS, reason)
    return reason


def _append(file: Path, line: str) -> None:
    """Adds a line, whole or not at all where others add theirs at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(UPath(file.parent)), file.open("ab+") as opened:
        if opened.tell() and opened.seek(-1, os.SEEK_END) >= 0 and opened.read(1) != b"\n":
            line = f"\n{line}"  # behind what a crash cut off
        opened.write(f"{line}\n".encode())
        opened.flush()
        os.fsync(opened.fileno())
