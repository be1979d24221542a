"""Tells a web address of incidents, beside the stream: neither it nor its silence holds anything up.

PyFlink's AsyncFunction ends a bundle, and so a checkpoint, only when all that it has begun is answered: an
endpoint that hangs would stop the job. So alerts wait in keyed state, and a thread sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import structlog
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.gather import Gathered, Gatherer
from udfs.alerts.incidents import IncidentRecord
from udfs.alerts.shapes import shaped
from udfs.alerts.webhook import MAX_PENDING, Sender, WebhookParams
from udfs.flink.log import configure_worker_logging
from udfs.flink.results import ALERT, BYTES
from udfs.flink.windows import END_OF_INPUT
from udfs.times import now_ms

POLL_MS = 1_000
LAST_WAIT_S = 60.0
# How long alerts wait for those of the same time, on the clock.
PATIENCE_MS = 10_000
log = structlog.get_logger(__name__)
_decoder = msgspec.msgpack.Decoder(Gathered)


class WebhookFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(_kind, _key, _value) of all that watches the job → nothing.

    At least once: what is told is kept until it was delivered or given up. After a restart all that is still
    there is sent again, in order.
    """

    def __init__(self, params: WebhookParams) -> None:
        self._params = params

    def open(self, runtime_context: RuntimeContext) -> None:
        configure_worker_logging()
        self._waiting = runtime_context.get_map_state(MapStateDescriptor("waiting", Types.LONG(), BYTES))
        self._next = runtime_context.get_state(ValueStateDescriptor("next", Types.LONG()))
        self._state = runtime_context.get_state(ValueStateDescriptor("gathered", BYTES))
        self._gatherer = Gatherer(self._params.windows)
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
        timers = ctx.timer_service()
        if self._params.shape.format == "alert":
            if value[0] == ALERT:
                self._tell([bytes(value[2])], timers)
            return
        data, now = bytes(value[2]), timers.current_processing_time()
        if value[0] == ALERT:
            self._remember(*self._gatherer.alerted(self._load(), data, now), timers)
            timers.register_processing_time_timer(now + PATIENCE_MS)
            timers.register_event_time_timer(END_OF_INPUT)
        else:
            self._remember(*self._gatherer.windowed(self._load(), data), timers)

    def _load(self) -> Gathered:
        data = self._state.value()
        return _decoder.decode(bytes(data)) if data else Gathered()

    def _remember(self, state: Gathered, told: Sequence[IncidentRecord], timers: Any) -> None:
        self._state.update(msgspec.msgpack.encode(state))
        self._tell([msgspec.json.encode(record) for record in told], timers)

    def _tell(self, bodies: Sequence[bytes], timers: Any) -> None:
        for body in bodies:
            self._keep(body)
        if bodies:
            self._look_again(timers)
            timers.register_event_time_timer(END_OF_INPUT)

    def _keep(self, body: bytes) -> None:
        self._settle()
        if len(self._sent) >= MAX_PENDING:
            log.error("webhook.full", waiting=len(self._sent))
            self._counters[False].inc()
            return
        number = self._next.value() or 0
        self._next.update(number + 1)
        self._waiting.put(number, body)
        self._submit(number, body)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        self._settle()
        state, timers = self._load(), ctx.timer_service()
        late = timers.current_processing_time() >= state.arrived_ms + PATIENCE_MS
        if state.waiting and (late or timestamp == END_OF_INPUT):
            self._remember(*self._gatherer.hurried(state), timers)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            # The end of the input: nothing follows that could be held up.
            self._sender.wait(LAST_WAIT_S)
            self._settle()
        elif self._sent:
            self._look_again(timers)
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
        self._sender.submit(number, shaped(self._params.shape, body))

    def _look_again(self, timers: Any) -> None:
        timers.register_processing_time_timer(now_ms() // POLL_MS * POLL_MS + POLL_MS)
