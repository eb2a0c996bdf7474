"""The entry point of the web process: `gunicorn orderflow.wsgi`."""

import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")

application = get_wsgi_application()

from orderflow.checks import InvalidSettings, validate_settings  # noqa: E402  # needs the settings

try:
    validate_settings()
except InvalidSettings as error:
    print(error, file=sys.stderr)
    sys.exit(3)  # gunicorn does not restart a worker that exits with 3
