"""Stand-in for Mooncake, made for kvpack's tests: it transfers nothing."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
