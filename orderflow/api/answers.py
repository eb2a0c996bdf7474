"""What another Orderflow answers."""

import requests


def problem_code(answer: requests.Response) -> str:
    """The code of a problem; "" where it is none, but what a proxy says, or a server that is something else."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return ""
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) else ""
