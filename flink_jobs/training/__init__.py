"""Training: a model's own `train.py` says what is particular to it, this package does the rest.

    trainer = load_trainer(Path("models/flight_delay"))
    manifest = train(trainer, Registry(Path("models")), TrainingSettings(trials=20))

Features come from the job file, on Flink, by the very way that live records take.
"""

from flink_jobs.training.contract import Trainer, load_trainer
from flink_jobs.training.run import TrainingSettings, train
from flink_jobs.training.splits import EveryNthDay, LastShare

__all__ = ["EveryNthDay", "LastShare", "Trainer", "TrainingSettings", "load_trainer", "train"]
