"""A live stream of real flights: those of July to December 2013, in order, as if they departed now.

    python -m flink_jobs.demo.live_flights --seconds 600        # to flights.live, 300 a second

Times are those of the moment of sending; all else is as it was.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle

import msgspec

from flink_jobs.demo import flights
from flink_jobs.errors import TailraceError
from flink_jobs.kafka import ClientSettings, Message, create_topics, describe_topics, produce
from flink_jobs.local.state import default_brokers

TOPIC = "flights.live"
PARTITIONS = 4
TICK_SECONDS = 0.1


def departures(months: range = range(7, 13)) -> Iterator[dict[str, object]]:
    """The flights of `months` in order, over and over."""
    return cycle([msgspec.json.decode(line) for line in flights.payloads(flights.events(months))])


def messages(events: Iterator[dict[str, object]], rate: int, stop: threading.Event) -> Iterator[Message]:
    """`rate` flights a second, each departing at the moment at which it is sent, until `stop`."""
    begun, sent = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - begun) * rate)
        for _ in range(due - sent):
            event = next(events)
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            value = msgspec.json.encode({**event, "departed_at": now.replace("+00:00", "Z")})
            yield Message(value, str(event["origin"]).encode())
        sent = due
        stop.wait(TICK_SECONDS)


def send(settings: ClientSettings, rate: int, stop: threading.Event) -> int:
    """Creates the topic if need be, and sends until `stop`; returns how many."""
    if describe_topics(settings, [TOPIC])[TOPIC] is None:
        create_topics(settings, {TOPIC: PARTITIONS})
    return produce(settings, TOPIC, messages(departures(), rate, stop))


def main() -> int:
    """Sends flights that depart as they are sent, until the time is over."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rate", type=int, default=300, help="flights a second")
    options.add_argument("--seconds", type=float, default=600, help="how long to send")
    options.add_argument("--brokers", default=None)
    chosen = options.parse_args()
    stop = threading.Event()
    timer = threading.Timer(chosen.seconds, stop.set)
    timer.daemon = True
    timer.start()
    try:
        sent = send(ClientSettings(chosen.brokers or default_brokers()), chosen.rate, stop)
    except TailraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(f"{sent:,} flights sent to {TOPIC}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
