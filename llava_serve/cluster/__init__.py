"""Who is alive and who gets the request: the inside of the controller."""
