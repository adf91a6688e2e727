"""Images behind web addresses: fetched by the page where its operator allows it."""
