"""Adapters for other libraries, each an optional extra; nothing in cholax imports them."""
