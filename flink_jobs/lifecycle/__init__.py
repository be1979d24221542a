"""The life of a model by its job's policy: training, shadow, canary, champion, or dropped."""
