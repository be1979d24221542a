"""Runs a contender: python -m tests.bench.contenders bare BROKERS REGISTRY NAME TOPIC RECORDS [MORE]."""

from __future__ import annotations

import sys

from tests.bench.contenders import Work
from tests.bench.contenders.flink import java, java_over
from tests.bench.contenders.loops import bare, bare_transactions
from tests.bench.contenders.tailrace import features, tailrace


def main() -> None:
    contender, brokers, registry, name, topic, records, *more = sys.argv[1:]
    work = Work(brokers, registry, name, topic, int(records))
    own = {"bare": bare, "bare_transactions": bare_transactions, "java": java, "java_over": java_over}
    if contender == "features":
        features(work, int(more[0]), more[1])
    elif contender in own:
        own[contender](work)
    else:
        tailrace(contender, work)


if __name__ == "__main__":
    main()
