import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orderflow.settings")  # for `python -m tests.…`
