"""The page's arena: battles of models without names, and the leaderboard of their votes."""
