"""What a person reads in a terminal: cleaned text, tables, progress."""
