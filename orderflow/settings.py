"""Every setting, in one file: each value from the environment, its default beside it.

With no variable set this is the embedded default: SQLite and a broker made of files, both in `var/`, nothing installed.
Production sets DATABASE_URL, CELERY_BROKER_URL, ORDERFLOW_SECRET_KEY and ORDERFLOW_HOSTS.
"""

from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from kombu import Queue

from orderflow import environment
from orderflow.logs import without_traceback

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(environment.text("ORDERFLOW_VAR", str(BASE_DIR / "var")))  # what the embedded default writes
VAR.mkdir(parents=True, exist_ok=True)

# -- the process ----------------------------------------------------------------------------------------------------------
# Whether an accepted order is delivered at once, or when a person says so; an order can say otherwise for itself.
ORDERFLOW_DELIVERY = environment.choice("ORDERFLOW_DELIVERY", "automatic", among=("automatic", "manual"))
# What is bought for an order that cannot be served: the whole line ("ordered"), or only what the shelf lacks ("shortage").
ORDERFLOW_BUY = environment.choice("ORDERFLOW_BUY", "ordered", among=("ordered", "shortage"))
# Seconds until the process manager first asks whether Stock has caught up; doubled at each asking, up to the longest.
ORDERFLOW_FIRST_COUNTDOWN = environment.seconds("ORDERFLOW_FIRST_COUNTDOWN", 2.0, at_least=0.1)
ORDERFLOW_LONGEST_COUNTDOWN = environment.seconds("ORDERFLOW_LONGEST_COUNTDOWN", 240.0, at_least=ORDERFLOW_FIRST_COUNTDOWN)
# How often what did not come is bought once more, until the order needs a person's attention.
ORDERFLOW_REPURCHASES = environment.whole("ORDERFLOW_REPURCHASES", 3)
# Which purchase orders are cancelled, if nothing of them has arrived: none; those of a cancelled sales order; or those, too, of
# one that was served by other goods ("unneeded"). The others are kept: their goods serve who waits, or lie on the shelf.
ORDERFLOW_CANCEL_PURCHASES = environment.choice(
    "ORDERFLOW_CANCEL_PURCHASES", "cancelled", among=("never", "cancelled", "unneeded")
)
# Another system's Purchase: where it is, and the token that it gave us. Unset: Purchase is here.
ORDERFLOW_PURCHASE_URL = environment.text("ORDERFLOW_PURCHASE_URL", "")
ORDERFLOW_PURCHASE_TOKEN = environment.text("ORDERFLOW_PURCHASE_TOKEN", "")
# How much more than ordered may be received, in percent of a line.
ORDERFLOW_OVER_RECEIPT = environment.whole("ORDERFLOW_OVER_RECEIPT", 0, at_most=100)
# When goods are expected whose purchase order does not say when.
ORDERFLOW_LEAD_TIME = environment.duration("ORDERFLOW_LEAD_TIME", "7d")
# How long an order may be in a state before it is marked overdue; 0s: as long as it likes.
ORDERFLOW_LIMITS = {
    "awaiting_stock_reservation": environment.duration("ORDERFLOW_RESERVATION_LIMIT", "1h"),
    "awaiting_goods_received": environment.duration("ORDERFLOW_GOODS_LIMIT", "30d"),
    "deliverable": environment.duration("ORDERFLOW_DELIVERY_LIMIT", "7d"),
}

# -- the messaging kernel -------------------------------------------------------------------------------------------------
ORDERFLOW_BATCH = environment.whole("ORDERFLOW_BATCH", 250, at_least=1)  # deliveries handled in one transaction
ORDERFLOW_SWEEP = environment.seconds("ORDERFLOW_SWEEP", 5.0, at_least=0.1)  # how often beat looks for what was not woken
ORDERFLOW_CLOCK = environment.seconds("ORDERFLOW_CLOCK", 60.0, at_least=1.0)  # how often beat looks for what is overdue

# -- the web --------------------------------------------------------------------------------------------------------------
DEBUG = environment.flag("ORDERFLOW_DEBUG", False)
PUBLISHED_SECRET_KEY = "django-insecure-good-enough-for-trying-out-on-your-own-machine"  # noqa: S105  # no secret
SECRET_KEY = environment.text("ORDERFLOW_SECRET_KEY", "") or PUBLISHED_SECRET_KEY
ALLOWED_HOSTS = environment.words("ORDERFLOW_HOSTS", "localhost,127.0.0.1,[::1]")
HTTPS = environment.flag("ORDERFLOW_HTTPS", False)  # behind a proxy that ends TLS and sets X-Forwarded-Proto
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = environment.whole("ORDERFLOW_HSTS", 0)  # browsers remember it: set it once HTTPS is there to stay
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # asked from inside, without TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
ROOT_URLCONF = "orderflow.urls"
WSGI_APPLICATION = "orderflow.wsgi.application"

INSTALLED_APPS = [
    "orderflow",
    "orderflow.catalog",
    "orderflow.messaging",
    "orderflow.feed",
    "orderflow.api",
    "orderflow.console",
    "sales",
    "stock",
    "purchase",
    "rest_framework",
    "rest_framework.authtoken",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "orderflow.api.limits.limited_bodies",
    "django.middleware.http.ConditionalGetMiddleware",  # ETag and If-None-Match
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["orderflow.api.permissions.Needs"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["orderflow.api.parsing.Json"],
    "DEFAULT_PAGINATION_CLASS": "orderflow.api.pages.Pages",
    "DEFAULT_FILTER_BACKENDS": ["orderflow.api.filters.Filters"],
    "DEFAULT_SCHEMA_CLASS": "orderflow.api.schema.Described",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    # Each web process counts for itself, in its memory: neither a Redis nor a row is asked for it.
    "DEFAULT_THROTTLE_RATES": {
        "user": environment.text("ORDERFLOW_THROTTLE", "3000/min"),
        "failures": environment.text("ORDERFLOW_THROTTLE_FAILURES", "30/min"),
    },
    "NUM_PROXIES": 1 if HTTPS else 0,  # who believes X-Forwarded-For of anybody throttles nobody
    "EXCEPTION_HANDLER": "orderflow.api.problems.answer",
    "URL_FORMAT_OVERRIDE": None,
    "UNICODE_JSON": False,  # what is half a character, and is quoted in a refusal, could not be sent otherwise
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Orderflow",
    "DESCRIPTION": "Sales orders, stock, purchase orders, and all that happens to them. docs/rest.md shows the whole loop.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "list", "validatorUrl": None},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "orderflow.api.schema.with_links",
    ],
}
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # the icons in style sheets
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
STATIC_URL = "/static/"
STATIC_ROOT = environment.text("ORDERFLOW_STATIC", "") or None  # where collectstatic puts them; unset, they are served in place
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
LANGUAGE_CODE = "en"
TIME_ZONE = environment.text("ORDERFLOW_TIME_ZONE", "UTC")
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- the database ---------------------------------------------------------------------------------------------------------
_SQLITE_OPTIONS: dict[str, Any] = {
    "transaction_mode": "IMMEDIATE",  # a transaction that reads and then writes would else fail instead of wait
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
_POSTGRESQL_OPTIONS: dict[str, Any] = {
    "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=30s",
}
_database: dict[str, Any] = dict(
    dj_database_url.parse(environment.text("DATABASE_URL", f"sqlite:///{VAR / 'orderflow.sqlite3'}"))
)
_SQLITE = _database["ENGINE"] == "django.db.backends.sqlite3"
_database["OPTIONS"] = {**(_SQLITE_OPTIONS if _SQLITE else _POSTGRESQL_OPTIONS), **_database.get("OPTIONS", {})}
DATABASES = {
    "default": {
        **_database,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": not _SQLITE,
        # Tests run real worker processes, which could not see a database in memory.
        "TEST": {"NAME": str(VAR / "test.sqlite3")} if _SQLITE else {},
    }
}

# -- Celery: wake-ups only, so every message may be lost, doubled or late -------------------------------------------------
CELERY_BROKER_URL = environment.text("CELERY_BROKER_URL", "filesystem://")
_EMBEDDED_BROKER = CELERY_BROKER_URL.startswith("filesystem:")
_BROKER = VAR / "broker"
if _EMBEDDED_BROKER:
    _BROKER.mkdir(exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
        "data_folder_in": str(_BROKER),
        "data_folder_out": str(_BROKER),
        "control_folder": str(_BROKER / "control"),
        "polling_interval": 0.05,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        # After so many seconds Redis hands out again what a worker holds and has not acknowledged.
        "visibility_timeout": environment.whole("ORDERFLOW_VISIBILITY_TIMEOUT", int(ORDERFLOW_LONGEST_COUNTDOWN) + 60),
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": "orderflow:",
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 120  # a drain ends itself after 10 s
_QUEUES = ("sales", "stock", "purchase", "feed", "messaging")
CELERY_TASK_DEFAULT_QUEUE = "messaging"
CELERY_TASK_QUEUES = [Queue(name) for name in _QUEUES]  # a worker takes from all of them, unless told which with -Q
CELERY_TASK_ROUTES = {f"{name}.*": {"queue": name} for name in _QUEUES}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # a drain needs no broker
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 15  # longer than a drain
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = not _EMBEDDED_BROKER
CELERY_WORKER_ENABLE_REMOTE_CONTROL = not _EMBEDDED_BROKER
CELERY_WORKER_POOL = "threads" if _EMBEDDED_BROKER else "prefork"
CELERY_WORKER_CONCURRENCY = environment.whole("ORDERFLOW_WORKERS", 1 if _EMBEDDED_BROKER else 3, at_least=1)
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "messaging.sweep",
        "schedule": ORDERFLOW_SWEEP,
        "options": {"expires": ORDERFLOW_SWEEP},
    },
    **{
        f"{context}'s clock": {
            "task": f"{context}.look_at_the_clock",
            "schedule": ORDERFLOW_CLOCK,
            # Not the context's own queue: thousands of wake-ups may wait there, and a look that comes too late has expired.
            "options": {"expires": ORDERFLOW_CLOCK, "queue": "messaging"},
        }
        for context in ("sales", "purchase")
    },
}
CELERY_BEAT_SCHEDULE["old answers"] = {"task": "messaging.forget_answers", "schedule": 3600.0, "options": {"expires": 3600.0}}
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "beat-schedule")
CELERY_DB_REUSE_MAX = 10_000  # tasks until a worker reconnects; unset, Celery closes the connection around every task

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"without traceback": {"()": "django.utils.log.CallbackFilter", "callback": without_traceback}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": environment.text("ORDERFLOW_LOG_LEVEL", "INFO")},
    "loggers": {
        # A line a wake-up says nothing about orders.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING", "filters": ["without traceback"]},
        "kombu.connection": {"level": "ERROR"},  # that files have no host name is no news
    },
}
