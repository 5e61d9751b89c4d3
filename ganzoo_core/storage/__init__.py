"""Files that may come from a stranger: opened, decoded into typed records, and written whole or not at all."""
