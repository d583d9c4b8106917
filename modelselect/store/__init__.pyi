from modelselect.store.store import Store as Store

__all__ = ["Store"]
