"""The application."""

from django.apps import AppConfig


class PushsvcConfig(AppConfig):
    """Its label stands in the migrations' history."""

    name = "pushsvc.contrib.django"
    label = "pushsvc"
    default_auto_field = "django.db.models.BigAutoField"
