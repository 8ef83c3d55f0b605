"""`{% load pushsvc %}{% push_script %}`"""

from typing import Any

from django import template
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from pushsvc.contrib.django import public_url, user_id
from pushsvc.contrib.pages import script

register = template.Library()


@register.simple_tag(takes_context=True)
def push_script(context: dict[str, Any], nonce: str = "") -> SafeString:
    """The script elements of a page: `window.push` is its connection."""
    made = script(public_url(), reverse("pushsvc-ticket"), user_id(context["request"]), nonce)
    return mark_safe(made)  # noqa: S308  # it escapes
