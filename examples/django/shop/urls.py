from django.urls import include, path

from shop import views

urlpatterns = [
    path("push/", include("pushsvc.contrib.django.urls")),
    path("", views.index),
    path("login", views.log_in),
    path("jobs", views.start),
]
