"""Order status for users who are logged in: an order is paid, and all open pages of its user say so.

pip install 'pushsvc' flask
PUSHSVC_URL=http://127.0.0.1:8080 PUSHSVC_TOKEN=… flask --app app run --port 5000
"""

from __future__ import annotations

import os

from flask import Flask, redirect, render_template_string, request, session
from werkzeug.wrappers import Response

from pushsvc.contrib.flask import Push

app = Flask(__name__)
app.secret_key = os.environ.get("APP_SECRET", "an example")
app.config |= {"PUSHSVC_URL": os.environ["PUSHSVC_URL"], "PUSHSVC_TOKEN": os.environ["PUSHSVC_TOKEN"]}
push = Push(app, user=lambda: session.get("user"))

PAGE = """<!doctype html><html lang="en"><title>Orders</title>
<p>{{ session.user or "nobody" }} <a href="/login?user=alice">alice</a> <a href="/login?user=bob">bob</a>
<form method="post" action="/orders/7/pay"><button>Pay order 7</button></form>
<ul id="paid"></ul>
{{ push_script() }}
<script>
  window.push?.on("order.paid", order => {
    document.querySelector("#paid").append(`order ${order.id} is paid`);
  });
</script></html>"""


@app.get("/")
def index() -> str:
    return render_template_string(PAGE)


@app.get("/login")
def login() -> Response:
    session["user"] = request.args["user"]  # a real one asks for a password
    return redirect("/")


@app.post("/orders/<int:number>/pay")
def pay(number: int) -> tuple[str, int]:
    push.publish({"id": number}, user=session["user"], event="order.paid")
    return "", 204
