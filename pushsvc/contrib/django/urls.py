"""`path("push/", include("pushsvc.contrib.django.urls"))`"""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from pushsvc.contrib.django import public_url, tickets, topics, user_id
from pushsvc.contrib.pages import ticket_answer


@require_safe
def ticket(request: HttpRequest) -> HttpResponse:
    """A ticket for who is logged in."""
    user = user_id(request)
    allowed = [] if user is None else topics(request)
    found = ticket_answer(tickets(), public_url(), user, allowed, request.headers.get("Sec-Fetch-Site"))
    return HttpResponse(found.body, "application/json", found.status, headers=dict(found.headers))


urlpatterns = [path("ticket", ticket, name="pushsvc-ticket")]
