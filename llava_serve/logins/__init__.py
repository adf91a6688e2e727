"""Logins of the page: passwords of a file or an OpenID provider, and sealed cookies."""
