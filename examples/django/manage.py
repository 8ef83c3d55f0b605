"""A progress bar of a job, for the user who started it.

pip install 'pushsvc' django
export PUSHSVC_URL=http://127.0.0.1:8080 PUSHSVC_TOKEN=…
python manage.py migrate && python manage.py runserver 5002
pushsvc relay sqlite:///shop.sqlite3
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)
