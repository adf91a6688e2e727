"""Links to share: a conversation that everybody can read who has its link."""
