"""The web process's entry: `gunicorn orderflow.wsgi`."""

import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")

application = get_wsgi_application()

from orderflow.checks import SettingsAreWrong, assert_settings_are_right  # noqa: E402  # settings are read only now

try:
    assert_settings_are_right()
except SettingsAreWrong as wrong:
    print(wrong, file=sys.stderr)
    sys.exit(3)  # for gunicorn: not to be tried again
