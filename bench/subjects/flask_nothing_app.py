"""The least that an application of Flask does for a POST."""

from __future__ import annotations

from flask import Flask, request

app = Flask(__name__)


@app.post("/publish")
def publish() -> dict[str, str]:
    request.get_json()
    return {}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}
