"""Accounts: API keys, what each may do and has used."""
