"""flask-sse as its documentation shows it, with a path to publish."""

from __future__ import annotations

import os

from flask import Flask, request
from flask_sse import sse

app = Flask(__name__)
app.config["REDIS_URL"] = os.environ["BENCH_REDIS_URL"]
app.register_blueprint(sse, url_prefix="/events")


@app.post("/publish")
def publish() -> dict[str, str]:
    sse.publish(request.get_json()["data"])
    return {}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}
