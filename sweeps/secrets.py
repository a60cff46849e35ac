"""Passwords and tokens kept out of everything that is written or printed."""

import os
import re

_IN_ADDRESS = re.compile(r"(\b[A-Za-z][\w+.-]*://)[^/\s@'\"]+@")
_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY", re.IGNORECASE)
_SHORTEST = 8  # characters; a shorter value would be found in ordinary words


def redacted(text: str) -> str:
    """`text` without user and password in addresses, and with secrets of the environment as `$NAME`."""
    text = _IN_ADDRESS.sub(r"\1***@", text)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _NAME.search(name) and not os.path.exists(value):  # noqa: PTH110
            text = text.replace(value, f"${name}")
    return text


def has_password(address: str) -> bool:
    """Whether an address names a user or a password."""
    return _IN_ADDRESS.search(address) is not None
