"""Fuzzing of all that reads a stranger's file; `python tests/fuzz.py` runs it.

damage.py     bytes flipped and cut; values of JSON, YAML and TOML replaced by hostile ones
fixtures.py   good files: sets of images, archives, and a small run that was trained
records.py    readers of JSON, YAML and TOML
media.py      readers of images, arrays and tensors
folders.py    a run's folder with links, pipes, sockets and devices in it
guard.py      what a reader may not do: reach beyond its folder, run code, write to a terminal what it obeys
pool.py       forked workers, bounded in time and memory
"""
