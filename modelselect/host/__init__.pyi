from .host import Host as Host
from .host import Plugin as Plugin
from .host import get_host as get_host

__all__ = [
    "Host",
    "Plugin",
    "get_host",
]
