from .store import Store as Store

__all__ = ["Store"]
