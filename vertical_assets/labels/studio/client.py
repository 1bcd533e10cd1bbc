"""Client of a Label Studio server: its REST API, as little of it as the labels need.

By REST and not by the server's SDK, which asks for an older NumPy. Both kinds of tokens do: legacy
ones, and personal access tokens (JSON Web Tokens that are exchanged for short-lived ones).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

ATTEMPTS, BACKOFF = 4, 0.5  # of a request; seconds before the third, doubled before each further
TIMEOUT = (5.0, 120.0)  # seconds to connect, and to wait for an answer
BUSY = (429, 500, 502, 503, 504)  # answers after which a request is put again
TASKS_PER_PAGE, TASKS_PER_IMPORT = 200, 200
SETTLING = timedelta(minutes=1)  # how long a transaction may take to become visible
SERVER_DOWN, WRONG_TOKEN, MISSING, REFUSED = "server_down", "wrong_token", "missing", "refused"
EDITED = "edited"  # not the server's fault: a pulled file that can't be read any more


class StudioError(Exception):
    """What keeps us out of step; `kind` is server_down, wrong_token, missing, refused or edited.

    The message says what to do.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Project:
    """A project on the server; `created` if it was not there before."""

    number: int
    title: str
    created: bool = False


class _Token(AuthBase):
    """Signs requests; a personal access token, which has two dots, by what it is exchanged for."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.personal = token.count(".") == 2
        self.access: str | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        words = f"Bearer {self.access}" if self.personal else f"Token {self.token}"
        request.headers["Authorization"] = words
        return request


class LabelStudio:
    """A server, spoken to with one person's token.

    Requests that may be put twice are put again, with growing pauses, when the server can't be
    reached or is busy; others only where they did not reach it.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        attempts: int = ATTEMPTS,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        """
        Args:
            url: of the server, e.g. http://127.0.0.1:8080.
            token: legacy or personal access token, from "Account & Settings" on the server's pages.
            attempts: how often a request is tried.
            timeout: seconds to connect, and to wait for an answer.
        """
        self.url, self.timeout = url.rstrip("/"), timeout
        self._auth = _Token(token)
        self._session = requests.Session()
        self._session.auth = self._auth
        retry = Retry(
            total=attempts - 1,
            backoff_factor=BACKOFF,
            status_forcelist=BUSY,
            allowed_methods=["GET", "PATCH"],
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def users(self) -> dict[int, str]:
        """Everybody on the server: number -> e-mail, by which annotators are named."""
        found = self._json("GET", "/api/users")
        return {each["id"]: each["email"] or each["username"] for each in found}

    def project(self, title: str) -> Project | None:
        """The project of this title, if there is one; of several the oldest."""
        page = 1
        found: list[int] = []
        while page:
            query = {"title": title, "page": page, "page_size": 100}
            answer = self._json("GET", "/api/projects/", params=query)
            found += [each["id"] for each in answer["results"] if each["title"] == title]
            page = page + 1 if answer["next"] else 0
        return Project(min(found), title) if found else None

    def save_project(
        self, title: str, config: str, instruction: str, annotators: int, overlap: float
    ) -> Project:
        """Creates the project of this title, or brings it up to date.

        Args:
            title: unique among our projects.
            config: the labelling interface, XML.
            instruction: what annotators read before they begin, HTML.
            annotators: people per task, of the share `overlap` of the tasks; one for the others.

        Raises:
            StudioError: refused, e.g. since the new configuration lacks a label that was used.
        """
        values = {
            "label_config": config,
            "expert_instruction": instruction,
            "show_instruction": True,
            "maximum_annotations": annotators,
            "overlap_cohort_percentage": round(100 * overlap),
        }
        project = self.project(title)
        if project is None:
            made = self._json("POST", "/api/projects/", json={"title": title, **values})
            return Project(made["id"], title, created=True)
        path = f"/api/projects/{project.number}/"
        there = self._json("GET", path)
        changed = {name: value for name, value in values.items() if there[name] != value}
        if changed:
            self._json("PATCH", path, json=changed)
        return project

    def data_of(self, project: int) -> Iterator[dict[str, Any]]:
        """The data of every task, without annotations."""
        for task in self._tasks(project, [], {"include": "id,data"}):
            yield task["data"]

    def add_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Adds tasks in one transaction; predictions come with them.

        Raises:
            StudioError: maybe after they were added: ask `data_of` before trying again.
        """
        self._json("POST", f"/api/projects/{project}/import", json=list(tasks))

    def changed_tasks(self, project: int, since: str | None) -> Iterator[dict[str, Any]]:
        """Tasks with their annotations, of which anything changed; by number.

        Args:
            project: its number.
            since: time of `clock`; None for all that anybody annotated.
        """
        if since is None:
            wanted = _filter("total_annotations", "greater", 0, "Number")
        else:
            wanted = _filter("updated_at", "greater_or_equal", since, "Datetime")
        yield from self._tasks(project, [wanted], {"fields": "all"})

    def clock(self) -> str:
        """The server's time, less what a transaction under way may take: where the next
        `changed_tasks` has to begin.
        """
        answer = self._answer("GET", "/api/version")
        stamp = answer.headers.get("Date")
        now = parsedate_to_datetime(stamp) if stamp else datetime.now(UTC)
        return (now - SETTLING).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def _tasks(
        self, project: int, filters: list[dict[str, Any]], fields: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Page after page by the last number: tasks that change meanwhile shift no page."""
        last = 0
        while True:
            query = {
                "filters": {
                    "conjunction": "and",
                    "items": [*filters, _filter("id", "greater", last, "Number")],
                },
                "ordering": ["tasks:id"],
            }
            asked = {"project": project, "page_size": TASKS_PER_PAGE, "query": json.dumps(query)}
            tasks = self._json("GET", "/api/tasks", params={**asked, **fields})["tasks"]
            yield from tasks
            if len(tasks) < TASKS_PER_PAGE:
                return
            last = tasks[-1]["id"]

    def _json(self, method: str, path: str, **content: Any) -> Any:
        answer = self._answer(method, path, **content)
        try:
            return answer.json()
        except ValueError as error:
            raise StudioError(
                REFUSED, f"{self.url}{path} answers no JSON; is it a Label Studio server?"
            ) from error

    def _answer(self, method: str, path: str, **content: Any) -> requests.Response:
        if self._auth.personal and self._auth.access is None:
            self._exchange()
        answer = self._send(method, path, **content)
        if answer.status_code == 401 and self._auth.personal:  # what it was exchanged for is old
            self._exchange()
            answer = self._send(method, path, **content)
        return self._checked(answer, method, path)

    def _exchange(self) -> None:
        path = "/api/token/refresh/"
        answer = self._send("POST", path, json={"refresh": self._auth.token}, auth=_unsigned)
        self._auth.access = self._checked(answer, "POST", path).json()["access"]

    def _send(self, method: str, path: str, **content: Any) -> requests.Response:
        try:
            return self._session.request(
                method, self.url + path, timeout=self.timeout, allow_redirects=False, **content
            )
        except requests.RequestException as error:
            raise StudioError(
                SERVER_DOWN,
                f"the Label Studio server {self.url} can't be reached ({_cause(error)}); start it "
                "('make label-studio'), or correct LABEL_STUDIO_URL",
            ) from error

    def _checked(self, answer: requests.Response, method: str, path: str) -> requests.Response:
        if answer.ok and not answer.is_redirect:
            return answer
        what = f"{self.url}{path}: {answer.status_code} {_words(answer)}"
        if answer.status_code in (401, 403):
            raise StudioError(
                WRONG_TOKEN,
                f"the Label Studio server refuses the token ({what}); set LABEL_STUDIO_TOKEN to "
                "one of 'Account & Settings' on its pages; a legacy token must be allowed under "
                "'Organization'",
            )
        if answer.status_code == 404:
            raise StudioError(
                MISSING, f"{what}; the project or task was removed, or another person owns it"
            )
        if answer.status_code in BUSY:
            raise StudioError(SERVER_DOWN, f"the Label Studio server fails: {what}; see its log")
        raise StudioError(REFUSED, f"the Label Studio server refuses a {method}: {what}")


def _filter(field: str, operator: str, value: Any, type_: str) -> dict[str, Any]:
    return {
        "filter": f"filter:tasks:{field}",
        "operator": operator,
        "value": value,
        "type": type_,
    }


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _cause(error: BaseException) -> str:
    """The innermost reason of a failed connection, in words."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return str(reason).rpartition(": ")[2].strip(">)'\" ") or type(error).__name__


def _words(answer: requests.Response) -> str:
    """What the server says of its refusal."""
    try:
        said = answer.json()
    except ValueError:
        return answer.reason or answer.text[:200]
    if not isinstance(said, dict):
        return str(said)[:500]
    detail = said.get("validation_errors") or said.get("detail") or said
    return (detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False))[:500]
