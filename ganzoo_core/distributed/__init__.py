"""Several processes that train one run: how they were started, which one this is, and what they tell each other."""

__all__ = ["file_exchange", "host_list", "launchers", "process_group", "ranks"]
