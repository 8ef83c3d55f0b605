"""The outbox's table."""

from django.db import models

from pushsvc.contrib.outbox import TABLE


class OutboxEvent(models.Model):
    """An event that `pushsvc relay` is to publish. `error`: why the service refused it for good."""

    item = models.TextField()
    error = models.TextField(null=True)  # not SQL's empty string: there was none

    class Meta:
        db_table = TABLE

    def __str__(self) -> str:
        return self.item
