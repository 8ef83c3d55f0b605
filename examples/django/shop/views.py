from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from pushsvc.contrib.django import publish_on_commit
from shop import jobs


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "index.html")


def log_in(request: HttpRequest) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username=request.GET["user"])
    login(request, user)  # a real one asks for a password
    return redirect("/")


@require_POST
@login_required
@transaction.atomic
def start(request: HttpRequest) -> HttpResponse:
    user = str(request.user.pk)
    publish_on_commit({"steps": 10}, user=user, event="started")
    transaction.on_commit(lambda: jobs.start(user, 10))
    return HttpResponse(status=204)
