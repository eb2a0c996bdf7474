"""Read the responses of another Orderflow."""

import requests


def problem_code(response: requests.Response) -> str:
    """Return the code of a problem; "" if the body is not a problem, such as one of a proxy."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return ""
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) else ""
