"""A real Label Studio server, from the environment that `make label-studio` has."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from vertical_assets.labels.studio.client import LabelStudio
from vertical_assets_tests.conftest import ROOT, stop

ENVIRONMENT = Path(os.environ.get("LABEL_STUDIO_ENVIRONMENT", ROOT / ".venv-label-studio"))
OWNER_TOKEN = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 400  # seconds until it answers; six on an idle machine


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str

    def owner(self) -> LabelStudio:
        return LabelStudio(self.url, OWNER_TOKEN)

    def sign_up(self, email: str) -> tuple[str, str]:
        """A new person, by the owner's invitation; their legacy and their personal token."""
        as_owner = {"Authorization": f"Token {OWNER_TOKEN}"}
        invitation = requests.get(f"{self.url}/api/invite", headers=as_owner, timeout=60).json()
        form, person = self.url + invitation["invite_url"], requests.Session()
        page = person.get(form, timeout=60).text
        secret = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert secret is not None
        fields = {
            "csrfmiddlewaretoken": secret.group(1),
            "email": email,
            "password": "no secret of anybody",
            "allow_newsletters": "false",
        }
        person.post(form, data=fields, headers={"Referer": form}, timeout=60)
        legacy = person.get(f"{self.url}/api/current-user/token", timeout=60).json()["token"]
        headers = {"X-CSRFToken": person.cookies["csrftoken"] or "", "Referer": self.url}
        made = person.post(f"{self.url}/api/token/", headers=headers, timeout=60)
        return legacy, made.json()["token"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an owner and nothing else, on loopback, with SQLite."""
    command = ENVIRONMENT / "bin" / "label-studio"
    if not command.exists():
        pytest.skip(f"Label Studio is not at {ENVIRONMENT}; 'make {ENVIRONMENT.name}/.installed'")
    data = tmp_path_factory.mktemp("label-studio")
    if (ENVIRONMENT / "empty").exists():
        shutil.copytree(ENVIRONMENT / "empty", data, dirs_exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LABEL_STUDIO", "PYTHON"))}
    environment = {
        **kept,
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": "owner@example.com",
        "LABEL_STUDIO_PASSWORD": "no secret of anybody",
        "LABEL_STUDIO_USER_TOKEN": OWNER_TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "0",
        "LATEST_VERSION_CHECK": "0",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    options = ["--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "start", *options, "--data-dir", data],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                requests.get(f"{url}/health", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.5)
        else:
            pytest.fail((data / "log").read_text()[-3000:])
        yield Server(url)
    finally:
        stop(process)
