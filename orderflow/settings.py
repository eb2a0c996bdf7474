"""The settings, by topic. Each environment variable is read and documented here, once.

Without any variable this is the local setup: SQLite and a filesystem broker in the data directory.
A server setup sets DATABASE_URL, CELERY_BROKER_URL, ORDERFLOW_SECRET_KEY and
ORDERFLOW_ALLOWED_HOSTS.
"""

from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from kombu import Queue

from orderflow import environment as env
from orderflow.logs import drop_scheduling_tracebacks

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

# == sales orders and purchase orders ============================================================

env.topic("Sales orders and purchase orders")

ORDERFLOW_DELIVERY_MODE = env.choice(
    "ORDERFLOW_DELIVERY_MODE",
    "automatic",
    choices=("automatic", "manual"),
    help="Default delivery mode of sales orders: `automatic` delivers when the order is fully "
    "reserved; `manual` waits for a user.",
)
ORDERFLOW_PURCHASE_QUANTITY = env.choice(
    "ORDERFLOW_PURCHASE_QUANTITY",
    "full_line",
    choices=("full_line", "shortage"),
    help="What is purchased for a line that cannot be fully reserved: `full_line` purchases the "
    "whole line; `shortage` reserves available stock and purchases only the shortage.",
)
ORDERFLOW_MAX_REPURCHASES = env.integer(
    "ORDERFLOW_MAX_REPURCHASES",
    3,
    help="Purchase orders that may follow the first one of a sales order before the order needs "
    "attention.",
)
ORDERFLOW_WITHDRAW_PURCHASE_ORDERS = env.choice(
    "ORDERFLOW_WITHDRAW_PURCHASE_ORDERS",
    "on_cancel",
    choices=("never", "on_cancel", "when_unneeded"),
    help="When open linked purchase orders are withdrawn: `on_cancel` when the sales order is "
    "cancelled; `when_unneeded` also when the sales order is fully reserved without them. The "
    "goods of purchase orders that are not withdrawn become available stock.",
)
ORDERFLOW_RETRY_COUNTDOWN = env.seconds(
    "ORDERFLOW_RETRY_COUNTDOWN",
    2.0,
    minimum=0.1,
    help="Countdown of the first retry of a reservation; doubled while Stock lags.",
)
ORDERFLOW_RETRY_COUNTDOWN_MAX = env.seconds(
    "ORDERFLOW_RETRY_COUNTDOWN_MAX",
    240.0,
    minimum=ORDERFLOW_RETRY_COUNTDOWN,
    help="Longest countdown of a retry.",
)
ORDERFLOW_OVER_RECEIPT_TOLERANCE = env.integer(
    "ORDERFLOW_OVER_RECEIPT_TOLERANCE",
    0,
    maximum=100,
    help="Percent of a purchase order line that may be received above the ordered quantity.",
)
ORDERFLOW_LEAD_TIME = env.duration(
    "ORDERFLOW_LEAD_TIME",
    "7d",
    help="Time from ordering to the expected date, for purchase orders without an expected date.",
)
ORDERFLOW_STATUS_LIMITS = {
    "awaiting_stock_reservation": env.duration(
        "ORDERFLOW_RESERVATION_OVERDUE_AFTER",
        "1h",
        help="Time in status awaiting stock reservation after which a sales order is overdue; "
        "`0s` disables the check.",
    ),
    "awaiting_goods_received": env.duration(
        "ORDERFLOW_GOODS_OVERDUE_AFTER",
        "30d",
        help="Time in status awaiting goods received after which a sales order is overdue; `0s` "
        "disables the check.",
    ),
    "deliverable": env.duration(
        "ORDERFLOW_DELIVERY_OVERDUE_AFTER",
        "7d",
        help="Time in status deliverable after which a sales order is overdue; `0s` disables the "
        "check.",
    ),
}
ORDERFLOW_OVERDUE_CHECK_INTERVAL = env.seconds(
    "ORDERFLOW_OVERDUE_CHECK_INTERVAL",
    60.0,
    minimum=1.0,
    help="How often beat checks for overdue sales orders and purchase orders.",
)

# == external purchasing =========================================================================

env.topic("External purchasing")

ORDERFLOW_EXTERNAL_PURCHASE_URL = env.text(
    "ORDERFLOW_EXTERNAL_PURCHASE_URL",
    "",
    help="URL of the system that manages purchase orders; empty if Orderflow manages them.",
)
ORDERFLOW_EXTERNAL_PURCHASE_TOKEN = env.text(
    "ORDERFLOW_EXTERNAL_PURCHASE_TOKEN",
    "",
    help="REST token of a user of that system who may add and change purchase orders.",
)
ORDERFLOW_RELAY_SOURCE_TOKEN = env.text(
    "ORDERFLOW_RELAY_SOURCE_TOKEN",
    "",
    help="For `relay_receipts`: token of a user of the source who may view feed entries.",
)
ORDERFLOW_RELAY_TARGET_TOKEN = env.text(
    "ORDERFLOW_RELAY_TARGET_TOKEN",
    "",
    help="For `relay_receipts`: token of a user of the target who may add external receipts.",
)

# == data directory and database =================================================================

env.topic("Data directory and database")

ORDERFLOW_DATA_DIR = Path(
    env.text(
        "ORDERFLOW_DATA_DIR",
        str(BASE_DIR / "var"),
        shown_default="var/ in the checkout",
        help="Writable directory of the SQLite database, the filesystem broker, the schedule of "
        "beat, the position of the relay and the initial password of the user `admin`.",
    )
)
ORDERFLOW_DATA_DIR.mkdir(parents=True, exist_ok=True)

_database: dict[str, Any] = dict(
    dj_database_url.parse(
        env.text(
            "DATABASE_URL",
            f"sqlite:///{ORDERFLOW_DATA_DIR / 'orderflow.sqlite3'}",
            shown_default="SQLite in the data directory",
            help="`postgresql://user:password@host/name` for a server setup.",
        )
    )
)
_is_sqlite = _database["ENGINE"] == "django.db.backends.sqlite3"
_SQLITE_OPTIONS: dict[str, Any] = {
    # A transaction that reads and then writes would otherwise fail instead of waiting.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
_POSTGRESQL_OPTIONS: dict[str, Any] = {
    "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=30s",
}
_database["OPTIONS"] = {
    **(_SQLITE_OPTIONS if _is_sqlite else _POSTGRESQL_OPTIONS),
    **_database.get("OPTIONS", {}),
}
DATABASES = {
    "default": {
        **_database,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": not _is_sqlite,
        # Tests run real worker processes, which cannot see a database in memory.
        "TEST": {"NAME": str(ORDERFLOW_DATA_DIR / "test.sqlite3")} if _is_sqlite else {},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# == messaging and Celery ========================================================================

env.topic("Messaging and Celery")

ORDERFLOW_BATCH_SIZE = env.integer(
    "ORDERFLOW_BATCH_SIZE",
    250,
    minimum=1,
    help="Largest number of messages that are handled in one transaction.",
)
ORDERFLOW_SWEEP_INTERVAL = env.seconds(
    "ORDERFLOW_SWEEP_INTERVAL",
    5.0,
    minimum=0.1,
    help="How often beat wakes the consumers that have due messages.",
)
CELERY_BROKER_URL = env.text(
    "CELERY_BROKER_URL",
    "filesystem://",
    shown_default="files in the data directory",
    help="`redis://host/0` for a server setup.",
)
_is_filesystem_broker = CELERY_BROKER_URL.startswith("filesystem:")
_visibility_timeout = env.integer(
    "ORDERFLOW_VISIBILITY_TIMEOUT",
    int(ORDERFLOW_RETRY_COUNTDOWN_MAX) + 60,
    shown_default="`ORDERFLOW_RETRY_COUNTDOWN_MAX` + 60",
    help="Seconds after which Redis delivers an unacknowledged wake-up again; more than "
    "`ORDERFLOW_RETRY_COUNTDOWN_MAX`.",
)
_broker_dir = ORDERFLOW_DATA_DIR / "broker"
if _is_filesystem_broker:
    _broker_dir.mkdir(exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
        "data_folder_in": str(_broker_dir),
        "data_folder_out": str(_broker_dir),
        "control_folder": str(_broker_dir / "control"),
        "polling_interval": 0.05,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": _visibility_timeout,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": "orderflow:",
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # unlimited
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 120  # seconds; a drain ends itself after 10
_QUEUES = ("sales", "stock", "purchase", "feed", "messaging")
CELERY_TASK_DEFAULT_QUEUE = "messaging"
CELERY_TASK_QUEUES = [Queue(name) for name in _QUEUES]  # a worker serves all, unless -Q says which
CELERY_TASK_ROUTES = {f"{name}.*": {"queue": name} for name in _QUEUES}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # a drain needs no broker
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 15  # seconds; longer than a drain
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = not _is_filesystem_broker
CELERY_WORKER_ENABLE_REMOTE_CONTROL = not _is_filesystem_broker
CELERY_WORKER_POOL = "threads" if _is_filesystem_broker else "prefork"
CELERY_WORKER_CONCURRENCY = env.integer(
    "ORDERFLOW_WORKER_CONCURRENCY",
    1 if _is_filesystem_broker else 3,
    minimum=1,
    shown_default="1 with the filesystem broker, otherwise 3",
    help="Processes of one worker; threads with the filesystem broker.",
)
CELERY_BEAT_SCHEDULE: dict[str, Any] = {
    "sweep": {
        "task": "messaging.sweep",
        "schedule": ORDERFLOW_SWEEP_INTERVAL,
        "options": {"expires": ORDERFLOW_SWEEP_INTERVAL},
    },
    # Not in the queues of the contexts: behind thousands of wake-ups these tasks would expire.
    "mark-overdue-sales-orders": {
        "task": "sales.mark_overdue_orders",
        "schedule": ORDERFLOW_OVERDUE_CHECK_INTERVAL,
        "options": {"expires": ORDERFLOW_OVERDUE_CHECK_INTERVAL, "queue": "messaging"},
    },
    "mark-overdue-purchase-orders": {
        "task": "purchase.mark_overdue_orders",
        "schedule": ORDERFLOW_OVERDUE_CHECK_INTERVAL,
        "options": {"expires": ORDERFLOW_OVERDUE_CHECK_INTERVAL, "queue": "messaging"},
    },
    "delete-expired-idempotency-records": {
        "task": "api.delete_expired_idempotency_records",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
}
CELERY_BEAT_SCHEDULE_FILENAME = str(ORDERFLOW_DATA_DIR / "beat-schedule")
# Tasks until a worker reconnects; unset, Celery closes the connection after every task.
CELERY_DB_REUSE_MAX = 10_000

# == web server ==================================================================================

env.topic("Web server and security")

DEBUG = env.flag("ORDERFLOW_DEBUG", False, help="`1` shows tracebacks; not for production.")
INSECURE_DEFAULT_SECRET_KEY = "django-insecure-good-enough-for-a-local-setup"  # noqa: S105
SECRET_KEY = (
    env.text(
        "ORDERFLOW_SECRET_KEY",
        "",
        shown_default="an insecure key",
        help="Signs sessions and cursors; at least 50 random characters, equal in each process.",
    )
    or INSECURE_DEFAULT_SECRET_KEY
)
ALLOWED_HOSTS = env.comma_separated(
    "ORDERFLOW_ALLOWED_HOSTS",
    "localhost,127.0.0.1,[::1]",
    help="Host names under which the server is reached.",
)
HTTPS = env.flag(
    "ORDERFLOW_HTTPS",
    False,
    help="`1` behind a proxy that terminates TLS and sets `X-Forwarded-Proto`.",
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = env.integer(
    "ORDERFLOW_HSTS_SECONDS",
    0,
    help="Seconds during which browsers use HTTPS only; set it when HTTPS works permanently.",
)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # requested without TLS, from inside the network
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
ROOT_URLCONF = "orderflow.urls"
WSGI_APPLICATION = "orderflow.wsgi.application"
STATIC_URL = "/static/"
STATIC_ROOT = (
    env.text(
        "ORDERFLOW_STATIC_ROOT",
        "",
        help="Directory for `collectstatic`; empty: static files are served from the packages.",
    )
    or None
)
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
LANGUAGE_CODE = "en"
TIME_ZONE = env.text(
    "ORDERFLOW_TIME_ZONE", "UTC", help="Time zone of the admin, the timeline and CSV imports."
)
USE_TZ = True

INSTALLED_APPS = [
    "orderflow",
    "orderflow.catalog",
    "orderflow.messaging",
    "orderflow.event_feed",
    "orderflow.api",
    "orderflow.operations",
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
    "orderflow.api.body_limit.limit_body_size",
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
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # icons in style sheets
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# == REST API ====================================================================================

env.topic("REST API")

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["orderflow.api.permissions.HasRequiredPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["orderflow.api.parsing.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "orderflow.api.pagination.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": ["orderflow.api.filters.StrictFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "orderflow.api.schema.ProblemSchema",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    # Each web process counts in its own memory: throttling needs neither Redis nor the database.
    "DEFAULT_THROTTLE_RATES": {
        "user": env.text(
            "ORDERFLOW_THROTTLE_RATE",
            "3000/min",
            help="Maximum rate of REST requests of one user to one web process: number/period.",
        ),
        "auth_failures": env.text(
            "ORDERFLOW_AUTH_FAILURE_THROTTLE_RATE",
            "30/min",
            help="Maximum rate of REST requests without valid credentials from one IP address to "
            "one web process. The admin login is not throttled.",
        ),
    },
    "NUM_PROXIES": 1 if HTTPS else 0,  # a client could evade throttling with X-Forwarded-For
    "EXCEPTION_HANDLER": "orderflow.api.problems.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "UNICODE_JSON": False,  # an error that quotes a lone surrogate could not be encoded otherwise
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Orderflow",
    "DESCRIPTION": "Sales orders, stock and purchase orders. docs/rest.md shows the flow.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "list", "validatorUrl": None},
    "ENUM_SUFFIX": "",
    "ENUM_NAME_OVERRIDES": {
        "DeliveryMode": "sales.models.DeliveryMode",
        "SalesOrderStatus": "sales.api.STATUS_CHOICES",
        "ReservationStatus": "stock.models.ReservationStatus",
        "PurchaseOrderStatus": "purchase.api.STATUS_CHOICES",
        "QueuedMessageStatus": "orderflow.messaging.models.QueuedMessageStatus",
        "EventType": "orderflow.event_feed.queries.event_types",
        "ProblemCode": "orderflow.api.schema.problem_codes",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "orderflow.api.schema.require_response_fields",
        "orderflow.api.schema.add_links",
    ],
}

# == logs ========================================================================================

env.topic("Logs")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {
        "drop_scheduling_tracebacks": {
            "()": "django.utils.log.CallbackFilter",
            "callback": drop_scheduling_tracebacks,
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {
        "handlers": ["console"],
        "level": env.choice(
            "ORDERFLOW_LOG_LEVEL",
            "INFO",
            choices=("DEBUG", "INFO", "WARNING", "ERROR"),
            help="Level of the log of every process. Celery's option `--loglevel` has no effect.",
        ),
    },
    "loggers": {
        # One line for each wake-up would hide the lines about orders.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING", "filters": ["drop_scheduling_tracebacks"]},
        "kombu.connection": {"level": "ERROR"},  # warns that the filesystem broker has no host
    },
}
