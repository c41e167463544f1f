"""Brings simulated people to life: their acts at their times, through the collector by HTTP.

They know of messages only what really arrived: at the mail server, and in the in-app inbox.
"""

from __future__ import annotations

import heapq
import threading
import time
import urllib.error
from email.utils import parseaddr
from itertools import count, groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from orchestrator.cli.demo.people import Act, Key, Person
from orchestrator.errors import CouldNotRun
from orchestrator.testing.stack import SERVER_KEY, WRITE_KEY
from orchestrator.testing.tracking import Tracking, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from orchestrator.testing.stack import Stack

PEOPLE: Final = 240
"""So many are about at a time; who leaves is followed by somebody new."""
ARRIVALS_S: Final = 0.08
"""Between two newcomers: full after about twenty seconds."""
LOOK_S: Final = 0.05
RETRY_S: Final = 0.2
MAX_BATCH: Final = 100
STOP_S: Final = 10.0
KEYS: Final[dict[Key, str]] = {"web": WRITE_KEY, "server": SERVER_KEY}
AWAY: Final = frozenset({429, 502, 503, 504})


class Due(NamedTuple):
    """An act at its instant (monotonic seconds); ``order`` keeps acts of one instant in order."""

    at: float
    order: int
    person: Person
    act: Act


class Population:
    """Lives in a thread of its own between ``__enter__`` and ``__exit__``."""

    def __init__(self, stack: Stack, seed: int, people: int = PEOPLE) -> None:
        self._seed = seed
        self._people = people
        self._mail = stack.mail
        self._tracking = Tracking(stack)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="population", daemon=True)
        self._agenda: list[Due] = []
        self._order = count()
        self._numbers = count(1)
        self._by_address: dict[str, Person] = {}
        self._mails = 0
        self._next_arrival = 0.0
        self.about = 0
        """People who are about."""
        self.told = 0
        """Messages that the collector has taken."""
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(STOP_S)

    # --------------------------------------------------------------------------- thread

    def _run(self) -> None:
        try:
            while not self._stopped.wait(LOOK_S):
                now = time.monotonic()
                self._arrive(now)
                self._read_mail(now)
                self._act(now)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the demo
            self.failure = error

    def _arrive(self, now: float) -> None:
        if self.about >= self._people or now < self._next_arrival:
            return
        self._next_arrival = now + ARRIVALS_S
        person = Person(self._seed, next(self._numbers))
        self._by_address[person.email] = person
        self.about += 1
        self._plan(now, person, person.life())

    def _read_mail(self, now: float) -> None:
        for mail in self._mail.since(self._mails):
            self._mails += 1
            person = self._by_address.get(parseaddr(str(mail["To"]))[1])
            if person is not None:
                self._plan(now, person, person.on_mail(str(mail["X-Action-Id"])))

    def _act(self, now: float) -> None:
        due: list[Due] = []
        while self._agenda and self._agenda[0].at <= now and len(due) < MAX_BATCH:
            due.append(heapq.heappop(self._agenda))
        for (kind, key), acts in groupby(due, key=lambda one: (one.act.kind, one.act.key)):
            match kind:
                case "say":
                    self._say(key, [one.act.message for one in acts])
                case "look":
                    for one in acts:
                        self._look(now, one.person)
                case "leave":
                    for one in acts:
                        self.about -= 1
                        # Their mailbox is read for a little longer; what comes later stays unread.
                        self._by_address.pop(one.person.email, None)

    def _plan(self, now: float, person: Person, acts: Iterable[Act]) -> None:
        for act in acts:
            heapq.heappush(self._agenda, Due(now + act.after, next(self._order), person, act))

    def _say(self, key: Key, messages: list[Any]) -> None:
        at = int(time.time() * 1000)
        for message in messages:
            message["timestamp"] = iso(at)
        answer = self._insist(lambda: self._tracking.batch(KEYS[key], messages, at))
        if answer is None:
            return
        self.told += answer["accepted"]
        if answer["refused"]:
            raise CouldNotRun(f"the collector refused events: {answer['refused'][0]}")

    def _look(self, now: float, person: Person) -> None:
        """They have the app open: what is in the inbox?"""
        for message in self._insist(lambda: self._tracking.inbox(person.account_id)) or ():
            action_id = message["action_id"]
            if message.get("read_at") is None and person.reads(action_id):
                self._insist(lambda a=action_id: self._tracking.mark_read(person.account_id, a))  # type: ignore[misc]
                self._plan(now, person, person.on_in_app(action_id))

    def _insist(self, call: Callable[[], Any]) -> Any:
        """Try again until it is done, as SDKs and webhooks do; None at the end of the demo.

        A repetition carries the same messageIds, so nothing counts twice.
        """
        while not self._stopped.is_set():
            try:
                return call()
            except urllib.error.HTTPError as error:
                if error.code not in AWAY:
                    raise CouldNotRun(
                        f"the collector answers {error.code}: {error.reason}"
                    ) from error
            except OSError:
                pass  # it is being started again
            self._stopped.wait(RETRY_S)
        return None
