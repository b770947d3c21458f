"""What ``~/.aws`` says, where the environment does not: keys, region and endpoint of a profile.

obstore reads the environment and the roles of machines, containers and web identities, but not
these files (AWS SDKs reference guide, "Shared config and credentials files").
"""

import configparser
from collections.abc import Mapping
from pathlib import Path

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
_FROM_ENVIRONMENT = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
}


def profile(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings to open S3 with, beside what obstore finds itself; they are never shown."""
    home = Path(environment.get("HOME", "/"))
    name = environment.get("AWS_PROFILE", "default")
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE", home / ".aws/credentials")
    config = environment.get("AWS_CONFIG_FILE", home / ".aws/config")
    section = "default" if name == "default" else f"profile {name}"
    said = {**_section(Path(config), section), **_section(Path(credentials), name)}
    found = {ours: said[theirs] for theirs, ours in _KEYS.items() if said.get(theirs)}
    if environment.get("AWS_ACCESS_KEY_ID") and not environment.get("AWS_PROFILE"):
        found = {key: one for key, one in found.items() if key in _FROM_ENVIRONMENT}
    for key, names in _FROM_ENVIRONMENT.items():
        if named := next((environment[one] for one in names if environment.get(one)), None):
            found[key] = named
    return found


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    return dict(parser[name]) if parser.has_section(name) else {}
