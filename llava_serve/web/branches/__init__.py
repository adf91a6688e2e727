"""Branches of a conversation: its turns edited or asked again, and the way from one to another."""
