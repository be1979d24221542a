"""Sends alerts to a web address, beside the stream: neither the endpoint nor its silence holds anything up.

PyFlink's AsyncFunction ends a bundle, and so a checkpoint, only when all that it has begun is answered: an
endpoint that hangs would stop the job. So alerts wait in keyed state, and a thread sends them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import structlog
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.webhook import MAX_PENDING, Sender, WebhookParams
from udfs.flink.log import configure_worker_logging
from udfs.flink.results import ALERT, BYTES
from udfs.flink.windows import END_OF_INPUT
from udfs.times import now_ms

POLL_MS = 1_000
LAST_WAIT_S = 60.0
log = structlog.get_logger(__name__)


class WebhookFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(_kind, _key, _value) → nothing. At least once: an alert is kept until it was delivered or given up.

    After a restart all that is still there is sent again, in order.
    """

    def __init__(self, params: WebhookParams) -> None:
        self._params = params

    def open(self, runtime_context: RuntimeContext) -> None:
        configure_worker_logging()
        self._waiting = runtime_context.get_map_state(MapStateDescriptor("waiting", Types.LONG(), BYTES))
        self._next = runtime_context.get_state(ValueStateDescriptor("next", Types.LONG()))
        self._sent: set[int] = set()
        self._sender = Sender(self._params)
        self._sender.start()
        group = runtime_context.get_metrics_group().add_group("tailrace")
        self._counters = {
            ok: group.counter(f"webhook_{name}") for ok, name in ((True, "sent"), (False, "lost"))
        }

    def close(self) -> None:
        self._sender.close()

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:
        if value[0] != ALERT:
            return
        self._settle()
        if len(self._sent) >= MAX_PENDING:
            log.error("webhook.full", waiting=len(self._sent))
            self._counters[False].inc()
            return
        number = self._next.value() or 0
        self._next.update(number + 1)
        self._waiting.put(number, value[2])
        self._submit(number, bytes(value[2]))
        self._look_again(ctx.timer_service())
        ctx.timer_service().register_event_time_timer(END_OF_INPUT)

    def on_timer(self, _timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        self._settle()
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            # The end of the input: nothing follows that could be held up.
            self._sender.wait(LAST_WAIT_S)
            self._settle()
        elif self._sent:
            self._look_again(ctx.timer_service())
        yield from ()

    def _settle(self) -> None:
        """Forgets what is done, and sends what a restart has left."""
        for number, delivered in self._sender.done():
            self._waiting.remove(number)
            self._sent.discard(number)
            self._counters[delivered].inc()
        for number in sorted(set(self._waiting.keys()) - self._sent):
            self._submit(number, bytes(self._waiting.get(number)))

    def _submit(self, number: int, body: bytes) -> None:
        self._sent.add(number)
        self._sender.submit(number, body)

    def _look_again(self, timers: Any) -> None:
        timers.register_processing_time_timer(now_ms() // POLL_MS * POLL_MS + POLL_MS)
