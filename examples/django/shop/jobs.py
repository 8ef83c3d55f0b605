"""A job that takes long. Here a thread runs it; with Celery or RQ it is a task."""

import threading

from django.db import connection, transaction

from pushsvc.contrib.django import publish, publish_in_transaction


def convert(user: str, steps: int) -> None:
    for step in range(1, steps + 1):
        publish({"done": step, "of": steps}, user=user, event="progress")
    with transaction.atomic():  # what the job wrote, and the event that tells of it
        publish_in_transaction({"steps": steps}, user=user, event="finished")


def start(user: str, steps: int) -> None:
    def run() -> None:
        try:
            convert(user, steps)
        finally:
            connection.close()

    threading.Thread(target=run).start()
